"""Both sides of a row read in blocks, and the numbers that their difference comes to."""
