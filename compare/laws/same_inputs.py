"""Causes without a law: what a layer's output is like where both sides have the same inputs.

Without its weights nothing says what a projection should give, but where its inputs agree, the
reference's own output does. The changes of an output that need no weights (a factor, a constant,
another order, a coarser grid, what another record holds) are tried on that, and one is a cause
where no more is left than the inputs' errors and rounding explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from ...capture.values import Array
from ..matching.names.canonical import parent_of
from ..measuring.bounded_sample import UNREADABLE
from ..model import Cause
from .arithmetic import OWN
from .causes import explained
from .elsewhere import recorded_hypotheses
from .evaluation import Evaluation
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site
from .names import kind_name
from .numerics.local_error import local_error
from .numerics.quantities import Key, Quantity
from .numerics.rounding import unit_of
from .numerics.sampling import most_rows, sample_rows
from .peers import Judged, usual_of

_LAW = "the reference's output"
_LIKE = 1e-3  # of the squares that may differ for a record to be looked at as a whole
_ROUNDINGS = 2.0  # units that an output may be off whatever its inputs are
# Channels of one row, which is read whole: logits have 262,144 and less. Without the limit a
# tensor of one axis and gigabytes would be read and copied some twenty times.
WIDEST = 1 << 18
_SAID_BY_SIZE = ("precision",)  # cannot be told from inherited errors of the same size


def causes_of_output(scene: Scene, key: Key, expected: float) -> tuple[Cause, ...]:
    """What makes the candidate's output of the reference's, the best first; nothing where no one
    change does. `expected` is the relative L2 that a clean run would have.
    """
    try:
        cases = _cases(scene, key)
        if cases is None:
            return ()
        with np.errstate(all="ignore"):
            return _causes(scene, key, expected, *cases)
    except UNREADABLE:
        return ()


def _cases(scene: Scene, key: Key) -> tuple[Case, Case] | None:
    left, right = (side.known.get(key) for side in scene.sides)
    if left is None or right is None or not (left.is_float and right.is_float):
        return None
    count = scene.tables.rows(left)
    if count == 0 or scene.tables.shape(left) != scene.tables.shape(right):
        return None
    width = (scene.tables.shape(left) or (1,))[-1]
    if width > WIDEST:
        return None
    peak = scene.peaks.get(right.row)
    most = most_rows(width)
    rows = sample_rows(count, [] if peak is None else [peak], most)
    one, two = (_case(scene, quantity, rows) for quantity in (left, right))
    return one, two


def _case(scene: Scene, quantity: Quantity, rows: Array) -> Case:
    output = scene.tables.read(quantity, rows)
    units = {"output": unit_of(output, quantity.dtype)}
    return Case(quantity.side, output, rows, {}, units)


def _causes(
    scene: Scene, key: Key, expected: float, reference: Case, candidate: Case
) -> tuple[Cause, ...]:
    site = Site(_LAW, key.module, key, kind_name(key))
    base = _like(reference.output, expected, candidate)
    if not np.isfinite(base.value).all():
        return ()
    evaluation = Evaluation(
        site, Fit({}), local_error(reference, base), local_error(candidate, base),
        reference.units["output"], candidate.units["output"], scene.candidate.known[key].row,
        scene.tables.rows(scene.candidate.known[key]), len(candidate.rows),
    )  # fmt: skip
    usual = usual_of([], 1.0, candidate.units["output"], 1.0)
    judged = Judged(evaluation, True, usual, usual, OWN, OWN)
    tried = chain(
        recorded_hypotheses(scene, site, base, candidate),
        _of_the_reference(scene, site, expected, candidate),
        output_hypotheses(base, candidate),
    )
    kept = (one for one in tried if one.name not in _SAID_BY_SIZE)
    return explained(judged, kept, candidate, base)


def _like(value: Array, expected: float, candidate: Case) -> Prediction:
    """A table of the reference as a prediction: errors of inputs are as large as the channels, and
    the rows, are, those of rounding as the values.
    """
    squares = np.square(value)
    sizes = squares.mean(1, keepdims=True) * squares.mean(0) / max(float(squares.mean()), 1e-300)
    rounding = np.square(_ROUNDINGS * candidate.units["output"] * value)
    least = np.square(candidate.units["output"]) * squares.mean(1, keepdims=True)
    return Prediction(value, np.sqrt(np.square(expected) * sizes + rounding + least))


def _of_the_reference(
    scene: Scene, site: Site, expected: float, candidate: Case
) -> Iterator[Hypothesis]:
    """What a module beside this one gives in the reference: its weights were taken."""
    own = scene.reference.known[site.target]
    shape = scene.tables.shape(own)
    for key, other in scene.reference.known.items():
        beside = parent_of(key.module) == parent_of(site.module) and key.module != site.module
        if not beside or key.slot != site.target.slot or (key.step, key.call) != (
            site.target.step, site.target.call
        ) or not other.is_float or scene.tables.shape(other) != shape:  # fmt: skip
            continue
        values = scene.tables.read(other, candidate.rows)
        left = float(np.square(values - candidate.output).sum())
        if left > max(_LIKE, 4 * expected**2) * float(np.square(values).sum()):
            continue
        yield Hypothesis(
            "swapped", f"its output is that of {key.module} in the reference",
            lambda values=values: _like(values, expected, candidate),
            "output", site.module, key.module,
        )  # fmt: skip
