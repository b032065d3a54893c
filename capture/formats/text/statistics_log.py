"""Statistics in lines of a log: `layers.0.mlp: mean=0.1, std=1.2, min=-3.4, max=5.6`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .json_text import plain_text
from .print_labels import Labels, label_in
from .statistic_words import TELLING, Described, word_of

_LONGEST = 2000  # characters of a line that are looked at
_FEWEST = 2  # statistics that make a line one of them
_VALUE = r"[+-]?(?:\d{1,400}\.?\d{0,400}(?:e[+-]?\d{1,4})?|\.\d{1,400}|nan|inf(?:inity)?)"
_PAIR = re.compile(
    rf"(?<![\w.])([A-Za-z][A-Za-z0-9]*(?:[_ ][A-Za-z0-9]+)?)(?:\s*[=:]\s*|\s+)({_VALUE})(?![\w.])",
    re.IGNORECASE,
)
_RANGE = re.compile(
    rf"(?<![\w.])range\s*[=:]?\s*[\[(]\s*({_VALUE})\s*(?:,|\.\.|to)\s*({_VALUE})\s*[\])]",
    re.IGNORECASE,
)
_SHAPE = re.compile(
    r"(?:torch\.Size\(\[([\d,\s]{0,200})\]\)|\b(?:shape|size|dims?)\s*[=:]?\s*(?:[\[(]([\d,\s]{0,200})[\])]"
    r"|(\d{1,18}(?:x\d{1,18}){1,31})))",
    re.IGNORECASE,
)
_DTYPE = re.compile(r"\bdtype\s*[=:]\s*([\w.]{1,40})|\b(torch\.\w{1,30}\d)\b", re.IGNORECASE)


def statistics_of(line: str) -> tuple[dict[str, str], int]:
    """What a line says of a tensor, by word, and where that begins; empty where it says less than
    two statistics.
    """
    text = line[:_LONGEST]
    said: dict[str, str] = {}
    starts: list[int] = []
    for match in _PAIR.finditer(text):
        word, start = word_of(match[1]), match.start()
        if word is None and re.search(r"[_ ]", match[1]):  # `mlp mean=0.1`
            last = re.split(r"[_ ]", match[1])[-1]
            word, start = word_of(last), match.start(1) + len(match[1]) - len(last)
            if match[1][-len(last) - 1] == "_":
                word = None
        if word is not None and word not in ("shape", "dtype"):
            said.setdefault(word, match[2])
            starts.append(start)
    span = _RANGE.search(text)
    if span is not None:
        said.setdefault("min", span[1])
        said.setdefault("max", span[2])
        starts.append(span.start())
    if len(said.keys() & TELLING) < _FEWEST:
        return {}, 0
    shape, dtype = _SHAPE.search(text), _DTYPE.search(text)
    if shape is not None:
        said["shape"] = next(part for part in shape.groups() if part is not None) or "[]"
        starts.append(shape.start())
    if dtype is not None:
        said["dtype"] = dtype[1] or dtype[2]
        starts.append(dtype.start())
    return said, min(starts)


def described_in(lines: Iterable[str], file: str) -> Iterator[Described]:
    """The lines of a log that say statistics, by their own labels or those of the lines above."""
    labels = Labels()
    for line in lines:
        said, start = statistics_of(line)
        if not said:
            labels.see(line[:_LONGEST])
            continue
        name = label_in(line[:start].rstrip(" \t|,;:([{<")) or labels.name() or file
        yield Described((plain_text(name),), said, labels.step)
        labels.forget()
