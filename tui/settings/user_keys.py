"""The user's keys, against those of all screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import KEYS, keys_of, overview_keys
from .keymap import Keymap, make_keymap

if TYPE_CHECKING:
    from .file import KeyNames


def user_keymap(given: KeyNames) -> tuple[Keymap, list[str], list[str]]:
    """The keymap of a settings file, lines about what does not exist, and about conflicts."""
    if not given:
        return Keymap(), [], []
    from ..pair.views.registry import own_keys

    everywhere = keys_of("everywhere")
    screens = {
        "list": keys_of("list"), "pair": [*own_keys(), *everywhere],
        "map": overview_keys("map"), "trend": overview_keys("trend"),
    }  # fmt: skip
    keymap, problems = make_keymap(given, [*KEYS, *own_keys()])
    return keymap, problems, keymap.conflicts(screens)
