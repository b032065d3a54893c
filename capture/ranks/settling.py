"""The records of several ranks become those of one capture: each tensor once, put together where
the ranks have parts of it, and rank by rank where it is not known how.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..dtypes import DTYPES
from ..names import natural_key
from ..plurals import counted, which
from ..records import Capture, RankRecords, Record, RecordIdentity
from .coordinates import STAGE, Axes, Places, axes_of, counts_of_places, places_of_ranks
from .deciding import UNKNOWN, Advice, Deciding, Decision, place_of_whole
from .experts import lost_experts, number_experts
from .facts import Facts
from .findings.lacking import LACKS, lacking, layer_of, layers_twice, odd_records
from .groups import LARGE, WHOLE, Group
from .labels import DATA, RANK
from .missing import MissingRanks, any_layer, unread_ranks, with_lone_places
from .pipeline.chunks import number_chunks
from .pipeline.lost import lost_stages
from .pipeline.numbering import Numbering, number_stages
from .rank_records import Joined
from .unequal import unequal_ranks, with_odd_ranks, without_empty_parts
from .usual_ways import with_usual_ways
from .way import APART, REPLICATED

_MOST_WHOLE = 512 << 20  # bytes of records that are compared between ranks whole, not by pieces


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

    Ranks of several kinds of parallelism (`tp0-cp1`) are put together kind by kind, the inner one
    first: what tensor-parallel ranks make together is then what a context-parallel rank has.
    """
    ranks = ranks_of(capture.records)
    known = capture.of_ranks
    if len(ranks) < 2 or known is None:
        return
    places = places_of_ranks(capture.records, capture.rank_kinds)
    counts = counts_of_places(capture.records, capture.rank_counts)
    _number(capture, places, counts, advice)
    if advice is not None:
        advice.prepare(capture.records)
    missing = MissingRanks()
    if advice is not None and advice.has_same_ranks(capture.records):
        counts = {}  # what is compared is there on both sides
    else:
        wanted = any_layer if advice is None else advice.wants_layer
        missing.layers = lost_stages(capture.records, ranks, places, counts, wanted)
        missing.experts = lost_experts(capture.records, places)
    axes = axes_of(ranks, places, counts)
    unread = unread_ranks(capture.records, ranks)
    axes = replace(axes, missing=(*axes.missing, *unread))
    labels = {id(record): record.rank for record in capture.records}
    placed = [record for record in capture.records if record.placement is not None]
    if placed and len(axes.kinds) > 1:  # the recording says of each how all kinds are undone
        stage = _Stage(capture, known, advice, labels, axes)
        stage.settle(placed)
        stage.tell()
    if advice is not None and not axes.missing:
        axes = with_lone_places(capture.records, axes, advice, missing)
    for number, kind in enumerate(axes.kinds or ("",)):
        stage = _Stage(capture, known, advice, labels, axes, _caution(axes, kind), kind)
        stage.may_be_all = not unread and kind not in counts
        undone = axes.kinds[: number + 1]
        for part in _parts(capture.records, labels, axes, undone):
            stage.settle(part)
        stage.tell()
        for record in capture.records if stage.kind_told else ():
            if record.rank is not None:
                record.rank = axes.label(labels[id(record)] or "", undone)
        if any(decision.why == _MISSING for _, decision in stage.told):
            missing.add_parts((*axes.missing, *stage.missing), stage.shown)
    missing.tell(capture, ranks)
    for record in capture.records:
        record.rank = labels.get(id(record))
    capture.records.sort(key=lambda record: record.step)


def _number(
    capture: Capture, places: Places, counts: Mapping[str, int], advice: Advice | None
) -> None:  # fmt: skip
    """Give layers and experts that ranks count for themselves the numbers of the whole model."""
    records = capture.records
    said = number_chunks(records, places)
    stages = Numbering() if said else number_stages(records, places, counts, advice)
    capture.notes += [*said, *([stages.words] if stages.words else [])]
    capture.rank_faults = "" if stages.known else stages.words
    capture.notes += number_experts(records, places)


def _caution(axes: Axes, kind: str) -> str:
    """Why ranks are not put together, but for what they all have; empty where they are."""
    if axes.missing:
        return _MISSING
    return _OTHER_INPUTS if kind == DATA else ""


