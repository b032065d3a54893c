"""What the name of a record says: module, layer, slot, role, in every spelling that is known."""
