"""Aligning two sequences of modules that no name rule could match, between those that one did."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache

from .canonical import STANDARD

_GAP = -0.25
_BAND = 64  # how far apart two places may be, in sequences too long for the full table
_FULL = 250_000  # cells of the full table that are worth their time
_ALIKE = 0.45  # likeness from which two modules may pair when shapes alone do not suffice
_MOST_NAMES = 4_000  # pairs of names that are worth comparing letter by letter
_NEVER = -1e9
_WORDS = re.compile(r"[A-Za-z]+|\d+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a module besides its full name; `shape` and `kind` of its main result."""

    name: str
    shape: tuple[int, ...] | None
    module_class: str | None
    kind: str = ""

    @property
    def look(self) -> Look:
        return (self.shape, self.kind, self.module_class)


Look = tuple[tuple[int, ...] | None, str, str | None]
Fits = Callable[[Token, Token], bool]


def align_sequences(
    left: Sequence[Token], right: Sequence[Token], fits: Fits, by_shape_alone: bool
) -> list[tuple[int, int]]:
    """Pairs of positions, increasing on both sides, with the greatest total likeness.

    Needleman and Wunsch (1970) with a linear gap penalty, within a band around the diagonal when
    the sequences are long. Only pairs that `fits` are considered, which may depend on shape, kind
    and class only; unless `by_shape_alone`, they must also share a class or a good part of their
    names.
    """
    if not left or not right:
        return []
    scores = _Scores(left, right, fits, by_shape_alone)
    if len(left) * len(right) <= _FULL:
        band = max(len(left), len(right))
    else:
        band = max(_BAND, 2 * len(right) // len(left))
    return _trace(*_table(scores, len(left), len(right), band))


@dataclass(slots=True)
class _Scores:
    """Scores of pairs, a row of the table at a time.

    Names and looks are numbered, so that each pair of distinct ones is compared once.
    """

    left: Sequence[Token]
    right: Sequence[Token]
    fits: Fits
    by_shape_alone: bool
    _exactly: bool = field(init=False)  # too many names: equal or not is all that counts
    _looks: list[int] = field(init=False)
    _names: list[int] = field(init=False)
    _left_names: list[str] = field(init=False)
    _distinct_looks: dict[Look, int] = field(init=False)
    _distinct_names: dict[str, int] = field(init=False)
    _examples: list[Token] = field(init=False)
    _look_rows: dict[Look, list[float]] = field(init=False, default_factory=dict)
    _name_rows: dict[str, list[float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        lefts, rights, self._exactly = _comparable_names(self.left, self.right)
        self._left_names = lefts
        self._distinct_names = {name: i for i, name in enumerate(dict.fromkeys(rights))}
        self._names = [self._distinct_names[name] for name in rights]
        first = {token.look: token for token in reversed(self.right)}
        self._distinct_looks = {look: i for i, look in enumerate(first)}
        self._examples = list(first.values())
        self._looks = [self._distinct_looks[token.look] for token in self.right]

    def row(self, index: int, low: int, high: int) -> list[float]:
        """Scores of the left token `index` with the right ones `low` to `high` - 1."""
        looks = self._look_row(self.left[index])
        name = self._left_names[index]
        kinds, names = self._looks[low:high], self._names[low:high]
        if self._exactly:
            same = self._distinct_names.get(name, -1)
            pairs = zip(kinds, names, strict=True)
            values = [looks[k] + 1.0 if n == same else looks[k] for k, n in pairs]
        else:
            alike = self._name_row(name)
            values = [looks[k] + alike[n] for k, n in zip(kinds, names, strict=True)]
        if not self.by_shape_alone:
            values = [value if value >= _ALIKE else _NEVER for value in values]
        return values

    def _look_row(self, token: Token) -> list[float]:
        row = self._look_rows.get(token.look)
        if row is None:
            row = self._look_rows[token.look] = [
                _look_likeness(token, other) if self.fits(token, other) else _NEVER
                for other in self._examples
            ]
        return row

    def _name_row(self, name: str) -> list[float]:
        row = self._name_rows.get(name)
        if row is None:
            row = self._name_rows[name] = [_name_likeness(name, n) for n in self._distinct_names]
        return row


def _comparable_names(
    left: Sequence[Token], right: Sequence[Token]
) -> tuple[list[str], list[str], bool]:
    """Last components of both sides' names, without their numbers where there would be too many
    to compare; True when even so there are, and only equality is affordable.
    """
    lefts, rights = [_last(token.name) for token in left], [_last(token.name) for token in right]
    if len(set(lefts)) * len(set(rights)) <= _MOST_NAMES:
        return lefts, rights, False
    bare_left = [_DIGITS.sub("#", name) for name in lefts]
    bare_right = [_DIGITS.sub("#", name) for name in rights]
    if len(set(bare_left)) * len(set(bare_right)) <= _MOST_NAMES:
        return bare_left, bare_right, False
    return lefts, rights, True


def _table(
    scores: _Scores, rows: int, columns: int, band: int
) -> tuple[list[bytearray], list[int], int, int]:
    """Fill the table row by row; for each cell, where its best value came from (0 diagonal, 1 up:
    gap on the right, 2 left: gap on the left), and the first column of each row's band.
    """
    high = min(columns, band)
    previous, start = [j * _GAP for j in range(high + 1)], 0
    came, starts = [bytearray()], [0]
    for i in range(1, rows + 1):
        middle = i * columns // rows
        low, end = max(0, middle - band), min(columns, middle + band)
        beyond = [_NEVER] * (end - high)
        above = previous[low - start :] + beyond
        diagonal = previous[low - start - 1 :] if low > start else [_NEVER, *previous]
        values = scores.row(i - 1, max(low - 1, 0), end)
        if low == 0:
            values.insert(0, _NEVER)
        previous, steps = _fill(above, diagonal + beyond, values)
        came.append(steps)
        starts.append(low)
        start, high = low, end
    return came, starts, rows, columns


def _fill(
    above: list[float], diagonal: list[float], values: list[float]
) -> tuple[list[float], bytearray]:
    """One row of the table: the hot loop."""
    row: list[float] = []
    steps = bytearray()
    beside = _NEVER
    for up, corner, value in zip(above, diagonal, values, strict=False):
        best, step = up + _GAP, 1
        if beside + _GAP > best:
            best, step = beside + _GAP, 2
        if corner + value >= best:
            best, step = corner + value, 0
        row.append(best)
        steps.append(step)
        beside = best
    return row, steps


def _trace(came: list[bytearray], starts: list[int], i: int, j: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    while i > 0 and j > 0:
        step = came[i][j - starts[i]]
        if step == 0:
            pairs.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif step == 1:
            i -= 1
        else:
            j -= 1
    pairs.reverse()
    return pairs


def likeness(a: Token, b: Token) -> float:
    """0 (nothing in common but perhaps a shape) to about 2: equal class and equal last component.

    A pair's score is above 0 even without likeness, so that shapes alone can align when allowed.
    """
    return _look_likeness(a, b) + _name_likeness(_last(a.name), _last(b.name))


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _look_likeness(a: Token, b: Token) -> float:
    same_class = 0.6 if a.module_class and a.module_class == b.module_class else 0.0
    return 0.1 + same_class + (0.1 if _bare(a) == _bare(b) else 0.0)


def _bare(token: Token) -> tuple[int, ...] | None:
    """The shape without axes of size 1, which differ between padded and ragged batches."""
    return None if token.shape is None else tuple(n for n in token.shape if n != 1)


@lru_cache(maxsize=65536)
def _name_likeness(a: str, b: str) -> float:
    if a == b:
        return 1.0
    if a in STANDARD and b in STANDARD:
        return _NEVER  # both are known, and are not the same thing
    words_a, words_b = set(_WORDS.findall(a)), set(_WORDS.findall(b))
    shared = len(words_a & words_b) / max(1, len(words_a | words_b))
    letters = SequenceMatcher(None, a[:80], b[:80], autojunk=False).ratio()
    return max(shared, letters if letters > 0.6 else 0.0) * 0.8
