"""Rounding told from errors: what each record inherits, its peers, and the floor of noise."""