def _parts(
    records: Sequence[Record], labels: Mapping[int, str | None], axes: Axes, undone: Sequence[str]
) -> list[list[Record]]:
    """The records of ranks that differ in the last of these kinds alone, or in their stage."""
    if len(axes.kinds) < 2:
        return [[record for record in records if record.rank is not None]]
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.rank is not None and record.placement is None:
            found[axes.label(labels[id(record)] or "", (*undone, STAGE))].append(record)
    return [found[label] for label in sorted(found, key=natural_key)]


@dataclass(slots=True)
class _Stage:
    """Ranks of one kind of parallelism become one. `labels` are ranks as they were at first, and
    `axes` say where these stand; `caution` says why only what all have is one record. `missing` are
    ranks that another capture shows to be missing, by what is `shown`; where numbers alone say so,
    they `may_be_all`.
    """

    capture: Capture
    known: RankRecords
    advice: Advice | None
    labels: dict[int, str | None]
    axes: Axes
    caution: str = ""
    kind: str = ""
    may_be_all: bool = False
    missing: list[str] = field(default_factory=list)
    shown: str = ""
    told: list[tuple[Group, Decision]] = field(default_factory=list)
    alone: int = 0
    faults: list[str] = field(default_factory=list)
    ranks: set[str] = field(default_factory=set)

    @property
    def kind_told(self) -> str:
        """The kind of parallelism where ranks differ in several; empty where there is one."""
        return self.kind if len(self.axes.kinds) > 1 else ""

    def settle(self, records: Sequence[Record]) -> None:
        """Those that differ in this kind alone."""
        ranks = ranks_of(records)
        by_key: dict[RecordIdentity, list[Record]] = defaultdict(list)
        for record in records:
            by_key[record.identity].append(record)
        several = [group for group in by_key.values() if len({r.rank for r in group}) > 1]
        most = WHOLE if _bytes(several) > _MOST_WHOLE else LARGE
        groups = [self._group(records, most) for records in several]
        places = {rank: self.axes.places.get(rank, {}) for rank in ranks}
        short = lacking(records, places)
        whole = _complete(groups, records, ranks)
        whole -= {id(group) for group in groups if not self.caution and short.has(group.first)}
        facts = Facts([group for group in groups if id(group) in whole])
        self._look_for_missing(facts)
        deciding = Deciding(facts, self.advice)
        told = [(group, self._decided(deciding, group, id(group) in whole)) for group in groups]
        if not self.caution:
            told = with_odd_ranks(without_empty_parts(with_usual_ways(told, deciding)))
        if told and not self.caution:
            self.capture.unequal_ranks += unequal_ranks(told)
            if any(decision.way != APART for _, decision in told):  # parts of one run
                self.faults += short.words()
            self.faults += odd_records(told, ranks, short)
            self.faults += layers_twice(told, places)
        self.told += told
        self.ranks.update(ranks)
        self.alone += sum(1 for group in by_key.values() if _is_alone(group))

    def _look_for_missing(self, facts: Facts) -> None:
        """Ask the other capture how many ranks there are in all."""
        if self.advice is None or self.kind in ("", DATA) or not facts.groups:
            return
        places = {
            tuple(self._number(record) for record in group.records) for group in facts.groups
        }  # fmt: skip
        if len(places) > 1:
            return
        (numbers,) = places
        extent = self.advice.extent(facts, numbers)
        if extent is None:
            return
        gone = [f"{self.kind}{number}" for number in extent.missing(numbers)]
        if gone:
            self.caution, self.shown = _MISSING, extent.shown
            self.missing += gone
        elif self.may_be_all and self.caution == _MISSING:
            self.caution = ""

    def _number(self, record: Record) -> int:
        return self.axes.places[self.labels[id(record)] or ""][self.kind]

    def _group(self, records: Sequence[Record], most: int) -> Group:
        ordered = tuple(sorted(records, key=lambda record: natural_key(record.rank or "")))
        names = ("", "") if self.advice is None else self.advice.name(ordered[0])
        return Group(ordered, self.known.compared, most, *names, self.kind_told)

    def _decided(self, deciding: Deciding, group: Group, complete: bool) -> Decision:
        if complete and self.caution:
            return Decision(*((REPLICATED, _EQUAL) if group.agree else (APART, self.caution)))
        if len({_way_so_far(record) for record in group.records}) > 1:
            return Decision(APART, "what it is put together of is not the same on all ranks")
        if complete:
            return deciding.decide(group)
        if group.same:
            return Decision(REPLICATED, "equal on the ranks that have it")
        return Decision(APART, LACKS)

    def tell(self) -> None:
        """Put together what was decided, and say so."""
        known, capture = self.known, self.capture
        if self.told:
            kind = f"{self.kind_told} " if self.kind_told not in ("", RANK) else ""
            capture.notes.append(_words(len(self.ranks), kind, self.told, self.alone))
        if self.caution == _OTHER_INPUTS and any(d.way == APART for _, d in self.told):
            some = f"{capture.path.rstrip('/')}/{min(self.ranks, key=natural_key)}"
            capture.notes.append(f"{self.caution}: compare them one by one ({some})")
        for fault in dict.fromkeys(self.faults):
            capture.notes.append(fault)
            capture.rank_faults = "; ".join(filter(None, (capture.rank_faults, fault)))
        if self.kind == RANK and self.told and all(d.why == UNKNOWN for _, d in self.told):
            capture.notes.append(_SAY_KIND)
        for group, decision in self.told:
            joined = self._joined(group, decision)
            known.joined.append(joined)
            shown = group.records[decision.shown]
            shown.joined = joined
            before = replace(shown)
            gone = _apply(group, decision)
            known.parts += gone
            if decision.way.kind == "replicated" and decision.node is None:
                known.copies += [(before, copy) for copy in gone]
            if decision.shown:
                _exchange(capture.records, group.first, shown)
                self.labels[id(shown)] = self.labels[id(group.first)]
        left_out = {id(record) for record in known.parts}
        capture.records[:] = [record for record in capture.records if id(record) not in left_out]

    def _joined(self, group: Group, decision: Decision) -> Joined:
        """What is said of a whole that consists of wholes says how these were put together, too."""
        first = group.first
        ranks = tuple(record.rank or "" for record in group.records)
        way, why, shapes = str(decision.way), decision.why, group.shapes or ()
        inner = [record.joined for record in group.records if record.joined is not None]
        if self.kind_told and decision.way.kind != "apart":
            way = way if way == "replicated" else f"{self.kind}: {way}"
            if len(inner) == group.count:
                gone = {id(one) for one in inner}
                self.known.joined[:] = [one for one in self.known.joined if id(one) not in gone]
                ways = dict.fromkeys((inner[0].way, way))
                way = ", ".join(w for w in ways if w != "replicated") or "replicated"
                why = "; ".join(dict.fromkeys((inner[0].why, why)))
                ranks = tuple(rank for one in inner for rank in one.ranks)
                shapes = tuple(shape for one in inner for shape in one.shapes)
        return Joined(first.name, first.step, ranks, way, why, shapes)


