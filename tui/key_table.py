"""The tables of all keys and their ids, as the manual has them."""

from __future__ import annotations

from .keys import KEYS, show_key, table_of
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


def ids_markdown() -> str:
    """What `[keys]` of the settings can name, with the keys that do it."""
    rows = ["| id | keys |", "|---|---|"]
    for key in (*(key for key in KEYS if key.scope != "pair"), *own_keys()):
        shown = " ".join(f"`{show_key(name)}`" for name in key.keys.split(","))
        rows.append(f"| `{key.id}` | {shown} |")
    return "\n".join(rows)
