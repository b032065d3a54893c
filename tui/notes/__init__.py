"""Notes on rows, written on the screen."""