_EQUAL = "equal on all ranks"
_MISSING = "ranks are missing"
_OTHER_INPUTS = "data-parallel ranks have other inputs"
_SAY_KIND = (
    "nothing shows what these ranks have of the whole: [ranks] of a rules file says which kind of "
    "parallelism it is (`dp2`, `pp2`, `pp2 vpp2` where each stage has two chunks of layers)"
)


def _way_so_far(record: Record) -> tuple[str, int]:
    """How a record was put together, and of how many ranks."""
    joined = record.joined
    return ("", 1) if joined is None else (joined.way, len(joined.ranks))


def _is_alone(records: Sequence[Record]) -> bool:
    """Whether one rank alone has it; what was named apart before is none."""
    record = records[0]
    return len({r.rank for r in records}) == 1 and "/" not in record.module.partition(".")[0]


def _bytes(groups: Sequence[Sequence[Record]]) -> int:
    """Bytes of all records that are compared between ranks."""
    places = [record.locator for group in groups for record in group]
    return sum(p.count * DTYPES[p.dtype].itemsize for p in places if p is not None)


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


def _words(
    ranks: int, kind: str, told: Sequence[tuple[Group, Decision]], alone: int
) -> str:  # fmt: skip
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
    return (
        f"{ranks} {kind}ranks: of {counted(len(told), 'tensor')} {look}, and {first}{parts}{more}"
    )


def _complete(groups: Sequence[Group], records: Sequence[Record], ranks: list[str]) -> set[int]:
    """Groups that have all the ranks that could have them: those that have anything of the same
    layer or, outside of layers, all ranks or those of some layer.
    """
    layers: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.rank is not None:
            layers[layer_of(record.module)].add(record.rank)
    usual = {frozenset(ranks)} | {frozenset(of) for layer, of in layers.items() if layer}
    found: set[int] = set()
    for group in groups:
        own = frozenset(record.rank for record in group.records if record.rank is not None)
        layer = layer_of(group.first.module)
        if len(own) == group.count and (own == layers[layer] if layer else own in usual):
            found.add(id(group))
    return found
