"""Layers of pipeline stages and experts that every rank counts from 0: they get the numbers that
they have in the whole model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..names import natural_key
from ..plurals import counted
from ..records import Record
from .coordinates import Places
from .interleaved import number_chunks
from .numbers_in_names import add_to_number
from .pipeline.numbering import StageAdvice, number_stages

_EXPERT = re.compile(r"(?<=[./])(?:local_)?experts[./](\d{1,6})(?=$|[./-])")
_EXPERTS = "ep"  # the kind of parallelism in which ranks have other experts
_ROUTERS = ("gate", "router", "gate_linear")


def number_globally(
    records: Sequence[Record], places: Places, counts: Mapping[str, int], advice: StageAdvice | None
) -> list[str]:  # fmt: skip
    """Renumber records in place; what was done, in words. `counts` are numbers of places that are
    told; `advice` is asked in which order layers of stages stand.
    """
    stages = number_chunks(records, places) or number_stages(records, places, counts, advice)
    return [*stages, *_number_experts(records, places)]


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
                add_to_number(_EXPERT, record, begins[parent][record.rank])
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
