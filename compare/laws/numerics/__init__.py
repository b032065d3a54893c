"""What all laws work with: recorded quantities, rounding, local errors."""
