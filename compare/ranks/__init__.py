"""Captures of several ranks: put together by rules and by what the other capture shows."""
