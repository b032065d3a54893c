"""Lines of text in parts, each with a style of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

# A piece of a line and its style over the widget's own (None: as it is).
Piece = tuple[str, Style | None]
Pieces = Sequence[Piece]
