"""The feed-forward network as a whole, where what is inside is not recorded: down(f(gate(x)) *
up(x)), or down(f(up(x))), up to the input of the last projection or to its output. Weights are the
checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ...matching.canonical import parent_of
from ...weights.parameters import Weight
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from ..linear.operands import Operand, multiplied
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import STILL, Jitter, spread_of
from .activation import Tries, likely_of
from .causes import mlp_hypotheses
from .functions import Function, function_named, likely_function
from .gated import Form, config_form

_DRAWS = 2
_INSIDE = ("gate_proj", "up_proj", "gate_up_proj")


@dataclass(frozen=True)
class Layer:
    """The weights of a feed-forward network, `gate` None where there is none, `down` None where
    only its input is looked at; `[out, in]` and `[out]`.
    """

    up: Weight
    gate: Weight | None = None
    down: Weight | None = None
    biases: tuple[Array | None, Array | None, Array | None] = (None, None, None)  # up, gate, down


class GatedMlpLaw:
    """The law of feed-forward networks whose inside is not recorded."""

    name = "gated-mlp"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for module, step, call in list(scene.reference.calls):
            if scene.parameters.weight(f"{module}.up_proj") is None:
                continue
            target = _target(scene, module, step, call)
            if target is None:
                continue
            for inputs in _inputs(scene, module, target):
                yield Site(self.name, module, target, kind_name(target), inputs)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        return read_case(scene, site, side, rows, [name for name, _ in site.inputs])

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        layer = layer_of(scene, site.module, site.target.slot == "output")
        if layer is None or not _fits(layer, reference):
            return
        form = config_form(scene)
        if site.source("active"):
            yield _fit(layer, form)
            return
        likely = likely_of(scene, site) or likely_function(None, scene.config)
        if likely is not None:
            yield _fit(layer, replace(form, function=likely))
        up, gate = _before(layer, [reference], scene)[0]
        if layer.down is not None:
            functions: Sequence[Function] = [function_named(n) for n in ("silu", "gelu", "relu")]
        else:
            tries = Tries(reference, _Drawn(form, up, gate, reference))
            functions = tries.in_order(None)
        for function in functions:
            if function is not likely:
                yield _fit(layer, replace(form, function=function))

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return list(predictions(fit.values["layer"], fit.values["form"], cases, scene))

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        layer, form = fit.values["layer"], fit.values["form"]
        (base,) = predictions(layer, form, [candidate], scene)
        yield from mlp_hypotheses(scene, site, layer, form, base, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


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


def _fits(layer: Layer, case: Case) -> bool:
    """Whether the shapes of weights and records go together."""
    if "x" in case.inputs:
        if any(len(w.shape) != 2 for w in (layer.up, layer.gate, layer.down) if w is not None):
            return False
        inside = layer.up.shape[0]
        if layer.up.shape[1] != case.inputs["x"].shape[1]:
            return False
        if layer.gate is not None and layer.gate.shape != layer.up.shape:
            return False
    else:
        inside = next(iter(case.inputs.values())).shape[1]
    expected = inside if layer.down is None else layer.down.shape[0]
    return case.output.shape[1] == expected and (
        layer.down is None or layer.down.shape[1] == inside
    )


def _fit(layer: Layer, form: Form) -> Fit:
    words = {"function": form.function.words, "weight": "checkpoint"}
    return Fit({"layer": layer, "form": form}, words, read=True)


def _both(scene: Scene, key: Key) -> bool:
    return all(key in side.known and side.known[key].is_float for side in scene.sides)


def _target(scene: Scene, module: str, step: int, call: int) -> Key | None:
    """What can be predicted: the input of the last projection, unless that is looked at piece by
    piece, else the output.
    """
    inside = Key(f"{module}.down_proj", "input_0", step, call)
    if _both(scene, inside):
        outputs = [_both(scene, Key(f"{module}.{n}", "output", step, call)) for n in _INSIDE]
        gated = scene.parameters is not None and scene.parameters.weight(f"{module}.gate_proj")
        shown = outputs[2] or (outputs[1] and (outputs[0] or not gated or _shown(scene, module)))
        return None if shown else inside
    for name in (f"{module}.down_proj", module):
        found = Key(name, "output", step, call)
        if _both(scene, found):
            return found
    return None


def _shown(scene: Scene, module: str) -> bool:
    """Whether an activation function has an output of its own on both sides."""
    return any(
        scene.reference.role(child) == "activation" and _both(scene, Key(child, "output"))
        for child in scene.reference.children.get(module, ())
    )


def _inputs(
    scene: Scene, module: str, target: Key
) -> Iterator[tuple[tuple[str, tuple[Key, ...]], ...]]:
    """What it can be worked out from: the outputs of the first projections, else their input."""
    step, call = target.step, target.call
    up, gate = (Key(f"{module}.{n}_proj", "output", step, call) for n in ("up", "gate"))
    gated = scene.parameters is not None and scene.parameters.weight(f"{module}.gate_proj")
    below = scene.reference.children.get(module, ())
    active = [
        Key(c, "output", step, call) for c in below if scene.reference.role(c) == "activation"
    ]
    active = [key for key in active if _both(scene, key)]
    if active and (not gated or _both(scene, up)):
        yield (*((("up", (up,)),) if gated else ()), ("active", (active[0],)))
        return
    if _both(scene, up) and (not gated or _both(scene, gate)):
        yield (("up", (up,)), *((("gate", (gate,)),) if gated else ()))
        return
    first = Key(f"{module}.{'gate' if gated else 'up'}_proj", "output", step, call)
    for source in _sources(scene, module, first):
        yield (("x", source),)


def _sources(scene: Scene, module: str, first: Key) -> Iterator[Source]:
    """What the network was given: as its first projection or itself records it, else the norm in
    front of it.
    """
    side = scene.reference
    own = side.main_input(first.module, first.step, first.call)
    own = own or side.main_input(module, first.step, first.call)
    if own is not None and own.key in scene.candidate.known:
        yield (own.key,)
        return
    layer = parent_of(module)
    for name in ("pre_feedforward_layernorm", "post_attention_layernorm"):
        before = Key(f"{layer}.{name}", "output", first.step)
        if all(before in side.known for side in scene.sides):
            yield (before,)
