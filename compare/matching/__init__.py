"""Which records of two captures belong together, and in which order."""
