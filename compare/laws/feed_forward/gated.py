"""Gated units: y = f(gate) * up (Shazeer, GLU variants improve transformer, 2020), also as
gpt-oss has it, with gate and up limited and one added to up.

Where the function's own output is recorded, the product alone is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...weights.fused_weights import text_config
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case, read_source
from ..names import kind_name, number_words
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import STILL, Jitter, spread_of, worked_on
from .activation import Tries, likely_of
from .functions import Function, function_named

Layout = Literal["halves", "up first", "in turns"]
_LAYOUTS: tuple[Layout, ...] = ("halves", "up first", "in turns")
_DRAWS = 2
_LIMITS = (7.0,)  # of gpt-oss
_NONE = function_named("no function")


@dataclass(frozen=True)
class Form:
    """`function` is applied to the gate; `limit` bounds the gate from above and up on both sides;
    `added` is added to up.
    """

    function: Function
    limit: float | None = None
    added: float = 0.0
    gate: bool = True  # False: the gate is left out
    up: bool = True

    def apply(self, gate: Array, up: Array, jitter: Jitter, units: Mapping[str, float]) -> Array:
        """The unit's output; jittered as rounding of the inputs and the intermediates would."""
        unit = units["output"]
        if not jitter.still:
            gate, up = (worked_on(v, units["gate"], units["up"], unit) for v in (gate, up))
        gate, up = jitter(gate, units["gate"]), jitter(up, units["up"])
        if self.limit is not None:
            gate, up = np.minimum(gate, self.limit), np.clip(up, -self.limit, self.limit)
        active = self.function.of(gate, lambda v: jitter(v, unit))
        if self.added:
            up = jitter(up + self.added, unit)
        if not self.gate:
            return up
        return jitter(active, unit) * up if self.up else active


