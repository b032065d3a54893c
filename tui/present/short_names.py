"""Short names for the list: `L0 self_attn.q_proj` for `model.model.layers.0.self_attn.q_proj`.

What all layers of a capture have in front of their number says nothing and is left out. Where a
model has several stacks (`vision.layers`, `text.layers`) only the most frequent loses its prefix,
so two records never get the same short name for different modules by this alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...capture.records import Capture, Record

_STACK = re.compile(r"^(?P<prefix>.*?)(?P<word>layers?|h|blocks?)\.(?P<number>\d+)(?:\.|$)")


class ShortNames:
    """Shortens the names of one capture's records."""

    def __init__(self, capture: Capture) -> None:
        self._root = capture.root
        self._prefix = _commonest_prefix(record.module for record in capture.records)
        self._stepped = len({record.step for record in capture.records}) > 1

    def short(self, record: Record) -> str:
        """The short name; the slot is left out when it is the plain output."""
        step = f"s{record.step} " if self._stepped else ""
        call = f"({record.call})" if record.call > 1 else ""
        slot = "" if record.slot in ("output", "value") else f"-{record.slot}"
        return f"{step}{self._module(record.module)}{call}{slot}"

    def _module(self, module: str) -> str:
        match = _STACK.match(module)
        if match:
            rest = module[match.end() :]
            if (match["prefix"], match["word"]) == self._prefix:
                return f"L{match['number']} {rest}".rstrip()
            return f"{match['prefix']}{match['word']}.{match['number']} {rest}".rstrip()
        root = self._root + "."
        if self._root and module.startswith(root):
            return module[len(root) :]
        return module or "(root)"


def _commonest_prefix(modules: Iterable[str]) -> tuple[str, str] | None:
    found = Counter(
        (match["prefix"], match["word"]) for module in modules if (match := _STACK.match(module))
    )
    return found.most_common(1)[0][0] if found else None


_BLOCK = re.compile(r"^(.*?\d+)(?:\.|$)")


def block_of(canonical: str) -> str:
    """The layer block that a module belongs to: up to its first number, else its first part."""
    match = _BLOCK.match(canonical)
    return match[1] if match else canonical.split(".", 1)[0]
