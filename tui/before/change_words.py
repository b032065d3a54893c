"""What has changed, in the words and columns of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from ...compare.changes.changes import CHANGES, Change
from ...compare.changes.words import counts_line
from ...compare.reports.law_words import short_module
from ...compare.vocabulary import Level
from ..commands import CommandError
from ..present.field import Field
from ..present.text import clean, metric_number, number, width_of
from ..theme import LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...compare.changes.changes import RowChange
    from ...compare.changes.earlier import RowChanges

_LEVELS: frozenset[str] = frozenset(get_args(Level))
_RANK = {change: rank for rank, change in enumerate(CHANGES)}


def change_word(change: Change) -> str:
    """The change as the list says it: nothing where nothing changed."""
    return "" if change == "same" else change


def level_before(change: RowChange) -> Level | None:
    """The verdict of before; None where the row was not compared."""
    row = change.before
    if row is None or not row.paired or row.level not in _LEVELS:
        return None
    return cast(Level, row.level)


def badge_before(changes: RowChanges, row: int, metric: str) -> str:
    """The number that the badge had."""
    found = changes.number(row, metric)
    return "" if found is None else metric_number(metric, found)


def worst_of(changes: RowChanges, rows: Sequence[int]) -> int:
    """Of several rows the one whose change says most: what is worse first."""
    return min(rows, key=lambda row: _RANK[changes.at(row).change])


def change_named(text: str) -> Change:
    """The change that `text` is the beginning of. Raises `CommandError`."""
    fitting: list[Change] = [change for change in CHANGES if text and change.startswith(text)]
    if len(fitting) != 1:
        raise CommandError(f"only what? diverged, {', '.join(CHANGES)}, or all")
    return fitting[0]


def headline_forms(changes: RowChanges) -> list[str]:
    """What became of the first divergence, and how much changed; the longest form first."""
    found = changes.changes
    counts, doubts = counts_line(found), changes.doubts
    headline = ("so far (incomplete): " if changes.incomplete else "") + clean(found.headline)
    short = headline
    for module in filter(None, (found.before.first, found.after.first)):
        short = short.replace(clean(module), clean(short_module(module)))
    few = counts.split(", ")[:3]
    some = [words for words in few if not words.startswith("0 ")]
    ends = [f"  ({', '.join(words)})" for words in (few, some) if words]
    return [
        "; ".join([f"{headline}  ({counts})", *doubts]), f"{headline}  ({counts})",
        *(headline + end for end in ends), *(short + end for end in ends), short,
    ]  # fmt: skip


def headline_that_fits(changes: RowChanges, room: int) -> str:
    """The longest of these forms that `room` cells hold, else the shortest."""
    forms = headline_forms(changes)
    return next((form for form in forms if width_of(form) <= room), forms[-1])


def change_fields(changes: RowChanges | None, row: int | None) -> list[Field]:
    """What a row was before, for the pane; nothing without an earlier candidate."""
    if changes is None or row is None:
        return []
    return [Field("before", change_text(changes, row))]


def change_lines(changes: RowChanges | None, row: int) -> list[str]:
    """The same, for exports of a row."""
    return [] if changes is None else [f"  before      {change_text(changes, row)}"]


def change_text(changes: RowChanges, row: int) -> str:
    """`DIVERGED, relative L2 0.37, introduced here; cured`."""
    found = changes.at(row)
    level, was = level_before(found), found.before
    if was is None:
        return f"not there; {found.change}"
    if level is None:
        return f"no partner; {found.change}"
    error = "" if was.error is None else f", relative L2 {number(was.error)}"
    made = ", introduced here" if was.made else ""
    return f"{LOOKS[level].word}{error}{made}; {found.change}"
