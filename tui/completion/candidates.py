"""Candidates for the end of a line, and going through them with Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_MOST = 500  # candidates that are kept


@dataclass(frozen=True)
class Candidates:
    """What may stand in a line from `start` on; `words` are whole, as they are inserted."""

    start: int = 0
    words: tuple[str, ...] = ()


# Finds the candidates for a line and hands them over, at once or later.
Completer = Callable[[str, Callable[[Candidates], None]], None]


def fitting(line: str, start: int, words: Iterable[str]) -> Candidates:
    """Those of some words that begin with what stands in the line from `start` on; where none
    does, those that begin so in any capitals.
    """
    typed = line[start:]
    known = list(dict.fromkeys(words))
    found = [word for word in known if word.startswith(typed)]
    found = found or [word for word in known if word.lower().startswith(typed.lower())]
    return Candidates(start, tuple(found[:_MOST]))


def common_start(words: Sequence[str]) -> str:
    """What all words begin with."""
    first, last = min(words, default=""), max(words, default="")  # in between lie all others
    size = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:size]


class Cycle:
    """Tab after Tab over one line: first what all candidates begin with, then one after another,
    and after the last what was typed.
    """

    def __init__(self, line: str, candidates: Candidates) -> None:
        self.typed, self.candidates = line, candidates
        self.at: int | None = None  # which candidate is in the line
        self.line = line
        self._first = True

    def step(self, direction: int) -> str:
        """The line after another Tab (1) or Shift-Tab (-1)."""
        start, words = self.candidates.start, self.candidates.words
        if not words:
            return self.line
        first, self._first = self._first, False
        common = common_start(words)
        if first and direction > 0 and len(words) > 1 and len(common) > len(self.typed) - start:
            self.line = self.typed[:start] + common
            return self.line
        places = len(words) + (len(words) > 1)  # the last: none of them
        before = places - 1 if self.at is None else self.at
        at = (before + direction) % places
        self.at = at if at < len(words) else None
        self.line = self.typed if self.at is None else self.typed[:start] + words[at]
        return self.line
