"""Which layer and which module every row belongs to, as numbers: one array each, made once."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ....compare.model import Row

_DIGITS = frozenset("0123456789")
_DEEP = 6  # components of a name among which a layer's number is looked for
_GAPS = {"pair": 0, "gap_reference": 1, "gap_candidate": 2}


class Group(NamedTuple):
    """A layer or a module of one step: `name` is canonical (`layers.3`, `layers.3.self_attn`)."""

    step: int
    name: str


@dataclass(frozen=True)
class Levels:
    """`layer` and `module` have for every row a place in `layers` and `modules`; the layer of a row
    that belongs to none (an embedding, the last norm) is -1. `gap` is 0 for a pair, 1 for a record
    of the reference alone, 2 for one of the candidate.
    """

    layer: NDArray[np.int32]
    module: NDArray[np.int32]
    gap: NDArray[np.int8]
    layers: tuple[Group, ...]
    modules: tuple[Group, ...]
    stepped: bool  # there is more than one step


def module_of(canonical: str) -> tuple[str, str]:
    """The layer of a module, empty where it has none, and the part of the layer or of the model:
    `layers.3` and `layers.3.self_attn` of `layers.3.self_attn.q_proj`.
    """
    parts = canonical.split(".", _DEEP)
    for at, part in enumerate(parts):
        if part and part[-1] in _DIGITS:
            layer = ".".join(parts[: at + 1])
            inner = parts[at + 1 : at + 2]
            return layer, f"{layer}.{inner[0]}" if inner else layer
    return "", parts[0]


def levels_of(rows: Sequence[Row]) -> Levels:
    """The levels of all rows of a comparison."""
    import numpy as np

    layers: dict[tuple[int, str], int] = {}
    modules: dict[tuple[int, str], int] = {}
    layer, module = array("i"), array("i")
    step, inside, numbers = -1, "", (-1, 0)
    for row in rows:
        canonical = row.canonical
        if row.step != step or not inside or not canonical.startswith(inside):
            step = row.step
            name, part = module_of(canonical)
            inside = part + "." if part != name and name else ""  # neighbours are in it mostly
            numbers = (
                layers.setdefault((step, name), len(layers)) if name else -1,
                modules.setdefault((step, part), len(modules)),
            )
        layer.append(numbers[0])
        module.append(numbers[1])
    gap = np.fromiter((_GAPS[row.kind] for row in rows), np.int8, len(rows))
    stepped = len({step for step, _ in modules}) > 1
    in_layers, in_modules = (tuple(map(Group._make, groups)) for groups in (layers, modules))
    numbers_of = np.array(layer, np.int32), np.array(module, np.int32)
    return Levels(numbers_of[0], numbers_of[1], gap, in_layers, in_modules, stepped)
