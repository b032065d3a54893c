"""The experts of a mixture: y is the sum over the chosen experts e of p_e down_e(f(gate_e(x)) *
up_e(x)), with the weights of the checkpoint.

Which experts are chosen and what they count is taken from the records of the same side, else worked
out from the router's logits. A few rows are looked at, since nearly every row has experts of its
own; each expert's weights are read once for both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...weights.fused_weights import EXPERT_PARTS, text_config
from ...weights.parameters import SideParameters, Weight
from ..feed_forward.functions import Function, function_named, likely_function
from ..feed_forward.gated import Form, config_form
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_source
from ..linear.operands import Operand, multiplied
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import ROUNDED, Jitter, spread_of, unit_of
from .expert_form import COUNTED, Mixture
from .experts_causes import experts_hypotheses
from .routing import Rule, chosen_of, routers, rules, scattered

_MOST_ROWS = 16  # tokens: with 8 of 128 experts each they already have most experts
_DRAWS = 2
_USUAL = ("silu", "gelu", "gelu (tanh form)", "relu")


class ExpertsLaw:
    """The law of experts."""

    name = "experts"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if not isinstance(scene.parameters, SideParameters):
            return
        for places in routers(scene):
            if scene.parameters.expert(places.experts, 0, "up_proj") is None:
                continue
            target = _target(scene, places.experts, places.logits)
            x = _input(scene, places.experts, places.logits)
            if target is None or x is None:
                continue
            inputs = [("x", (x,)), ("logits", (places.logits,))]
            if places.chosen is not None and places.weights is not None:
                inputs += [("chosen", (places.chosen,)), ("weights", (places.weights,))]
            yield Site(self.name, places.experts, target, kind_name(target), tuple(inputs))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        if len(rows) > _MOST_ROWS:
            rows = rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(int)]
        target = side.known[site.target]
        count = scene.tables.rows(target)
        inputs: dict[str, Array] = {}
        units: dict[str, float] = {}
        for name in ("x", "logits", "weights"):
            source = site.source(name)
            found = read_source(scene, side, source, rows, count) if source else None
            if found is not None:
                inputs[name], units[name], _ = found
        if "x" not in inputs or "logits" not in inputs:
            return None
        output = scene.tables.read(target, rows)
        units["output"] = unit_of(output, target.dtype)
        more: dict[str, Array] = {}
        if "weights" in inputs:
            (key,) = site.source("chosen")
            chosen = side.known.get(key)
            if chosen is None or scene.tables.rows(chosen) != count:
                return None
            numbers = scene.tables.read(chosen, rows).astype(np.int64)
            dense = scattered(numbers, inputs.pop("weights"), inputs["logits"].shape[1])
            if dense is None:
                return None
            more["dense"] = dense
        return Case(side.side, output, rows, inputs, units, more=more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        likely = likely_function(scene.reference.classes.get(f"{site.module}.act_fn"), scene.config)
        functions = [likely] if likely is not None else []
        functions += [function_named(name) for name in _USUAL]
        form = _form(scene)
        known: list[Rule | None] = [None]
        if "dense" not in reference.more:
            count = _count(scene)
            if count is None:
                return
            known = list(rules(scene, _router(site), count))
        for function in dict.fromkeys(f.words for f in functions):
            for rule in known:
                own = replace(form, function=_named(form, function))
                words = {"function": own.function.words, "weight": "checkpoint"}
                yield Fit({"mixture": Mixture(site.module, own, rule)}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return list(predictions(scene, fit.values["mixture"], cases))

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        mixture: Mixture = fit.values["mixture"]
        for name, text, parameter, ours, theirs, changed in experts_hypotheses(mixture, candidate):
            yield Hypothesis(
                name, text, partial(_one, scene, changed, candidate), parameter, ours, theirs
            )
        base = _one(scene, mixture, candidate)
        if base is not None:
            yield from output_hypotheses(base, candidate)


def _one(scene: Scene, mixture: Mixture, case: Case) -> Prediction | None:
    return predictions(scene, mixture, [case])[0]


def predictions(scene: Scene, mixture: Mixture, cases: Sequence[Case]) -> list[Prediction | None]:
    """What the experts give for each case's input, expert by expert."""
    counts = [_counts(mixture, case) for case in cases]
    values = [np.zeros(case.output.shape) for case in cases]
    squares = [np.zeros(case.output.shape) for case in cases]
    for number in np.flatnonzero(sum((np.abs(c).sum(0) for c in counts), np.zeros(1))):
        at = [np.flatnonzero(c[:, number]) for c in counts]
        used = [i for i, rows in enumerate(at) if len(rows)]
        parts = [(cases[i], at[i]) for i in used]
        outputs = _expert(scene, mixture, int(number), parts)
        if outputs is None:
            return [None] * len(cases)
        for i, out in zip(used, outputs, strict=True):
            share = counts[i][at[i], number][:, None]
            unit = ROUNDED * cases[i].units["output"]
            values[i][at[i]] += share * out.value
            squares[i][at[i]] += np.square(share * out.spread)
            # The product with the score is rounded, and the sum after every expert.
            squares[i][at[i]] += np.square(unit * share * out.value)
            squares[i][at[i]] += np.square(unit * values[i][at[i]])
    return [Prediction(v, np.sqrt(s)) for v, s in zip(values, squares, strict=True)]


