"""What can be wrong with a feed-forward network whose inside is not recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ..law import Case, Hypothesis, Prediction, Scene, Site, read_source
from ..names import number_words
from ..numerics.quantities import Key
from .activation import same
from .functions import FUNCTIONS
from .gated import Form
from .gated_layer import Layer, layer_of, predictions

_LAYER = re.compile(r"(?<=layers\.)\d+")
_NEIGHBOURS = (-1, 1)
_LIMIT = 7.0  # gpt-oss's
_COMMON = ("silu", "gelu", "gelu (tanh form)", "quick gelu", "relu", "no function")
_PLACES = ("up", "gate", "down")


def mlp_hypotheses(
    scene: Scene, site: Site, layer: Layer, form: Form, base: Prediction, case: Case
) -> Iterator[Hypothesis]:
    """Another function, swapped weights, parts left out, biases, other layers' weights."""
    if "active" not in case.inputs:
        yield from _functions(scene, layer, form, base, case)
    if layer.gate is not None:
        if "active" in case.inputs:
            swapped = _of_gate(scene, site, layer, form, case)
        elif "x" in case.inputs:
            up, gate, down = layer.biases
            turned = replace(layer, up=layer.gate, gate=layer.up, biases=(gate, up, down))
            swapped = partial(_predicted, turned, form, case, scene)
        else:
            inputs = {**case.inputs, "up": case.inputs["gate"], "gate": case.inputs["up"]}
            swapped = partial(_predicted, layer, form, replace(case, inputs=inputs), scene)
        text = "gate and up are swapped"
        if swapped is not None:
            yield Hypothesis("swapped", text, swapped, "gate", "gate", "up")
        yield from _parts(scene, layer, form, case)
    for place, bias in enumerate(layer.biases):
        if bias is not None:
            biases = tuple(None if i == place else b for i, b in enumerate(layer.biases))
            changed = replace(layer, biases=biases)
            yield Hypothesis(
                "bias", f"the bias of {_PLACES[place]} is not added",
                partial(_predicted, changed, form, case, scene), "bias", "added", "not added",
            )  # fmt: skip
    yield from _other_layers(scene, site, layer, form, case)


def _of_gate(
    scene: Scene, site: Site, layer: Layer, form: Form, case: Case
) -> Callable[[], Prediction] | None:
    """The product with the gate's output instead of up's."""
    key = Key(f"{site.module}.gate_proj", "output", site.target.step, site.target.call)
    count = scene.tables.rows(scene.candidate.known[site.target])
    found = read_source(scene, scene.candidate, (key,), case.rows, count)
    if found is None or found[0].shape != case.inputs["up"].shape:
        return None
    changed = replace(case, inputs={**case.inputs, "up": found[0]})
    return partial(_predicted, layer, form, changed, scene)


def _predicted(layer: Layer, form: Form, case: Case, scene: Scene) -> Prediction:
    return predictions(layer, form, [case], scene)[0]


def _functions(
    scene: Scene, layer: Layer, form: Form, base: Prediction, case: Case
) -> Iterator[Hypothesis]:
    """Other functions; those that cannot be told apart here are said together."""
    ours = form.function.words
    groups: list[tuple[Prediction, list[str]]] = [(base, [ours])]
    for function in FUNCTIONS:
        if function is form.function or function.words not in _COMMON:
            continue
        prediction = _predicted(layer, replace(form, function=function), case, scene)
        for other, names in groups:
            if same(other, prediction.value):
                names.append(function.words)
                break
        else:
            groups.append((prediction, [function.words]))
    ours = " or ".join(groups[0][1])
    for prediction, names in groups[1:]:
        theirs = " or ".join(names)
        yield Hypothesis(
            "activation", f"{theirs} where the reference has {ours}",
            lambda prediction=prediction: prediction, "function", ours, theirs,
            "these cannot be distinguished here" if len(names) > 1 else "",
        )  # fmt: skip


def _parts(scene: Scene, layer: Layer, form: Form, case: Case) -> Iterator[Hypothesis]:
    for changed, text, found in (
        (replace(form, gate=False), "the gate is left out: up is passed on", "up"),
        (replace(form, up=False), "up is left out: the activated gate is passed on", "gate"),
    ):
        yield Hypothesis(
            "activation", text, partial(_predicted, layer, changed, case, scene), "factors",
            "gate and up", found,
        )  # fmt: skip
    limit = _LIMIT if form.limit is None else None
    ours, theirs = ("none" if v is None else number_words(v) for v in (form.limit, limit))
    text = f"gate and up are limited to {theirs} where the reference has {ours}"
    yield Hypothesis(
        "clamp", text, partial(_predicted, layer, replace(form, limit=limit), case, scene), "limit",
        ours, theirs,
    )  # fmt: skip


def _other_layers(
    scene: Scene, site: Site, layer: Layer, form: Form, case: Case
) -> Iterator[Hypothesis]:
    number = _LAYER.search(site.module)
    if number is None:
        return
    for step in _NEIGHBOURS:
        if int(number[0]) + step < 0:
            continue
        module = _LAYER.sub(str(int(number[0]) + step), site.module, 1)
        other = layer_of(scene, module, layer.down is not None)
        if other is None or other.up.shape != layer.up.shape:
            continue
        if (other.gate is None) != (layer.gate is None):
            continue
        yield Hypothesis(
            "other-layer", f"the weights of {module} where the reference uses its own",
            partial(_predicted, other, form, case, scene), "weight", site.module, module,
        )  # fmt: skip
