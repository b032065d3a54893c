"""Whether a layer returned what another record holds: an earlier layer's or step's values, or what
a module beside it returned.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..matching.names.canonical import layer_number, parent_of
from ..measuring.bounded_sample import UNREADABLE
from .law import Case, Hypothesis, Prediction, Scene, Site
from .names import kind_name
from .numerics.quantities import Key, Quantity

_LOOK = 4  # rows that are compared before all are
_UNITS = 2.0  # half spacings by which values may differ that rounding makes equal


def recorded_hypotheses(
    scene: Scene, site: Site, prediction: Prediction, candidate: Case
) -> Iterator[Hypothesis]:
    """Records of the candidate that hold (nearly) the values of this one: `stale` for an earlier
    one's of the same kind, `swapped` for another module's.
    """
    own = scene.candidate.known.get(site.target)
    if own is None or len(candidate.rows) != len(np.unique(candidate.rows)):
        return  # rows of a norm by head are no rows of a record
    for other in _others(scene, site, own):
        unit = candidate.units.get("output", 0.0)
        if not _looks_alike(scene, own, other, candidate) or _is_copy(scene, site, other, unit):
            continue
        stale = kind_name(other.key).split(" ")[0] == kind_name(site.target).split(" ")[0]
        label = other.key.label + (f" of step {other.key.step}" if own.key.step else "")
        yield Hypothesis(
            "stale" if stale else "swapped", f"it holds the values of {label}",
            lambda other=other: _values(scene, other, candidate, prediction),
            "record", site.target.label, label,
        )  # fmt: skip


def _others(scene: Scene, site: Site, own: Quantity) -> Iterator[Quantity]:
    """Records that may have been returned instead, the likeliest first."""
    known, key = scene.candidate.known, site.target
    kind, layer = kind_name(key), layer_number(key.module)
    for step in range(key.step - 1, -1, -1):
        found = known.get(Key(key.module, key.slot, step, key.call))
        if found is not None:
            yield found
    beside = parent_of(key.module)
    later: list[Quantity] = []
    for other in known.values():
        if other.key == key or other.key.step != key.step or not other.is_float:
            continue
        if kind_name(other.key) == kind and layer is not None:
            later.append(other)
        elif parent_of(other.key.module) == beside and other.key.slot.startswith("output"):
            yield other
    yield from sorted(later, key=lambda q: abs((layer_number(q.key.module) or 0) - (layer or 0)))


def _looks_alike(scene: Scene, own: Quantity, other: Quantity, candidate: Case) -> bool:
    """Whether a few rows are equal up to rounding: nothing else is read of most records."""
    try:
        if scene.tables.shape(other)[-1:] != scene.tables.shape(own)[-1:]:
            return False
        if scene.tables.rows(other) != scene.tables.rows(own):
            return False
        take = np.unique(np.linspace(0, len(candidate.rows) - 1, _LOOK).astype(np.int64))
        values = scene.tables.read(other, candidate.rows[take])
    except (*UNREADABLE, IndexError):
        return False
    y = candidate.output[take]
    if values.shape != y.shape:
        return False
    if any(np.array_equal(values, part[take]) for part in candidate.inputs.values()
           if part.shape[1:] == y.shape[1:] and len(part) == len(candidate.rows)):  # fmt: skip
        return False  # what it was given itself: passed on, not taken from elsewhere
    left, size = np.square(values - y).sum(), np.square(y).sum()
    return bool(size > 0 and left <= 1e-3 * size)


def _is_copy(scene: Scene, site: Site, other: Quantity, unit: float) -> bool:
    """Whether the reference, too, has the same values in both places, up to what the candidate's
    rounding (`unit`) takes away: one is made of the other, or of the same (a token that is repeated
    in a model without positions).
    """
    ours, theirs = (scene.reference.known.get(key) for key in (site.target, other.key))
    if ours is None or theirs is None:
        return False
    try:
        count = scene.tables.rows(ours)
        rows = np.unique(np.linspace(0, count - 1, min(count, _LOOK)).astype(np.int64))
        left, right = (scene.tables.read(quantity, rows) for quantity in (ours, theirs))
    except (*UNREADABLE, IndexError):
        return False
    if left.shape != right.shape:
        return False
    apart, size = np.square(left - right).sum(), np.square(left).sum()
    return bool(apart <= (_UNITS * unit) ** 2 * size)


def _values(
    scene: Scene, other: Quantity, candidate: Case, prediction: Prediction
) -> Prediction | None:
    values = scene.tables.read(other, candidate.rows)
    return Prediction(values, prediction.spread) if values.shape == candidate.output.shape else None
