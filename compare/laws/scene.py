"""The scene that laws look at, made of aligned rows, both captures and the checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...capture.records import Capture
from ...capture.weights import Weights
from ..matching.names.canonical import NameRules
from ..model import Measurement, Result, Row
from ..rules.rules import Rules
from ..weights.parameters import SideParameters, facts_of_rows
from .law import Scene
from .numerics.quantities import Tables, side_quantities


def make_scene(
    rows: Sequence[Row], reference: Capture, candidate: Capture,
    weights: Weights | None = None, candidate_weights: Weights | None = None,
    rules: Rules | None = None, results: Sequence[Result] = (),
    cancelled: Callable[[], bool] | None = None,
) -> Scene:  # fmt: skip
    """`results` are the measurements by row: the row with the greatest difference of each is always
    among those that laws look at.
    """
    rules = rules or Rules()
    facts = facts_of_rows(rows, reference, candidate, rules)

    def parameters(of: Weights | None, names: NameRules) -> SideParameters | None:
        return None if of is None else SideParameters(of, facts, names, rules.fused)

    return Scene(
        side_quantities("reference", rows, reference.records),
        side_quantities("candidate", rows, candidate.records),
        Tables(),
        parameters(weights, rules.reference),
        {} if weights is None else weights.config,
        parameters(candidate_weights, rules.candidate),
        {} if candidate_weights is None else candidate_weights.config,
        peak_rows(results),
        cancelled,
    )  # fmt: skip


def peak_rows(results: Sequence[Result]) -> Mapping[int, int]:
    """For each measured pair the flat row that has the greatest difference."""
    found: dict[int, int] = {}
    for index, result in enumerate(results):
        if not isinstance(result, Measurement) or result.max_abs_index is None:
            continue
        row = 0
        for size, at in zip(result.shape[:-1], result.max_abs_index[:-1], strict=False):
            row = row * size + at
        found[index] = row
    return found
