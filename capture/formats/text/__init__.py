"""Tensors in text: dumps, tables, JSON, and what programs print or log."""
