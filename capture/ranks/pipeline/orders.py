"""Layers of stages that every rank counts from 0, and the orders that they may have in the whole
model: each stage in one piece, or interleaved, with several chunks of layers one behind the other
in its own numbers, or under the same numbers as further calls.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...names import natural_key
from ...plurals import counted
from ...records import Record
from ..coordinates import STAGE, Places
from ..labels import RANK
from ..numbers_in_names import add_to_number
from .chunks import LAYER

_APART = re.compile(rf"[./]{STAGE}\d+\.(\d{{1,6}})(?=$|[./-])")  # what `set_apart` makes of it
_MOST_CALLS = 64  # of one layer that may be chunks

Spot = tuple[int, int, int]  # stage, layer as its rank counts it, call


@dataclass(frozen=True, slots=True)
class Order:
    """Where layers of stages stand in the whole model. `sizes` are the layers that each stage
    counts. Chunk c of stage s stands behind all stages' chunks before c; they have the same numbers
    where they are told `by_call`.
    """

    sizes: tuple[int, ...]
    chunks: int = 1
    by_call: bool = False

    def place(self, spot: Spot) -> tuple[int, int]:
        """Number of the layer, and of the call."""
        stage, layer, call = spot
        if self.chunks == 1:
            return sum(self.sizes[:stage]) + layer, call
        size = self.sizes[0] if self.by_call else self.sizes[0] // self.chunks
        chunk, own = (call - 1, layer) if self.by_call else divmod(layer, size)
        number = (chunk * len(self.sizes) + stage) * size + own
        return number, 1 if self.by_call else call

    @property
    def words(self) -> str:
        """What was done."""
        stages = counted(len(self.sizes), "stage")
        if self.chunks == 1:
            return f"pipeline of {stages}: layers of each count from 0, and are numbered through"
        return (
            f"interleaved pipeline of {stages} of {counted(self.chunks, 'chunk')} each: layers are "
            "numbered through"
        )


@dataclass(slots=True)
class Stages:
    """Ranks and the stage of each, counted from 0, which is `told` or that of a rank among ranks.
    `sizes` are the layers that each stage counts, `calls` how often each of them ran.
    """

    stages: dict[str, int]
    told: bool
    sizes: tuple[int, ...]
    calls: int

    @property
    def first(self) -> dict[str, int]:
        """One rank of every stage."""
        found: dict[int, str] = {}
        for rank in sorted(self.stages, key=natural_key):
            found.setdefault(self.stages[rank], rank)
        return {rank: stage for stage, rank in found.items()}

    def spot(self, record: Record) -> Spot | None:
        """Where a record of a layer stands; None outside of layers."""
        found = LAYER.search(record.module)
        if found is None or record.rank not in self.stages:
            return None
        return self.stages[record.rank], int(found[1]), record.call

    def orders(self) -> list[Order]:
        """Every order that the layers may have; that of stages in one piece first."""
        found = [Order(self.sizes)]
        if len(set(self.sizes)) > 1:
            return found
        if self.calls > 1:
            found.append(Order(self.sizes, self.calls, True))
        size = self.sizes[0]
        return found + [
            Order(self.sizes, chunks) for chunks in range(2, size + 1) if size % chunks == 0
        ]

    def told_order(self, chunks: int) -> Order | None:
        """The order of stages that have so many chunks each; None where that cannot be."""
        found = [order for order in self.orders() if order.chunks == chunks]
        return found[0] if found else None


def stages_of(
    records: Sequence[Record], places: Places, in_all: int | None = None
) -> Stages | None:  # fmt: skip
    """Ranks that all count their layers from 0 and may be stages of a pipeline; None for others.
    Stages that are told may count from 1 where they have as many layers as there are `in_all`.
    """
    layers: dict[str, set[int]] = defaultdict(set)
    calls: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in records:
        found = LAYER.search(record.module)
        if record.rank is not None and found is not None:
            layers[record.rank].add(int(found[1]))
            calls[record.rank, record.step].add(record.call)
    ranks = sorted(layers, key=natural_key)
    if len(ranks) < 2 or any(own != set(range(len(own))) for own in layers.values()):
        return None
    stages, told = _told(places, ranks), True
    if stages is not None and (begin := min(stages.values())) > 0:
        own = {stages[rank]: len(layers[rank]) for rank in ranks}
        if begin > 1 or sum(own.values()) != in_all:
            return None
        stages = {rank: stage - 1 for rank, stage in stages.items()}
    if stages is None:
        if any(list(places.get(rank, {RANK: 0})) != [RANK] for rank in ranks):
            return None
        stages, told = {rank: number for number, rank in enumerate(ranks)}, False
    sizes: dict[int, int] = {}
    for rank in ranks:
        if sizes.setdefault(stages[rank], len(layers[rank])) != len(layers[rank]):
            return None
    seen = {frozenset(own) for own in calls.values()}
    (own,) = seen if len(seen) == 1 else (frozenset({1}),)
    count = len(own) if own == set(range(1, len(own) + 1)) and len(own) <= _MOST_CALLS else 1
    return Stages(stages, told, tuple(sizes[n] for n in sorted(sizes)), count)


def _told(places: Places, ranks: Sequence[str]) -> dict[str, int] | None:
    told = {rank: own[STAGE] for rank in ranks if STAGE in (own := places.get(rank, {}))}
    numbers = sorted(set(told.values()))
    whole = len(told) == len(ranks) and len(numbers) > 1
    return told if whole and numbers[-1] - numbers[0] + 1 == len(numbers) else None


def apply_order(records: Sequence[Record], stages: Stages, order: Order) -> None:
    """Give layers their numbers, in place."""
    for record in records:
        spot = stages.spot(record)
        if spot is None:
            continue
        number, call = order.place(spot)
        add_to_number(LAYER, record, number - spot[1])
        if order.by_call:
            record.name = record.name.replace(f"({record.call})", "", 1)
            record.call = call


def layer_on_rank(record: Record) -> int | None:
    """The number of a record's layer, be it that of the whole model or of its stage."""
    found = LAYER.search(record.module) or _APART.search(record.module)
    return None if found is None else int(found[1])


def set_apart(records: Sequence[Record], places: Places) -> int:
    """Put the stage before the numbers of layers that count from 0 on stages that are told, of
    which the first is not there: they are other layers of the whole model. The number of records.
    """
    layers = [(record, found) for record in records if (found := LAYER.search(record.module))]
    stages = {record.rank: places.get(record.rank or "", {}).get(STAGE) for record, _ in layers}
    lowest: dict[str | None, int] = {}
    for record, found in layers:
        lowest[record.rank] = min(int(found[1]), lowest.get(record.rank, int(found[1])))
    if not stages or any(not stage for stage in stages.values()) or any(lowest.values()):
        return 0
    label_layers(records, places)
    return len(layers)


def label_layers(records: Sequence[Record], places: Places) -> None:
    """Put the stage before the numbers of layers, which are then those of no other layers."""
    for record in records:
        if record.rank is not None and LAYER.search(record.module):
            label = f"{STAGE}{places[record.rank][STAGE]}."
            record.name, record.module = (
                _with_label(name, label) for name in (record.name, record.module)
            )


def _with_label(name: str, label: str) -> str:
    """With a label before the number of the layer."""
    found = LAYER.search(name)
    return name if found is None else name[: found.start(1)] + label + name[found.start(1) :]
