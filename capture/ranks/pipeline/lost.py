"""Ranks of a pipeline that should be there, and are not: nobody else has their layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from ...records import Record
from ..coordinates import STAGE, Places, counts_told, expected
from ..labels import RANK
from .chunks import LAYER
from .orders import layer_on_rank

_Layers = Mapping[int, set[int]]


def lost_stages(
    records: Sequence[Record], ranks: Sequence[str], places: Places, counts: Mapping[str, int],
    wanted: Callable[[int], bool],
) -> list[str]:  # fmt: skip
    """`pp1`, `rank0`: stages of which it is told how many there are; those whose number and whose
    layers are left out, and those before the first where layers do not begin at 0, if any of these
    layers is `wanted`.
    """
    known = [places.get(rank, {}) for rank in ranks]
    kind = STAGE if all(STAGE in own for own in known) else RANK
    if not all(kind in own for own in known) or (kind == RANK and _shared(records)):
        return []
    layers: dict[int, set[int]] = defaultdict(set)
    for record in records:
        number = layer_on_rank(record)
        if record.rank is not None and number is not None:
            layers[places[record.rank][kind]].add(number)
    numbers = sorted({own[kind] for own in known})
    if len(layers) < len(numbers) or (len(numbers) < 2 and kind == RANK):
        return []
    told = counts_told(known, counts)
    lost = [n for n in expected(kind, known, told) if n not in layers]
    if kind not in told:
        lost = [n for n in lost if any(map(wanted, _between(layers, n)))]
    begin = min(layers[numbers[0]])
    local = kind == STAGE and not any(map(min, layers.values()))
    if any(map(wanted, range(1 if local else begin))):
        lost = sorted({*range(numbers[0]), *lost})
    return [f"{kind}{number}" for number in lost]


def _shared(records: Sequence[Record]) -> bool:
    """Whether a layer is on more than one rank."""
    owner: dict[str, str] = {}
    for record in records:
        found = LAYER.search(record.module)
        if record.rank is not None and found is not None:
            own = owner.setdefault(found[1], record.rank)
            if own != record.rank:
                return True
    return False


def _between(layers: _Layers, number: int) -> range:
    """Layers that are missing between the stages around a number; of stages that count from 0 the
    first.
    """
    before = max(n for n in layers if n < number)
    behind = min(n for n in layers if n > number)
    if all(min(own) == 0 for own in layers.values()):
        return range(2)
    return range(max(layers[before]) + 1, min(layers[behind]))
