"""Measuring many rows: threads, processes, and what earlier runs left in the cache."""
