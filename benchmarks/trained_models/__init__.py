"""Trained models, and what is planted in them."""
