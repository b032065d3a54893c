"""What ranks hand to each other, bit by bit: which layer follows which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ...errors import RecordError
from ...names import natural_key
from ...records import Record
from ..groups import Group, sample
from .chunks import LAYER
from .orders import Order, Spot, Stages

_INPUTS, _OUTPUTS = ("input_0", "input_hidden_states"), ("output", "output_0")
_MOST_LOOKED = 64  # records of a layer that are compared between two ranks


def may_be_stages(records: Sequence[Record], stages: Stages) -> bool:
    """Whether ranks that are merely numbered have other values everywhere, as far as is looked:
    those that share a layer have some that are the same.
    """
    ranks = list(stages.first)[:2]
    by_name: dict[tuple[str, int, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.rank in ranks and record.locator is not None and LAYER.search(record.module):
            by_name[record.name, record.step, record.call].append(record)
    several = [tuple(group) for group in by_name.values() if len(group) == len(ranks)]
    groups = (Group(group) for group in several[:_MOST_LOOKED])
    return bool(several) and not any(group.same and not group.is_constant for group in groups)


def chained(records: Sequence[Record], stages: Stages) -> Stages | None:
    """Stages in the order in which the output of one rank's last layer is the input of another's
    first; None where that makes no chain of all ranks.
    """
    ranks = sorted(stages.stages, key=natural_key)
    inputs: dict[str, Record] = {}
    outputs: dict[str, Record] = {}
    for record in _of_whole_layers(records):
        spot = stages.spot(record)
        if spot is None or record.rank is None or record.call > 1:
            continue
        if spot[1] == 0 and record.slot in _INPUTS:
            inputs[record.rank] = record
        if spot[1] == stages.sizes[spot[0]] - 1 and record.slot in _OUTPUTS:
            outputs[record.rank] = record
    behind: dict[str, str] = {}
    for rank, output in outputs.items():
        same = [r for r, given in inputs.items() if r != rank and Group((output, given)).same]
        if len(same) > 1:
            return None
        if same:
            behind[rank] = same[0]
    first = [rank for rank in ranks if rank not in behind.values()]
    if len(first) != 1 or len(behind) != len(ranks) - 1 or len(set(behind.values())) < len(behind):
        return None
    order = [first[0]]
    while order[-1] in behind:
        order.append(behind[order[-1]])
    sizes = tuple(stages.sizes[stages.stages[rank]] for rank in order)
    return replace(stages, stages={rank: n for n, rank in enumerate(order)}, sizes=sizes)


def _of_whole_layers(records: Sequence[Record]) -> list[Record]:
    """What layers as a whole are given, and give, in the first step."""
    found: list[Record] = []
    for record in records:
        layer = LAYER.search(record.module)
        if layer is not None and layer.end() == len(record.module) and not record.step:
            found.append(record)
    return found


def linked_order(records: Sequence[Record], stages: Stages) -> Order | None:
    """The one order in which every layer is given what the layer before it gave, bit by bit, as far
    as both are recorded; None where there is none, or nothing tells it from another.
    """
    given: dict[bytes, set[Spot]] = defaultdict(set)
    made: dict[bytes, set[Spot]] = defaultdict(set)
    first = stages.first
    for record in _of_whole_layers(records):
        spot = stages.spot(record) if record.rank in first else None
        places = given if record.slot in _INPUTS else made if record.slot in _OUTPUTS else None
        if spot is not None and places is not None and (bits := _bits(record)):
            places[bits].add(spot)
    links = [
        (next(iter(made[bits])), next(iter(given[bits]))) for bits in made
        if len(made[bits]) == 1 and len(given.get(bits, ())) == 1
    ]  # fmt: skip
    fitting = [
        order for order in stages.orders() if all(_follows(order, *link) for link in links)
    ]  # fmt: skip
    return fitting[0] if len(fitting) == 1 and links and _between_stages(links) else None


def _follows(order: Order, one: Spot, other: Spot) -> bool:
    (number, call), (behind, next_call) = order.place(one), order.place(other)
    return behind == number + 1 and call == next_call


def _between_stages(links: Sequence[tuple[Spot, Spot]]) -> bool:
    return any(one[0] != other[0] for one, other in links)


def _bits(record: Record) -> bytes:
    try:
        return b"" if record.locator is None else sample(record.locator).tobytes()
    except (RecordError, OSError, TypeError):
        return b""
