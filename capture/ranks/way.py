"""How the parts that ranks have of a tensor make the whole, and the words for it in rules files.

replicated          every rank has the whole
concat -1           parts stand side by side along an axis; their lengths may differ
concat -1 copies 2  as many neighbouring ranks have the same part
split:qkv           each part holds queries, keys and values, which are joined by kind;
split:gate_up       or halves; sizes are found from other records
split 4:1:1         or given, as sizes in one rank's part or in their proportion; `copies 2`
                    behind it is about all but the first of them
zigzag 0            rank r of N has the chunks r and 2N-1-r of an axis
partial             the parts are added up (`sum` is another word for it)
apart               they are not joined
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["replicated", "concat", "split", "zigzag", "partial", "apart"]
WORDS = "replicated, concat AXIS, split:qkv, split:gate_up, split A:B, zigzag AXIS, partial, apart"
QKV, GATE_UP = "qkv", "gate_up"
_AXIS = r"(-?\d{1,2})"
_CONCAT = re.compile(rf"concat {_AXIS}(?: copies ([1-9]\d{{0,4}}))?")
_SPLIT = re.compile(
    rf"split ([1-9]\d{{0,8}}(?::[1-9]\d{{0,8}})+)(?: {_AXIS})?(?: copies ([1-9]\d{{0,4}}))?"
)
_FUSED = re.compile(rf"split:({QKV}|{GATE_UP})(?: {_AXIS})?")
_ZIGZAG = re.compile(rf"zigzag {_AXIS}")


class WayError(ValueError):
    """Words that are no way to join; one line for the user."""


@dataclass(frozen=True, slots=True)
class Way:
    """`axis` counts as numpy's; `shares` are the sizes of the quantities in one rank's part, or
    their proportion; `fused` names quantities whose sizes are to be found. `copies` is the number
    of neighbouring ranks that have the same part, or the same of its quantities but the first.
    """

    kind: Kind
    axis: int = -1
    shares: tuple[int, ...] = ()
    fused: str = ""
    copies: int = 1

    def __str__(self) -> str:
        behind = "" if self.axis == -1 else f" {self.axis}"
        copies = f" copies {self.copies}" if self.copies > 1 else ""
        if self.kind == "concat":
            return f"concat {self.axis}{copies}"
        if self.kind == "split" and self.fused:
            return f"split:{self.fused}{behind}"
        if self.kind == "split":
            return f"split {':'.join(map(str, self.shares))}{behind}{copies}"
        return f"zigzag {self.axis}" if self.kind == "zigzag" else self.kind


REPLICATED, PARTIAL, APART = Way("replicated"), Way("partial"), Way("apart")


def parse_way(text: str) -> Way:
    """The way that words of a rules file mean. Raises `WayError`."""
    words = " ".join(text.split())
    plain = {"replicated": REPLICATED, "partial": PARTIAL, "sum": PARTIAL, "apart": APART}
    if words in plain:
        return plain[words]
    if found := _CONCAT.fullmatch(words):
        return Way("concat", int(found[1]), copies=int(found[2] or 1))
    if found := _SPLIT.fullmatch(words):
        shares = tuple(int(share) for share in found[1].split(":"))
        return Way("split", int(found[2] or -1), shares, copies=int(found[3] or 1))
    if found := _FUSED.fullmatch(words):
        return Way("split", int(found[2] or -1), fused=found[1])
    if found := _ZIGZAG.fullmatch(words):
        return Way("zigzag", int(found[1]))
    raise WayError(f"{text[:60]!r} is no way to join ranks (known: {WORDS})")
