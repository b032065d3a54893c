"""What can be wrong with the weights of a projection: one change at a time, the cheap ones first.

`PLAIN` and `SEARCHED` list where changes come from. Of a joined projection (q, k and v, gate and
up) of which one part is wrong, the changes are those of the part. What is like rounding without
being any known one is said last, and only where nothing else explains the error: the size of an
error is no evidence, since whatever has no name is as large as some rounding is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, cached_property, partial
from itertools import chain
from math import inf

import numpy as np

from ...weights.fused_weights import text_config
from ..generic import output_hypotheses
from ..law import Hypothesis, Prediction
from .bench import Bench, heads_of
from .bias import biases
from .factors import column_factors
from .low_rank import low_rank
from .noise import GROWS, noise_of, rounding_noise
from .orders import (
    any_columns,
    any_rows_but_bias,
    column_groups,
    known_columns,
    known_rows,
    parts_of,
    row_parts,
)
from .other_weights import no_weight, other_layers, same_layer, transposed
from .precision import precision
from .quantised import quantised

Family = Callable[[Bench], Iterator[Hypothesis]]

# Every change of weights that is tried: those that are looked up, and those that are searched for,
# which takes long and is done only where nothing simple explains the error.
PLAIN: tuple[Family, ...] = (
    biases, no_weight, known_rows, row_parts, known_columns, same_layer, other_layers, transposed,
    any_rows_but_bias, column_groups, precision,
)  # fmt: skip
SEARCHED: tuple[Family, ...] = (quantised, column_factors, any_columns, low_rank)
FAMILIES = PLAIN + SEARCHED
_SIMPLE = 2  # numbers fitted to the candidate, at most, by what is simple
_EXPLAINED = 0.15  # of the error: what leaves less is better than any talk of noise
_USUAL = 1.5  # times the usual error: what leaves less explains it, too
# Times the squared error of small outputs that large ones have at most in narrow sums (5.6 was
# seen); where every output has an error in proportion to itself, it is 15 and more.
_GROWS_MOST = 8.0
_WRONG = 3.0  # times the error of the part that fits best, from which a part is wrong


def weight_hypotheses(bench: Bench) -> Iterator[Hypothesis]:
    """Changes of the weight, then those that any output can have, then mere noise."""
    best = Best(bench)
    parts = list(_wrong_parts(bench))
    yield from best.of(h for family in PLAIN for h in family(bench))
    outputs = list(best.of(output_hypotheses(bench.base, bench.case, bench.heads)))
    if not best.explains_simply:
        yield from best.of(h for family in SEARCHED for h in family(bench))
    yield from outputs
    for part in parts:
        yield from best.of(_embedded(bench, part))
    if not best.explains and _rounds(bench):
        yield from rounding_noise(bench)


def _rounds(bench: Bench) -> bool:
    """Whether there is evidence that noise is rounding: the candidate's weights are said to be
    quantised, or errors grow with the outputs as those of narrow sums do.
    """
    config = bench.scene.candidate_config
    if {**config, **text_config(config)}.get("quantization_config") is not None:
        return True
    noise = noise_of(bench.probe, bench.noise)
    return noise is not None and noise.of == "sums" and GROWS <= noise.growth <= _GROWS_MOST


class Best:
    """Passes hypotheses on and keeps the least error that one of them leaves."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._left = self._left_simply = inf

    @property
    def explains(self) -> bool:
        """Whether one leaves next to nothing, or what is usual."""
        return self._left <= max(_EXPLAINED * self._before, self._usual)

    @property
    def explains_simply(self) -> bool:
        """Whether one with hardly a number fitted to the candidate leaves what is usual."""
        return self._left_simply <= self._usual

    @cached_property
    def _before(self) -> float:
        return self._bench.error_of(self._bench.base)

    @property
    def _usual(self) -> float:
        return min(0.5 * self._before, _USUAL * self._bench.noise**0.5)

    def of(self, hypotheses: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
        """The same hypotheses; each is worked out once, whoever asks."""
        for hypothesis in hypotheses:
            predict = cache(hypothesis.predict)
            yield replace(hypothesis, predict=predict)
            prediction = predict()
            if prediction is None:
                continue
            left = self._bench.error_of(prediction)
            self._left = min(self._left, left)
            if hypothesis.fitted <= _SIMPLE:
                self._left_simply = min(self._left_simply, left)


def _wrong_parts(bench: Bench) -> Iterator[Bench]:
    """Of a joined projection the parts that are wrong, where others are right."""
    parts = parts_of(bench)
    squares = np.square(np.maximum(bench.spread, 1e-300))
    r = np.where(np.isfinite(bench.case.output), bench.case.output - bench.base.value, 0.0)
    ratios = [
        float(np.sqrt(np.square(r[:, span]).sum() / squares[:, span].sum())) for _, span in parts
    ]
    for (module, span), ratio in zip(parts, ratios, strict=True):
        if ratio > _WRONG * min(ratios):
            yield _part(bench, module, span)


def _part(bench: Bench, module: str, span: slice) -> Bench:
    assert bench.scene.parameters is not None
    weight = bench.scene.parameters.weight(module)
    assert weight is not None
    return replace(
        bench, key=replace(bench.key, module=module), weight=weight,
        bias=None if bench.bias is None else bench.bias[span],
        case=replace(bench.case, output=bench.case.output[:, span]),
        base=Prediction(bench.base.value[:, span], bench.spread[:, span]),
        heads=heads_of(bench.scene, module), where=f" of {module.rpartition('.')[2]}", span=span,
    )  # fmt: skip


def _embedded(whole: Bench, part: Bench) -> Iterator[Hypothesis]:
    """The changes of a part as changes of the whole."""
    found = chain.from_iterable(family(part) for family in FAMILIES)
    for hypothesis in chain(found, output_hypotheses(part.base, part.case, part.heads)):
        yield replace(hypothesis, predict=partial(_in_whole, whole, part, hypothesis))


def _in_whole(whole: Bench, part: Bench, hypothesis: Hypothesis) -> Prediction | None:
    prediction = hypothesis.predict()
    if prediction is None:
        return None
    value, spread = whole.base.value.copy(), whole.spread.copy()
    value[:, part.span] = prediction.value
    spread[:, part.span] = np.broadcast_to(prediction.spread, prediction.value.shape)
    return Prediction(value, spread)
