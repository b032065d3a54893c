"""What sums are held against, and numbers to try them on."""
