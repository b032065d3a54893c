"""The whole model on one screen: as a map of its layers, and as a line along its run."""
