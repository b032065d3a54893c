"""The shape that the header of a text dump says, in any spelling.

`# Shape: 1x3x2048`, `shape = (1, 3, 2048)`, `Dims 1 3 2048`, `torch.Size([1, 3, 2048])`, behind a
name or before other fields of the line. A shape without a word before it (`# q_proj [1, 3, 2048]`,
or a first line of sizes) counts only where the file holds exactly as many values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from ...errors import RecordError

MARK = r"^\s*(?:#+|//+|/\*+|%+|;+|--+|==+|\*\*+)?\s*"  # how comments begin
_BRACKETED = (
    r"(?:[\w.:]{0,24}(?:size|shape|vector(?:<\w{1,20}>)?)\s*\(?\s*)?"
    r"[\[({<](?P<in>[\d\s,xX×*]*)[\])}>]"
)
_JOINED = r"(?P<open>\d+(?:\s*[xX×*]\s*\d+)+|\d+(?:\s*,\s*\d+)+,?|\d+(?:[ \t]+\d+)*)"
_END = r"(?=\s*(?:$|[,;|)\]({<\"']|\s[A-Za-z#/*=-]))"
_EXTENTS = rf"(?:{_BRACKETED}|{_JOINED}{_END})"
_WORD = (
    r"(?<!\w)(?:tensor[ _]?)?(?P<word>shape|dimensions|dims?|sizes?)\b[\"']?"
    r"(?:\s*[\[(][A-Za-z_,\s×*]*[\])])?\s*(?:[:=]|is\b)?\s*[\"']?"  # `Shape [B, S, H]: `
)
_KEYED = re.compile(_WORD + _EXTENTS, re.IGNORECASE)
_LED = re.compile(
    MARK + r"[\"']?(?:tensor[ _]?)?(?:shape|dims?|dimensions)[\"']?\s*[:=]\s*(.*)$", re.IGNORECASE
)
_NAMED = re.compile(r"\b[A-Za-z_]\w*\s*[:=]\s*(\d+)")  # `B=1, S=3`
_ALONE = re.compile(
    rf"(?<![\w.]){_BRACKETED}|(?<![\w.])(?P<open>\d+(?:\s*[xX×*]\s*\d+)+)(?![\w.])", re.IGNORECASE
)
_RANK = {"shape": 0, "dim": 1, "dims": 1, "dimensions": 1, "size": 2, "sizes": 2}
_MOST_SIZES = 64


@dataclass(frozen=True, slots=True)
class SaidShape:
    """A shape of a header; `rank` 0 is what says so most clearly."""

    shape: tuple[int, ...]
    rank: int


def keyed_shape(line: str) -> SaidShape | None:
    """The shape that a word of `line` announces. Raises `RecordError` where a line that begins
    with that word holds none.
    """
    for match in _KEYED.finditer(line):
        word, shape = match["word"].lower(), _sizes(match)
        many = len(shape) > 1 or match["in"] is not None
        if many or not word.startswith("size"):  # `Size: 24576 bytes` is no shape
            return SaidShape(shape, _RANK[word])
    led = _LED.match(line)
    if led is None:
        return None
    if not led[1].strip("[](){}<> "):
        return SaidShape((), 0)
    if not _NAMED.sub("", led[1]).strip("[](){}<>,; \t"):
        return SaidShape(_whole(_NAMED.findall(led[1]), led[1]), 0)
    raise RecordError(f"shape {led[1].strip()[:60]!r} is not one such as 1x3x2048")


def unkeyed_shapes(line: str) -> list[tuple[int, ...]]:
    """What stands in a line of a header and may be a shape."""
    return [sizes for match in _ALONE.finditer(line) if (sizes := _sizes(match))]


def bare_shape(first_line: int, texts: list[str]) -> tuple[tuple[int, ...], int] | None:
    """A shape that the first of all `texts` are: those of the first line, or as many as the very
    first number says. It has to be that of all values behind it. Returns how many texts it is, too.
    """
    places = [(0, first_line)]
    if texts and texts[0].isdecimal() and len(texts[0]) < 3:
        places.append((1, 1 + int(texts[0])))
    for begin, end in places:
        sizes = texts[begin:end]
        if not 0 < len(sizes) <= _MOST_SIZES or len(sizes) < end - begin:
            continue
        if all(size.isdecimal() and len(size) <= 18 for size in sizes):
            shape = tuple(map(int, sizes))
            if prod(shape) == len(texts) - end > 0:
                return shape, end
    return None


def _sizes(match: re.Match[str]) -> tuple[int, ...]:
    text = match["in"] if match["in"] is not None else match["open"]
    return _whole(re.findall(r"\d+", text), text)


def _whole(sizes: list[str], text: str) -> tuple[int, ...]:
    if any(len(size.strip()) > 18 for size in sizes):
        raise RecordError(f"shape {text.strip()[:60]!r} is not one such as 1x3x2048")
    return tuple(map(int, sizes))
