"""The feed-forward network as a whole, where what is inside is not recorded: down(f(gate(x)) *
up(x)), or down(f(up(x))), up to the input of the last projection or to its output. Weights are the
checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from .activation import Tries, likely_of
from .causes import mlp_hypotheses
from .functions import Function, function_named, likely_function
from .gated import Form, config_form
from .gated_layer import _before, _Drawn, layer_of, predictions

if TYPE_CHECKING:
    from .gated_layer import Layer


_INSIDE = ("gate_proj", "up_proj", "gate_up_proj")


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
            functions: Iterable[Function] = [function_named(n) for n in ("silu", "gelu", "relu")]
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
