"""Layers of pipeline stages and experts that every rank counts from 0: they get the numbers that
they have in the whole model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..names import natural_key
from ..plurals import counted
from ..records import Record
from .coordinates import STAGE, Places
from .groups import Group
from .interleaved import LAYER, number_chunks

_EXPERT = re.compile(r"(?<=[./])(?:local_)?experts[./](\d{1,6})(?=$|[./-])")
_EXPERTS = "ep"  # the kind of parallelism in which ranks have other experts
_ROUTERS = ("gate", "router", "gate_linear")


def number_globally(records: Sequence[Record], places: Places) -> list[str]:
    """Renumber records in place; what was done, in words."""
    stages = number_chunks(records, places) or _number_stages(records, places)
    return [*stages, *_number_experts(records, places)]


# Stages of a pipeline


def _number_stages(records: Sequence[Record], places: Places) -> list[str]:
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        number = _number(LAYER, record)
        if record.rank is not None and number is not None:
            counts[record.rank].add(number)
    ranks = sorted(counts, key=natural_key)
    if len(ranks) < 2 or any(n != set(range(len(n))) for n in counts.values()):
        return []  # numbers of the whole model, or none
    stages = _told_stages(places, ranks) or _linked_stages(records, ranks, counts)
    if stages is None or len(set(stages.values())) < 2:
        return []
    begins: dict[str, int] = {}
    sizes: dict[int, int] = {}
    for rank in ranks:
        size = sizes.setdefault(stages[rank], len(counts[rank]))
        if size != len(counts[rank]):
            return []
    for rank in ranks:
        begins[rank] = sum(size for stage, size in sizes.items() if stage < stages[rank])
    for record in records:
        if record.rank in begins:
            _renumber(LAYER, record, begins[record.rank])
    count = counted(len(sizes), "stage")
    return [f"pipeline of {count}: layers of each count from 0, and are numbered through"]


def _told_stages(places: Places, ranks: list[str]) -> dict[str, int] | None:
    told = {rank: own[STAGE] for rank in ranks if STAGE in (own := places.get(rank, {}))}
    whole = len(told) == len(ranks) and set(told.values()) == set(range(len(set(told.values()))))
    return told if whole else None


def _linked_stages(
    records: Sequence[Record], ranks: list[str], counts: dict[str, set[int]]
) -> dict[str, int] | None:
    """The order in which the output of one rank's last layer is the input of another's first, with
    the same bits; None where that makes no chain of all ranks.
    """
    inputs: dict[str, Record] = {}
    outputs: dict[str, Record] = {}
    for record in records:
        layer = LAYER.search(record.module)
        if record.rank is None or layer is None or layer.end() != len(record.module):
            continue
        if record.step or record.call > 1:
            continue
        if int(layer[1]) == 0 and record.slot in ("input_0", "input_hidden_states"):
            inputs[record.rank] = record
        if int(layer[1]) == len(counts[record.rank]) - 1 and record.slot in ("output", "output_0"):
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
    stages = {first[0]: 0}
    rank = first[0]
    while rank in behind:
        rank = behind[rank]
        if rank in stages:
            return None
        stages[rank] = len(stages)
    return stages if len(stages) == len(ranks) else None


# Experts


@dataclass(slots=True)
class _Mixture:
    """The experts of one layer and step, by rank, and how wide its router's output is."""

    experts: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    routers: list[Record] = field(default_factory=list)


def _number_experts(records: Sequence[Record], places: Places) -> list[str]:
    mixtures: dict[str, _Mixture] = defaultdict(_Mixture)
    ranks = {record.rank for record in records if record.rank is not None}
    for record in records:
        expert = _EXPERT.search(record.module)
        if record.rank is None:
            continue
        if expert is not None:
            parent = record.module[: expert.start()].rstrip("./")
            mixtures[parent].experts[record.rank].add(int(expert[1]))
        elif record.module.rpartition(".")[2] in _ROUTERS and not record.slot.startswith("input"):
            mixtures[record.module.rpartition(".")[0]].routers.append(record)
    begins = {
        parent: sizes for parent, mixture in mixtures.items()
        if (sizes := _begins(mixture, ranks, places))
    }  # fmt: skip
    if not begins:
        return []
    for record in records:
        expert = _EXPERT.search(record.module)
        if expert is not None and record.rank is not None:
            parent = record.module[: expert.start()].rstrip("./")
            if parent in begins:
                _renumber(_EXPERT, record, begins[parent][record.rank])
    layers = counted(len(begins), "layer")
    return [f"experts of {layers} count from 0 on every rank, and are numbered through"]


def _begins(mixture: _Mixture, ranks: set[str], places: Places) -> dict[str, int] | None:
    """The number of each rank's first expert, where the router gives a score for each expert of
    all ranks, or of all `ep` places; None where experts are numbered through already, or that is
    not known.
    """
    own = mixture.experts
    sizes = {len(numbers) for numbers in own.values()}
    if set(own) != ranks or len(sizes) != 1 or any(n != set(range(len(n))) for n in own.values()):
        return None
    (size,) = sizes
    widths = {record.shape[-1] for record in mixture.routers if record.shape}
    told = {rank: own[_EXPERTS] for rank in ranks if _EXPERTS in (own := places.get(rank, {}))}
    if len(told) < len(ranks):
        told = {rank: place for place, rank in enumerate(sorted(ranks, key=natural_key))}
    count = len(set(told.values()))
    if widths != {size * count} or set(told.values()) != set(range(count)):
        return None
    return {rank: place * size for rank, place in told.items()}


# Names


def _number(pattern: re.Pattern[str], record: Record) -> int | None:
    found = pattern.search(record.module)
    return None if found is None else int(found[1])


def _renumber(pattern: re.Pattern[str], record: Record, by: int) -> None:
    """Add to the number in both names of a record."""
    found = pattern.search(record.module)
    if found is None or by == 0:
        return
    module = f"{record.module[: found.start(1)]}{int(found[1]) + by}{record.module[found.end(1) :]}"
    inside = pattern.search(record.name)
    if inside is not None:
        number = int(inside[1]) + by
        record.name = f"{record.name[: inside.start(1)]}{number}{record.name[inside.end(1) :]}"
    record.module = module
