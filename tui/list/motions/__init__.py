"""Keys of several characters, counts before keys, and the places that the cursor jumped from."""
