"""Whether captures are fit to be compared: whole, of one input, of the same weights, not stale."""
