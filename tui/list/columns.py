"""The columns of the list: how wide each is, and their headings."""

from __future__ import annotations

from dataclasses import dataclass

from ..present.text import fit

_SHAPES_FROM = 96  # columns from which shapes are shown
_WORDS_FROM = 106  # and the verdict in a word
_ORIGINS_FROM = 120  # and where its error comes from
_WORD, ORIGIN_WORD = 11, 19
VALUE = 10
_SINGLE = 9
_RATIO = 8
_LOCAL = 7
_SECOND = 7
BEFORE, CHANGE = 16, 6  # what changed with the earlier badge, and without
_LEAST_NAME_BEFORE = 18  # cells of either name that the earlier badge leaves
_LEAST_NAME = 20  # cells of either name that the column of local errors leaves
_LEAST_NAME_BESIDE = 19  # ... and the second number does,
_LEAST_NAME_BARE = 24  # ... where there is no room for shapes either


@dataclass(frozen=True)
class Columns:
    """Widths of the columns for one width of the widget."""

    number: int
    name: int
    shape: int
    word: int
    right_name: int
    single: int = 0  # the error of a rerun
    ratio: int = 0  # the error over a baseline's
    origin: bool = False  # a glyph beside the verdict's says where the error comes from
    local: int = 0  # the error that a layer itself makes, over the usual
    second: int = 0  # the number beside the badge's
    before: int = 0  # what changed, with the earlier badge where there is room

    @property
    def side(self) -> int:
        return self.name + (self.shape + 1 if self.shape else 0)

    @property
    def badge(self) -> int:
        parts = (self.second, self.word, self.ratio, self.local, self.single, self.before)
        more = sum(1 + width for width in parts if width)
        return 1 + 1 + VALUE + more


@dataclass(frozen=True)
class Extras:
    """Columns that only some lists have: `reran` errors of reruns, `ratio` what the error is a
    multiple of (empty: nothing), `origin` where errors come from, `before` what has changed; where
    there is room `local`, the errors that layers themselves make, and `second`, another number
    beside the badge's.
    """

    reran: bool = False
    ratio: str = ""
    origin: bool = False
    local: bool = False
    second: bool = False
    before: bool = False


def columns_for(width: int, rows: int, longest_shape: int, extras: Extras | None = None) -> Columns:
    """Divide `width` between the columns; both sides get the same, an odd cell goes right."""
    extras = extras or Extras()
    number = max(3, len(str(max(0, rows - 1))))
    shape = min(18, max(5, longest_shape)) if width >= _SHAPES_FROM else 0
    word = _WORD if width >= _WORDS_FROM else 0
    if extras.origin and width >= _ORIGINS_FROM:
        word = ORIGIN_WORD
    single = _SINGLE if extras.reran else 0
    ratio = _RATIO if extras.ratio and width >= _SHAPES_FROM else 0
    badge = 2 + VALUE + sum(1 + part for part in (word, ratio, single) if part)
    left_over = width - 1 - number - 1 - (badge + 4) - 2 * (shape + 1 if shape else 0)
    before = 0
    if extras.before:
        before = BEFORE if left_over - BEFORE - 1 >= 2 * _LEAST_NAME_BEFORE else CHANGE
    left_over -= before + 1 if before else 0
    local = _LOCAL if extras.local and left_over - _LOCAL - 1 >= 2 * _LEAST_NAME else 0
    left_over -= local + 1 if local else 0
    least = _LEAST_NAME_BESIDE if shape else _LEAST_NAME_BARE
    asked = extras.second and (word > 0 or not shape)  # where shapes are, the word goes first
    second = _SECOND if asked and left_over - _SECOND - 1 >= 2 * least else 0
    left_over -= second + 1 if second else 0
    name = max(1, left_over // 2)
    return Columns(
        number, name, shape, word, max(1, left_over - name), single, ratio, extras.origin, local,
        second, before,
    )  # fmt: skip


def heading(columns: Columns, number: str, ratio: str = "", second: str = "") -> str:
    """The line above the list; `number` is what the badges show, `second` the number beside it,
    `ratio` what the column of ratios is about.
    """
    left = fit("reference", columns.name) + (
        " " + fit("shape", columns.shape) if columns.shape else ""
    )
    right = fit("candidate", columns.right_name) + (
        " " + fit("shape", columns.shape) if columns.shape else ""
    )
    badge = fit(f"{'   ' if columns.origin else '  '}{number}", 2 + VALUE)
    if columns.second:
        badge += " " + fit(second, columns.second)
    if columns.word:
        badge += " " + fit("verdict", columns.word)
    if columns.ratio:
        badge += "  " + fit(ratio, columns.ratio - 1)
    if columns.local:
        badge += "  " + fit("local", columns.local - 1)
    if columns.single:
        badge += "  " + fit("single", columns.single - 1)
    if columns.before:
        badge += "  " + fit("before" if columns.before == BEFORE else "now", columns.before - 1)
    return f" {'#':>{columns.number}} {left}  {badge}  {right}"