class GatedLaw:
    """The law of gated units."""

    name = "gated"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if key not in scene.candidate.known:
                continue
            for module, inputs in _places(scene, key):
                sources = tuple((name, (source,)) for name, source in inputs)
                yield Site(self.name, module, key, kind_name(key), sources)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, [name for name, _ in site.inputs])
        if case is None:
            return None
        width = case.output.shape[1]
        expected = {"joined": 2 * width}
        if any(v.shape[1] != expected.get(name, width) for name, v in case.inputs.items()):
            return None
        return case

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        active = bool(site.source("active"))
        if active and np.array_equal(reference.inputs["active"], reference.output):
            return  # nothing is multiplied with
        likely = likely_of(scene, site)
        form = config_form(scene)
        for layout in _LAYOUTS if site.source("joined") else _LAYOUTS[:1]:
            tries = Tries(reference, partial(_drawn, form, layout, reference))
            functions = iter((_NONE,)) if active else tries.in_order(likely)
            for function in islice(functions, 2):
                chosen = replace(form, function=function)
                words = "recorded" if active else tries.words(function)
                yield Fit({"form": chosen, "layout": layout}, {"function": words})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["form"], fit.values["layout"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        form: Form = fit.values["form"]
        layout: Layout = fit.values["layout"]
        if site.source("active"):
            yield from _other_factors(scene, site, candidate)
        else:
            tries = Tries(candidate, partial(_drawn, form, layout, candidate))
            yield from tries.hypotheses(form.function, fit.words["function"])
            yield _swapped(form, layout, candidate)
        yield from _parts_left_out(form, layout, candidate)
        yield from _limits(form, layout, candidate)
        yield from output_hypotheses(predicted(form, layout, candidate), candidate, site.groups)


def predicted(form: Form, layout: Layout, case: Case) -> Prediction:
    """What a gated unit gives for the case's inputs."""
    gate, up, units = operands(case, layout)
    return _prediction(form, gate, up, units)


def _prediction(form: Form, gate: Array, up: Array, units: Mapping[str, float]) -> Prediction:
    value = form.apply(gate, up, STILL, units)
    moved = [form.apply(gate, up, Jitter(seed), units) for seed in range(_DRAWS)]
    return Prediction(value, spread_of(value, moved, units["output"]))


def _drawn(form: Form, layout: Layout, case: Case, function: Function, jitter: Jitter) -> Array:
    gate, up, units = operands(case, layout)
    return replace(form, function=function).apply(gate, up, jitter, units)


def operands(case: Case, layout: Layout) -> tuple[Array, Array, dict[str, float]]:
    """Gate and up, and their units."""
    units = case.units
    if "joined" in case.inputs:
        both, unit = case.inputs["joined"], units["joined"]
        half = both.shape[1] // 2
        gate, up = both[:, :half], both[:, half:]
        if layout == "in turns":
            gate, up = both[:, ::2], both[:, 1::2]
        elif layout == "up first":
            gate, up = up, gate
        return gate, up, {"gate": unit, "up": unit, "output": units["output"]}
    name = "active" if "active" in case.inputs else "gate"
    return (
        case.inputs[name], case.inputs["up"],
        {"gate": units[name], "up": units["up"], "output": units["output"]},
    )  # fmt: skip


def _places(scene: Scene, key: Key) -> Iterator[tuple[str, list[tuple[str, Key]]]]:
    """The module at fault and the inputs, where `key` may be the output of a gated unit."""
    side, parent = scene.reference, parent_of(key.module)

    def known(name: str, slot: str = "output") -> list[Key]:
        found = Key(f"{parent}.{name}", slot, key.step, key.call)
        return [found] if all(found in s.known for s in scene.sides) else []

    below = side.children.get(parent, ())
    functions = [m.rpartition(".")[2] for m in below if side.role(m) == "activation"]
    last = key.module.rpartition(".")[2]
    if (side.role(key.module) == "down" or last == "wo") and key.slot == "input_0":
        ups = [*known("up_proj"), *known("wi_1")]  # wi_0, wi_1 and wo are T5's
        for name, gates in (("active", functions), ("gate", ["gate_proj", "wi_0"])):
            for gate in (k for g in gates for k in known(g)):
                yield from ((parent, [(name, gate), ("up", up)]) for up in ups)
        inputs = [k for f in functions for k in known(f, "input_0")]
        for joined in (*known("gate_up_proj"), *inputs):
            yield parent, [("joined", joined)]
    elif side.role(key.module) == "activation" and key.slot == "output":
        # SiluAndMul and its kin take gate and up joined.
        own = known(key.module.rpartition(".")[2], "input_0")
        for joined in own or known("gate_up_proj"):
            yield key.module, [("joined", joined)]


def config_form(scene: Scene) -> Form:
    """What the config says of limits: only gpt-oss's has one."""
    limit = text_config(scene.config).get("swiglu_limit")
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0:
        return Form(_NONE, float(limit), 1.0)
    return Form(_NONE)


def _swapped(form: Form, layout: Layout, case: Case) -> Hypothesis:
    gate, up, units = operands(case, layout)
    turned = {**units, "gate": units["up"], "up": units["gate"]}
    return Hypothesis(
        "swapped", "gate and up are swapped: the function is applied to up",
        lambda: _prediction(form, up, gate, turned), "gate", "gate", "up",
    )  # fmt: skip


def _other_factors(scene: Scene, site: Site, case: Case) -> Iterator[Hypothesis]:
    """The activated gate multiplied with something else than up."""
    parent, step, call = parent_of(site.target.module), site.target.step, site.target.call
    up = site.source("up")[0].module.rpartition(".")[2]
    active, count = case.inputs["active"], scene.tables.rows(scene.candidate.known[site.target])
    for name in ("gate_proj", "act_fn", "wi_0"):
        other = Key(f"{parent}.{name}", "output", step, call)
        found = read_source(scene, scene.candidate, (other,), case.rows, count)
        if found is None or found[0].shape != active.shape:
            continue
        values, unit, _ = found
        units = {"gate": case.units["active"], "up": unit, "output": case.units["output"]}
        yield Hypothesis(
            "swapped", f"the activated input is multiplied by the output of {name}, not of "
            f"{up}", lambda values=values, units=units: _prediction(
                Form(_NONE), active, values, units
            ), "factor", up, name,
        )  # fmt: skip


def _parts_left_out(form: Form, layout: Layout, case: Case) -> Iterator[Hypothesis]:
    for changed, text, found in (
        (replace(form, gate=False), "the gate is left out: up is passed on", "up"),
        (replace(form, up=False), "up is left out: the activated gate is passed on", "gate"),
    ):
        yield Hypothesis(
            "activation", text, lambda changed=changed: predicted(changed, layout, case),
            "factors", "gate and up", found,
        )  # fmt: skip


def _limits(form: Form, layout: Layout, case: Case) -> Iterator[Hypothesis]:
    ours = "none" if form.limit is None else number_words(form.limit)
    for limit in dict.fromkeys((None, *_LIMITS)):
        if limit == form.limit:
            continue
        theirs = "none" if limit is None else number_words(limit)
        text = f"gate and up are limited to {theirs} where the reference has {ours}"
        if limit is None:
            text = f"gate and up are not limited to {ours}"
        changed = replace(form, limit=limit)
        yield Hypothesis(
            "clamp", text, lambda changed=changed: predicted(changed, layout, case), "limit", ours,
            theirs,
        )  # fmt: skip
