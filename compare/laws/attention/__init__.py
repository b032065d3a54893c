"""The law of attention, and what can be wrong with it."""
