"""Ranks that should be there, and are not: what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..names import natural_key
from ..plurals import counted, which
from ..records import Capture, Record
from .coordinates import Axes
from .deciding import Advice
from .facts import Facts
from .groups import Group

_MOST_RECORDS = 16  # that stand for missing ranks
_NO_PARTS, _NOT_ALL = "no parts are joined", "what the others have are not all parts"
_ONE_ALONE = "the one that is there has parts"
_NO_LAYERS = "no other rank has their layers"
_NO_EXPERTS = "no other rank has their experts"


@dataclass(slots=True)
class MissingRanks:
    """Ranks without which parts are not put together, and what shows that they are missing where
    numbers do not; ranks whose layers, or experts, are on no other one.
    """

    parts: list[str] = field(default_factory=list)
    shown: str = ""
    layers: Sequence[str] = ()
    experts: Sequence[str] = ()

    def add_parts(self, ranks: Sequence[str], shown: str) -> None:
        """More ranks whose parts are missed."""
        self.parts = sorted({*self.parts, *ranks}, key=natural_key)
        self.shown = self.shown or shown

    def tell(self, capture: Capture, there: Sequence[str]) -> None:
        """A note for each reason, and a record that cannot be read for each of these ranks of which
        nothing is `there`.
        """
        for ranks, why in (
            (self.parts, _NO_PARTS), (self.layers, _NO_LAYERS), (self.experts, _NO_EXPERTS),
        ):  # fmt: skip
            if ranks:
                shown = self.shown if why == _NO_PARTS else ""
                _tell(capture, [*ranks], why, shown, there)


def with_lone_places(
    records: Sequence[Record], axes: Axes, advice: Advice, missing: MissingRanks
) -> Axes:
    """With the ranks that must be missing where all that are there have one place in a kind of
    parallelism, and parts of what the other capture has.
    """
    first = min((r.rank for r in records if r.rank is not None), key=natural_key)
    facts = Facts([Group((record,)) for record in records if record.rank == first])
    for kind, number in axes.alone:
        extent = advice.extent(facts, (number,))
        gone = extent.missing((number,)) if extent is not None else []
        if extent is not None and gone:
            ranks = tuple(f"{kind}{n}" for n in gone)
            missing.add_parts(ranks, extent.shown)
            return replace(axes, missing=ranks)
    return axes


def missing_beside(capture: Capture, advice: Advice) -> str:
    """What is said where one rank alone is there, and has parts of what the other capture has;
    empty where it has not.
    """
    if capture.lone_rank is None:
        return ""
    kind, number = capture.lone_rank
    advice.prepare(capture.records)
    extent = advice.extent(Facts([Group((record,)) for record in capture.records]), (number,))
    gone = [f"{kind}{n}" for n in extent.missing((number,))] if extent is not None else []
    return _words(gone, _ONE_ALONE, extent.shown) if extent is not None and gone else ""


def any_layer(number: int) -> bool:
    """Without another capture: whether there must be such a layer. They may count from 1."""
    return number > 0


def unread_ranks(records: Sequence[Record], ranks: Sequence[str]) -> list[str]:
    """Ranks of which nothing could be read."""
    read = {record.rank for record in records if record.error is None}
    return [rank for rank in ranks if rank not in read]


def _tell(
    capture: Capture, ranks: list[str], why: str, shown: str, there: Sequence[str]
) -> None:  # fmt: skip
    capture.notes.append(_words(ranks, why, shown))
    capture.rank_faults = "; ".join(filter(None, (capture.rank_faults, capture.notes[-1])))
    known = {*there, *(record.name for record in capture.records if record.error)}
    for rank in [rank for rank in ranks if rank not in known][:_MOST_RECORDS]:
        error = f"this rank is missing: {_NOT_ALL if why == _NO_PARTS else why}"
        capture.records.append(
            Record(rank, rank, error=error, path=capture.path, format=capture.records[0].format)
        )


def _words(ranks: Sequence[str], why: str, shown: str) -> str:
    some = ", ".join(ranks[:3]) + (", ..." if len(ranks) > 3 else "")
    are = which(len(ranks), "is", "are")
    more = f"; {shown}" if shown else ""
    return f"{counted(len(ranks), 'rank')} {are} missing ({some}): {why}{more}"
