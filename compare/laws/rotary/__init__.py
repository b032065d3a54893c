"""The law of rotary positions: frequencies and tables."""
