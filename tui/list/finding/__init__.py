"""Finding rows by words of their names."""
