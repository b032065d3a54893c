"""What the program asks of Python itself."""
