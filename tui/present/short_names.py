"""Short names for the list: `L0 self_attn.q_proj` for `model.model.layers.0.self_attn.q_proj`.

What all layers of a capture have in front of their number says nothing and is left out, whatever
stands between the parts (`model/layers_0/mlp` is `L0 mlp`). Where a model has several stacks
(`vision.layers`, `text.layers`) only the most frequent loses its prefix, and the rank of a shard is
kept, so two records never get the same short name for different modules by this alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...capture.records import Capture, Record

_RANK = re.compile(r"^rank\d+/")
_STACK = re.compile(
    r"^(?P<prefix>(?:.*?[./_])?)(?P<word>layers?|h|blocks?|blk)(?P<sign>[._])(?P<number>\d+)"
    r"(?:[./_](?=.)|$)"
)
_NODE_OUTPUT = re.compile(r"^(/.+)_output_0$")  # as ONNX exports by tracing call each node's first


class ShortNames:
    """Shortens the names of one capture's records."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self._root = capture.root
        self._of = _outline(capture)
        self._prefix = _commonest_prefix(record.module for record in capture.records)
        self._stepped = len({record.step for record in capture.records}) > 1

    @property
    def current(self) -> bool:
        """Whether the capture still has the records that these names were worked out from: a file
        has one until its headers are read.
        """
        return self._of == _outline(self.capture)

    def short(self, record: Record) -> str:
        """The short name; the slot is left out when it is the plain output."""
        step = f"s{record.step} " if self._stepped else ""
        call = f"({record.call})" if record.call > 1 else ""
        slot = "" if record.slot in ("output", "value") else f"-{record.slot}"
        return f"{step}{self._module(record.module)}{call}{slot}"

    def _module(self, module: str) -> str:
        rank = _RANK.match(module)
        if rank:
            return rank[0] + self._module(module[rank.end() :])
        module = _NODE_OUTPUT.sub(r"\1", module)
        match = _STACK.match(module)
        if match:
            rest = module[match.end() :]
            if _prefix(match) == self._prefix:
                return f"L{match['number']} {rest}".rstrip()
            return f"{''.join(_prefix(match))}{match['number']} {rest}".rstrip()
        root = self._root + "."
        if self._root and module.startswith(root):
            return module[len(root) :]
        return module or "(root)"


def short_names(capture: Capture, known: Iterable[ShortNames] = ()) -> ShortNames:
    """Those of a capture: of `known` ones, where they are among them and current, since making them
    anew goes through all names.
    """
    kept = (one for one in known if one.capture is capture and one.current)
    return next(kept, None) or ShortNames(capture)


def _outline(capture: Capture) -> tuple[object, ...]:
    """What changes when other records are listed: the root, their number, the first and the last
    module.
    """
    ends = [record.module for record in (*capture.records[:1], *capture.records[-1:])]
    return capture.root, len(capture.records), *ends


def _prefix(match: re.Match[str]) -> tuple[str, str, str]:
    return match["prefix"], match["word"], match["sign"]


def _commonest_prefix(modules: Iterable[str]) -> tuple[str, str, str] | None:
    plain = (_RANK.sub("", module) for module in modules)
    found = Counter(_prefix(match) for module in plain if (match := _STACK.match(module)))
    return found.most_common(1)[0][0] if found else None


_BLOCK = re.compile(r"^(.*?\d+)(?:\.|$)")


def block_of(canonical: str) -> str:
    """The layer block that a module belongs to: up to its first number, else its first part."""
    match = _BLOCK.match(canonical)
    return match[1] if match else canonical.split(".", 1)[0]
