"""Which rows of a table belong to one sequence of a batch, and which token of it each row is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ..law import Scene
from .quantities import Key, Quantity, SideQuantities


@dataclass(frozen=True)
class Rows:
    """For every flat row its sequence and its place in it, earlier steps counted."""

    sequence: Array
    place: Array


def rows_of(lengths: Array, past: Array) -> Rows:
    """Rows of sequences that stand one behind the other; `past` are the tokens before each."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = np.arange(int(lengths.sum())) - starts[sequence] + past[sequence]
    return Rows(sequence, place)


def sequence_lengths(scene: Scene, key: Key, count: int) -> Array:
    """How many rows each sequence has at a quantity of `count` rows: by the offsets of a ragged
    batch, or the first axis of the record as it was dumped; one sequence where neither side says.
    """
    for side in scene.sides:
        found = _by_offsets(scene, side, key, count)
        if found is not None:
            return found
    for side in scene.sides:
        quantity = side.known.get(key)
        shape = None if quantity is None else quantity.task.locator.shape
        if shape is None or len(shape) < 3 or np.prod(shape[:-1]) != count or not shape[0]:
            continue
        return np.full(shape[0], count // shape[0])
    return np.array([count])


def _by_offsets(scene: Scene, side: SideQuantities, key: Key, count: int) -> Array | None:
    """Lengths from a record of row offsets: integers from 0 to `count` that never fall."""
    module = key.module
    while module:
        module = module.rpartition(".")[0]
        for owner in (module,) if module else ("model",):
            for quantity in side.calls.get((owner, key.step, 1), ()):
                found = _offsets(scene, quantity, count)
                if found is not None:
                    return found
    return None


def _offsets(scene: Scene, quantity: Quantity, count: int) -> Array | None:
    if quantity.is_float or not quantity.key.slot.startswith("input"):
        return None
    shape = scene.tables.shape(quantity)
    if len(shape) != 1 or not 2 <= shape[0] <= count + 1:
        return None
    values = scene.tables.whole(quantity)
    if values[0] != 0 or values[-1] != count or (np.diff(values) < 0).any():
        return None
    lengths = np.diff(values).astype(np.int64)
    return lengths if len(lengths) > 1 or count > 1 else None
