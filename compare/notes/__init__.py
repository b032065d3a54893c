"""Notes that people write on rows, and the file that they are kept in."""
