"""The records of several ranks become those of one capture: each tensor once, put together where
the ranks have parts of it, and rank by rank where it is not known how.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..dtypes import DTYPES
from ..names import natural_key
from ..plurals import counted, which
from ..records import Capture, Joined, RankRecords, Record
from .deciding import Advice, Deciding, Decision, place_of_whole
from .facts import Facts
from .groups import LARGE, WHOLE, Group
from .numbering import number_globally
from .unequal import unequal_ranks, with_odd_ranks
from .usual_ways import with_usual_ways
from .way import APART, REPLICATED

_Key = tuple[str | None, int, str, str, int]
_MOST_WHOLE = 512 << 20  # bytes of records that are compared between ranks whole, not by pieces
_LAYERS = ("layers", "h", "blocks")


def key_of(record: Record) -> _Key:
    """What no two records of a rank share."""
    return (record.side, record.step, record.module, record.slot, record.call)


def ranks_of(records: Sequence[Record]) -> list[str]:
    """The ranks, in order."""
    found = {record.rank for record in records if record.rank is not None}
    return sorted(found, key=natural_key)


def keep_ranks(capture: Capture) -> None:
    """Remember the records of a capture of several ranks as they are."""
    if capture.of_ranks is None and len(ranks_of(capture.records)) > 1:
        capture.of_ranks = RankRecords(
            [replace(record) for record in capture.records], capture.order_known,
            capture.order_source, list(capture.notes),
        )  # fmt: skip


def settle_ranks(capture: Capture, advice: Advice | None = None) -> None:
    """Make one record of those that ranks have under one name, where it is known how; others get
    their rank in front of the name.
    """
    ranks = ranks_of(capture.records)
    known = capture.of_ranks
    if len(ranks) < 2 or known is None:
        return
    capture.notes += number_globally(capture.records)
    if advice is not None:
        advice.prepare(capture.records)
    by_key: dict[_Key, list[Record]] = defaultdict(list)
    for record in capture.records:
        if record.rank is not None:
            by_key[key_of(record)].append(record)
    several = [group for group in by_key.values() if len({r.rank for r in group}) > 1]
    most = WHOLE if _bytes(several) > _MOST_WHOLE else LARGE
    groups = [_group(records, known, most, advice) for records in several]
    whole = _complete(groups, capture.records, ranks)
    deciding = Deciding(Facts([g for g in groups if id(g) in whole]), advice)
    told = [(group, _decided(deciding, group, id(group) in whole)) for group in groups]
    told = with_odd_ranks(with_usual_ways(told, deciding))
    if told:
        capture.unequal_ranks = unequal_ranks(told)
        capture.notes.append(_words(len(ranks), told, len(by_key) - len(several)))
    for group, decision in told:
        joined = _joined(group, decision)
        known.joined.append(joined)
        group.records[decision.shown].joined = joined
        gone = _apply(group, decision)
        known.parts += gone
        if decision.way.kind == "replicated" and decision.node is None:
            known.copies += [(group.records[decision.shown], copy) for copy in gone]
        if decision.shown:
            _exchange(capture.records, group.first, group.records[decision.shown])
    left_out = {id(record) for record in known.parts}
    capture.records[:] = [record for record in capture.records if id(record) not in left_out]
    capture.records.sort(key=lambda record: record.step)


def _group(
    records: Sequence[Record], known: RankRecords, most: int, advice: Advice | None
) -> Group:
    ordered = tuple(sorted(records, key=lambda record: natural_key(record.rank or "")))
    names = ("", "") if advice is None else advice.name(ordered[0])
    return Group(ordered, known.compared, most, *names)


def _bytes(groups: Sequence[Sequence[Record]]) -> int:
    """Bytes of all records that are compared between ranks."""
    places = [record.locator for group in groups for record in group]
    return sum(p.count * DTYPES[p.dtype].itemsize for p in places if p is not None)


def _decided(deciding: Deciding, group: Group, complete: bool) -> Decision:
    if complete:
        return deciding.decide(group)
    if group.same:
        return Decision(REPLICATED, "equal on the ranks that have it")
    return Decision(APART, "a rank that should have it has not")


def _joined(group: Group, decision: Decision) -> Joined:
    ranks = tuple(record.rank or "" for record in group.records)
    way, why = str(decision.way), decision.why
    first = group.first
    return Joined(first.name, first.step, ranks, way, why, group.shapes or ())


def _apply(group: Group, decision: Decision) -> list[Record]:
    """Make the first record the whole, or name all apart; the records that are then no longer
    compared by themselves.
    """
    if decision.way.kind == "apart":
        for record in group.records:
            _name_apart(record)
        return []
    place = place_of_whole(decision, group)
    if place is not None:
        group.first.locator, group.first.shape = place, place.shape
    for odd in decision.odd:
        _name_apart(group.records[odd])
    shown = (decision.shown, *decision.odd)
    return [record for at, record in enumerate(group.records) if at not in shown]


def _exchange(records: list[Record], first: Record, shown: Record) -> None:
    """The record that stands for all takes the place of the first rank's among its records."""
    one, other = (
        next(at for at, record in enumerate(records) if record is wanted)
        for wanted in (first, shown)
    )  # fmt: skip
    records[one], records[other] = shown, first
    shown.rank, shown.path = first.rank, first.path


