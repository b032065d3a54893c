"""The law of normalisation, and what can be wrong with it."""
