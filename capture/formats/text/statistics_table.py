"""Statistics as a table with headings: `name,shape,mean,std,min,max`, a tensor a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..labelled import NAMES
from .json_text import plain_text
from .statistic_words import TELLING, Described, word_of

_NAMES = (*NAMES, "tensor", "param", "parameter")
_CELL = re.compile(r'\s*("(?:[^"]|"")*"|(?:torch\.Size\()?\[[^\]]*\]\)?|\([^)]*\)|)')
_MOST_COLUMNS = 200


@dataclass(frozen=True, slots=True)
class Heading:
    """What the columns of a table are: the word of each, and those with names."""

    separator: str
    words: tuple[str | None, ...]
    names: tuple[int, ...]


def heading_of(line: str) -> Heading | None:
    """The first line of a table as its heading; None where it names no statistics."""
    best: Heading | None = None
    for separator in ("\t", ",", ";", "|"):
        cells = [cell.strip().lower() for cell in cells_of(line.lstrip("\ufeff"), separator)]
        words = tuple(word_of(cell) for cell in cells)
        if not 2 <= len(cells) <= _MOST_COLUMNS or not TELLING & set(words):
            continue
        names = tuple(at for at, cell in enumerate(cells) if cell.replace(" ", "_") in _NAMES)
        if not names and words[0] is None:
            names = (0,)
        if names and (best is None or len(words) > len(best.words)):
            best = Heading(separator, words, names)
    return best


def described_in(lines: Iterable[str]) -> Iterator[Described]:
    """The rows of a table as what they say, the heading first among `lines`."""
    heading: Heading | None = None
    for at, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#") or not line.strip("+-=|: \t\n"):
            continue
        if heading is None:
            heading = heading_of(line)
            if heading is None:
                return
            continue
        yield _row(heading, cells_of(line.rstrip("\r\n"), heading.separator), at)


def _row(heading: Heading, cells: list[str], at: int) -> Described:
    names = [cells[place].strip() for place in heading.names if place < len(cells)]
    numbers = [f"layer_{name}" if name.isdecimal() else name for name in names]
    # A number of its own is a row's, where another column has names.
    kept = [name for name in numbers if name] or [f"row {at}"]
    keys = (plain_text("/".join(dict.fromkeys(kept))),)
    if len(cells) != len(heading.words):
        words = f"line {at} has {len(cells)} columns, the heading {len(heading.words)}"
        return Described(keys, {}, problem=words)
    said: dict[str, str] = {}
    for place, (word, cell) in enumerate(zip(heading.words, cells, strict=True)):
        if word is not None and place not in heading.names and cell.strip():
            said.setdefault(word, cell.strip())
    return Described(keys, said)


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a row: what stands in quotes or brackets is one, separators and all."""
    cells: list[str] = []
    at = 0
    text = line.strip().strip("|") if separator == "|" else line.strip("\r\n")
    while len(cells) <= _MOST_COLUMNS:
        whole = _CELL.match(text, at)
        inside = whole[1] if whole else ""
        end = text.find(separator, at + (len(whole[0]) if whole and inside else 0))
        cell = text[at : len(text) if end < 0 else end].strip()
        if len(cell) > 1 and cell[0] == cell[-1] == '"':
            cell = cell[1:-1].replace('""', '"')
        cells.append(cell)
        if end < 0:
            break
        at = end + 1
    return cells
