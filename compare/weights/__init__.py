"""Checkpoints: which one belongs to a capture, and its weights by module."""
