"""What all tests of reports share."""

from __future__ import annotations

from support.odd_comparisons import nasty, odd

__all__ = ["nasty", "odd"]
