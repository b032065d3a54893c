"""What engines call their modules: one table of data each."""