def _counts(mixture: Mixture, case: Case) -> Array:
    """`[rows, experts]`: what each expert counts."""
    if mixture.rule is not None:
        logits = case.inputs["logits"]
        chosen = chosen_of(mixture.rule, logits, case.units["logits"], None)
        dense = mixture.rule.weighed(logits, chosen)
    else:
        dense = case.more["dense"]
    dense = np.roll(dense, mixture.shift, 1)
    _, one, normalised, best = COUNTED
    if mixture.count_as == one:
        return (dense != 0).astype(np.float64)
    if mixture.count_as == normalised:
        return dense / np.maximum(dense.sum(1, keepdims=True), 1e-20)
    if mixture.count_as == best:
        return np.where(dense == dense.max(1, keepdims=True), dense, 0.0)
    return dense


def _expert(
    scene: Scene, mixture: Mixture, number: int, parts: Sequence[tuple[Case, Array]]
) -> list[Prediction] | None:
    """One expert's output for rows of several cases."""
    weights = {name: _weight(scene, mixture.experts, number, name) for name in EXPERT_PARTS}
    gate, up, down = (weights[name] for name in EXPERT_PARTS)
    if gate is None or up is None or down is None:
        return None
    biases = _biases(scene, mixture.experts, number)
    operands = [Operand(case.inputs["x"][rows], case.units["output"]) for case, rows in parts]
    if any(gate.shape != up.shape or o.x.shape[1] != up.shape[1] for o in operands):
        return None
    gates = multiplied(gate, biases.get("gate_proj"), operands, scene)
    ups = multiplied(up, biases.get("up_proj"), operands, scene)
    if mixture.swapped:
        gates, ups = ups, gates
    hidden = [
        _hidden(mixture.form, g, u, case.units["output"])
        for g, u, (case, _) in zip(gates, ups, parts, strict=True)
    ]
    inner = [
        Operand(h.value, case.units["output"], np.square(h.spread))
        for h, (case, _) in zip(hidden, parts, strict=True)
    ]
    return multiplied(down, biases.get("down_proj"), inner, scene)


def _hidden(form: Form, gate: Prediction, up: Prediction, unit: float) -> Prediction:
    units = {"gate": 0.0, "up": 0.0, "output": unit}
    value = form.apply(gate.value, up.value, Jitter(None), units)
    moved: list[Array] = []
    for seed in range(_DRAWS):
        random = np.random.default_rng(1000 + seed)
        first, second = (
            p.value + p.spread * random.standard_normal(p.value.shape, np.float32)
            for p in (gate, up)
        )
        moved.append(form.apply(first, second, Jitter(seed), units))
    return Prediction(value, spread_of(value, moved, unit))


def _weight(scene: Scene, experts: str, number: int, part: str) -> Weight | None:
    parameters = scene.parameters
    if not isinstance(parameters, SideParameters):
        return None
    return parameters.expert(experts, number, part)


def _biases(scene: Scene, experts: str, number: int) -> Mapping[str, Array]:
    """The biases of an expert where they are stacked as gpt-oss has them, gate and up in turns."""
    parameters = scene.parameters
    if not isinstance(parameters, SideParameters):
        return {}
    both = parameters.find(experts, "gate_up_proj_bias")
    last = parameters.find(experts, "down_proj_bias")
    if both is None or last is None or len(both.locator.shape) != 2:
        return {}
    joined = Weight(both).take([number])[0].astype(np.float64)
    down = Weight(last).take([number])[0].astype(np.float64)
    return {"gate_proj": joined[::2], "up_proj": joined[1::2], "down_proj": down}


def _form(scene: Scene) -> Form:
    """The config's form: gpt-oss's has limits, quick GELU and one added to up."""
    form = config_form(scene)
    if form.limit is not None:
        return replace(form, function=function_named("quick gelu"))
    return form


def _named(form: Form, function: str) -> Function:
    return form.function if form.limit is not None else function_named(function)


def _both(scene: Scene, key: Key) -> bool:
    return all(key in side.known and side.known[key].is_float for side in scene.sides)


def _target(scene: Scene, experts: str, logits: Key) -> Key | None:
    """What the experts return; where only their parent's output is recorded, that, unless shared
    experts are added to it.
    """
    own = Key(experts, "output", logits.step, logits.call)
    if _both(scene, own):
        return own
    parent = parent_of(experts)
    names = {child.rpartition(".")[2] for child in scene.reference.children.get(parent, ())}
    whole = Key(parent, "output", logits.step, logits.call)
    shared = any(name.startswith("shared") for name in names)
    return whole if _both(scene, whole) and not shared else None


def _input(scene: Scene, experts: str, logits: Key) -> Key | None:
    for module in (experts, parent_of(experts)):
        found = scene.reference.main_input(module, logits.step, logits.call)
        if found is not None and _both(scene, found.key):
            return found.key
    return None


def _count(scene: Scene) -> int | None:
    """How many experts per token has, by the config."""
    config = text_config(scene.config)
    for name in ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k"):
        value = config.get(name)
        if type(value) is int and value > 0:
            return value
    return None


def _router(site: Site) -> str:
    (key,) = site.source("logits")
    return key.module
