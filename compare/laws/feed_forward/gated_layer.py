"""What a feed-forward network gives, worked out from its weights, and the network as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ...weights.parameters import Weight
from ..law import Case, Prediction, Scene
from ..linear.operands import Operand, multiplied
from ..numerics.rounding import STILL, Jitter, spread_of
from .functions import Function
from .gated import Form

_DRAWS = 2


@dataclass(frozen=True)
class Layer:
    """The weights of a feed-forward network, `gate` None where there is none, `down` None where
    only its input is looked at; `[out, in]` and `[out]`.
    """

    up: Weight
    gate: Weight | None = None
    down: Weight | None = None
    biases: tuple[Array | None, Array | None, Array | None] = (None, None, None)  # up, gate, down


def predictions(layer: Layer, form: Form, cases: Sequence[Case], scene: Scene) -> list[Prediction]:
    """What the network gives for each case's input; each weight is read once for all of them."""
    hidden = [
        _hidden(form, up, gate, case)
        for (up, gate), case in zip(_before(layer, cases, scene), cases, strict=True)
    ]
    if layer.down is None:
        return hidden
    operands = [
        Operand(h.value, c.units["output"], np.square(h.spread))
        for h, c in zip(hidden, cases, strict=True)
    ]
    return multiplied(layer.down, layer.biases[2], operands, scene)


def _before(
    layer: Layer, cases: Sequence[Case], scene: Scene
) -> list[tuple[Prediction, Prediction | None]]:
    """What up and gate gave: recorded, or worked out and kept with the case."""
    without = [bias is None for bias in layer.biases]
    key = f"before {layer.up!r} {layer.gate!r} {without}"
    todo = [case for case in cases if key not in case.more and "x" in case.inputs]
    ups: list[Prediction] = []
    gates: list[Prediction] = []
    if todo:
        operands = [Operand(case.inputs["x"], case.units["output"]) for case in todo]
        ups = multiplied(layer.up, layer.biases[0], operands, scene)
        if layer.gate is not None:
            gates = multiplied(layer.gate, layer.biases[1], operands, scene)
    for number, case in enumerate(todo):
        _keep(case, key, (ups[number], gates[number] if gates else None))
    return [case.more[key] if key in case.more else _recorded(case) for case in cases]


def _keep(case: Case, key: str, value: Any) -> None:
    """Kept with the case, so that several functions are tried on one reading of the weights."""
    more = case.more
    assert isinstance(more, dict)
    more[key] = value


def _recorded(case: Case) -> tuple[Prediction, Prediction | None]:
    factors = [
        Prediction(case.inputs[name], np.zeros((1, 1)))
        for name in ("up", "gate", "active") if name in case.inputs
    ]  # fmt: skip
    return factors[0], factors[1] if len(factors) > 1 else None


@dataclass(frozen=True)
class _Drawn:
    """Evaluates a function on a case's gate and up, for `Tries`."""

    form: Form
    up: Prediction
    gate: Prediction | None
    case: Case

    def __call__(self, function: Function, jitter: Jitter) -> Array:
        return _combined(replace(self.form, function=function), self.up, self.gate, self.case,
                         jitter, None if jitter.still else 0)  # fmt: skip


def _hidden(form: Form, up: Prediction, gate: Prediction | None, case: Case) -> Prediction:
    value = _combined(form, up, gate, case, STILL, None)
    moved = [_combined(form, up, gate, case, Jitter(seed), seed) for seed in range(_DRAWS)]
    return Prediction(value, spread_of(value, moved, case.units["output"]))


def _combined(
    form: Form, up: Prediction, gate: Prediction | None, case: Case, jitter: Jitter,
    seed: int | None,
) -> Array:  # fmt: skip
    unit = case.units["output"]
    random = None if seed is None else np.random.default_rng(1000 + seed)

    def moved(one: Prediction) -> Array:
        if random is None:
            return one.value
        return one.value + one.spread * random.standard_normal(one.value.shape, np.float32)

    if gate is None:
        return form.function.of(moved(up), lambda v: jitter(v, unit))
    units = {"gate": 0.0, "up": 0.0, "output": unit}
    return form.apply(moved(gate), moved(up), jitter, units)


def layer_of(scene: Scene, module: str, whole: bool) -> Layer | None:
    """The checkpoint's weights of a feed-forward network."""
    parameters = scene.parameters
    if parameters is None:
        return None
    up = parameters.weight(f"{module}.up_proj")
    down = parameters.weight(f"{module}.down_proj") if whole else None
    if up is None or (whole and down is None):
        return None

    def bias(name: str) -> Array | None:
        found = parameters.weight(f"{module}.{name}", "bias")
        return None if found is None else found.read().astype(np.float64)

    gate = parameters.weight(f"{module}.gate_proj")
    last = bias("down_proj") if whole else None
    return Layer(up, gate, down, (bias("up_proj"), bias("gate_proj"), last))