def _name_apart(record: Record) -> None:
    record.name = f"{record.rank}/{record.name}"
    record.module = f"{record.rank}/{record.module}"


def _words(ranks: int, told: Sequence[tuple[Group, Decision]], alone: int) -> str:
    """What was done, in one sentence, and how much is not known; `alone` are on one rank only."""
    same = sum(1 for _, d in told if d.way.kind == "replicated" and not d.odd)
    rounded = sum(1 for g, d in told if d.way.kind == "replicated" and not g.same and not d.odd)
    whole = sum(1 for _, decision in told if decision.node is not None)
    odd = sum(1 for _, decision in told if decision.odd)
    left = len(told) - same - whole - odd
    near = f" ({rounded} but for rounding)" if rounded else ""
    parts = f", {whole} are joined from their parts" if whole else ""
    differs = "differs" if odd == 1 else "differ"
    parts += f", {odd} {differs} on a rank that is shown besides" if odd else ""
    more = f"; {left} are shown rank by rank, not joined" if left else ""
    is_alone = which(alone, "is", "are")
    more += f"; {counted(alone, 'more tensor')} {is_alone} on one rank only" if alone else ""
    look = f"{same} {which(same, 'looks', 'look')} the same on all of them{near}"
    first = f"the first rank's {which(same, 'is', 'are')} shown"
    return f"{ranks} ranks: of {counted(len(told), 'tensor')} {look}, and {first}{parts}{more}"


def _complete(groups: Sequence[Group], records: Sequence[Record], ranks: list[str]) -> set[int]:
    """Groups that have all the ranks that could have them: those that have anything of the same
    layer or, outside of layers, all ranks or those of some layer.
    """
    layers: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.rank is not None:
            layers[_layer(record.module)].add(record.rank)
    usual = {frozenset(ranks)} | {frozenset(of) for layer, of in layers.items() if layer}
    found: set[int] = set()
    for group in groups:
        own = frozenset(record.rank for record in group.records if record.rank is not None)
        layer = _layer(group.first.module)
        if len(own) == group.count and (own == layers[layer] if layer else own in usual):
            found.add(id(group))
    return found


def _layer(module: str) -> str:
    """The path of the layer that a module is in; empty outside of layers."""
    parts = module.split(".")
    for place, part in enumerate(parts[:-1]):
        if part in _LAYERS and parts[place + 1].isdecimal():
            return ".".join(parts[: place + 2])
    return ""
