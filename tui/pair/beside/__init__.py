"""What a wide view shows beside its own lines."""
