"""Row by row, what another candidate changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Literal, get_args

from .saved_report import Key, SavedReport, SavedRow

Change = Literal["new", "worse", "gone", "cured", "better", "added", "same"]
CHANGES: tuple[Change, ...] = get_args(Change)  # what is worse first
WORSE: tuple[Change, ...] = ("new", "worse", "gone")
MEANINGS: Mapping[Change, str] = {
    "new": "agreed before, or was not there, and does not agree now",
    "worse": "did not agree before either, and its error is more than twice as large",
    "gone": "was compared before and is not any more",
    "cured": "did not agree before and agrees now",
    "better": "does not agree yet, but its error is less than half as large",
    "added": "was not compared before, and agrees",
    "same": "as before",
}

_FINE = frozenset(("identical", "ok", "noise", "drift"))
_TIMES = 2.0  # of an error: less is the rounding of another run


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row before and after; None where it was, or is, not there."""

    key: Key
    change: Change
    before: SavedRow | None
    after: SavedRow | None

    @property
    def label(self) -> str:
        row = self.after or self.before
        assert row is not None
        return row.label


@dataclass(frozen=True)
class Changes:
    """Two comparisons, of one reference but for `other_reference`. `rows` stand in the order of the
    later one, those that it lacks behind them. What goes through all rows is worked out once.
    """

    before: SavedReport
    after: SavedReport
    rows: tuple[RowChange, ...]

    @cached_property
    def counts(self) -> dict[Change, int]:
        """How many rows changed in each way, all ways included."""
        found = Counter(row.change for row in self.rows)
        return {change: found[change] for change in CHANGES}

    @property
    def other_reference(self) -> bool:
        """Whether the earlier comparison had another reference: a path that is no other spelling
        of this one.
        """
        places = (self.before.reference, self.after.reference)
        ends = [PurePath(place).parts for place in places]
        shared = min(map(len, ends))
        return shared > 0 and ends[0][-shared:] != ends[1][-shared:]

    @property
    def is_worse(self) -> bool:
        """Whether anything is worse than before, the whole outcome included."""
        fewer = any(self.counts[change] for change in WORSE)
        return fewer or self.after.status > self.before.status

    @cached_property
    def headline(self) -> str:
        """What happened to the first divergence, and what comes next."""
        old, new = self.before.first, self.after.first
        if old == new:
            return f"{new} still diverges first" if new else "nothing diverged before or does now"
        following = f"next: {new}" if new else "nothing diverges any more"
        if not old:
            return f"{new} diverges now; nothing did before"
        return f"{old} {self._of_module(old)}; {following}"

    def _of_module(self, module: str) -> str:
        """What became of a module that diverged first before."""
        found = [row for row in self.rows if row.key[0] == module]
        bad = [row for row in found if row.before is not None and not is_fine(row.before)]
        if not bad or any(row.change == "gone" for row in bad):
            return "is not compared any more"
        cured = all(row.change == "cured" for row in bad)
        return "cured" if cured else "is no longer first"


def changes_of(before: SavedReport, after: SavedReport) -> Changes:
    """What changed from one comparison to another."""
    rows = []
    for key in dict.fromkeys((*after.rows, *before.rows)):
        was, now = before.rows.get(key), after.rows.get(key)
        rows.append(RowChange(key, _change(was, now), was, now))
    return Changes(before, after, tuple(rows))


def is_fine(row: SavedRow) -> bool:
    """Whether a row agrees."""
    return row.level in _FINE


def _change(before: SavedRow | None, after: SavedRow | None) -> Change:
    was, now = _compared(before), _compared(after)
    if was is None and now is None:
        return "same"
    if now is None:
        return "gone"
    if was is None:
        return "added" if is_fine(now) else "new"
    if is_fine(now):
        return "same" if is_fine(was) else "cured"
    if is_fine(was):
        return "new"
    if was.error is None or now.error is None:  # a shape, or what cannot be read
        return "same" if was.level == now.level else "worse" if now.error is None else "better"
    if now.error > _TIMES * was.error:
        return "worse"
    return "better" if _TIMES * now.error < was.error else "same"


def _compared(row: SavedRow | None) -> SavedRow | None:
    """The row, unless it is a gap."""
    return row if row is not None and row.paired else None
