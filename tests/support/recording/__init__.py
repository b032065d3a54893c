"""What is recorded, and where."""
