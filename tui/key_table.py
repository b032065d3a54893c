"""The table of all keys, as the README has it."""

from __future__ import annotations

from .keys import KEYS, table_of
from .pair.views.registry import own_keys


def keys_markdown() -> str:
    """One Markdown table a screen."""
    tables = (
        ("Everywhere", [key for key in KEYS if key.scope == "everywhere"]),
        ("List", [key for key in KEYS if key.scope == "list"]),
        ("Pair screen", own_keys()),
        ("Map", [key for key in KEYS if key.scope == "map"]),
        ("Trend", [key for key in KEYS if key.scope == "trend"]),
    )
    return "\n\n".join(table_of(title, keys) for title, keys in tables) + "\n"
