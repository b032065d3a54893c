"""An MLP as a whole, where its inside is not recorded: f(x G^T) * (x U^T), and times D^T.

Engines that fuse gate and up leave only what the output projection is given (or what the MLP
returns). Needs the weights of a checkpoint, each of which is read once for both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...capture.arrays import Array
from ..canonical import parent_of
from ..parameters import Weight
from .functions import FUNCTIONS, Function, likely_functions, plain
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from .linear_products import products
from .names import kind_name
from .quantities import Key, SideQuantities
from .rounding import ROUNDED


@dataclass(frozen=True)
class Mlp:
    """The weights of an MLP; `down` where the target is what it returns."""

    gate: Weight | None
    up: Weight
    function: Function
    biases: tuple[Array | None, Array | None, Array | None] = (None, None, None)
    down: Weight | None = None
    swapped: bool = False


class GatedMlpLaw:
    """The law of an MLP whose inside one side does not record."""

    name = "mlp"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for key in list(scene.reference.known):
            if key not in scene.candidate.known:
                continue
            role, own = scene.reference.role(key.module), key.module
            if role == "down" and key.slot.startswith("input"):
                own = parent_of(key.module)
                main = scene.reference.main_input(key.module, key.step, key.call)
                if main is None or main.key != key:
                    continue
            elif role != "mlp" or key.slot != "output" or _inside(scene, own, key.step):
                continue
            if role == "down" and _product(scene, own, key.step):
                continue
            for source in _inputs(scene, own, key.step):
                yield Site(self.name, own, key, kind_name(key), (("x", source),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        return read_case(scene, site, side, rows, ("x",))

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        assert scene.parameters is not None
        find, module = scene.parameters.weight, site.module
        gate, up = find(f"{module}.gate_proj"), find(f"{module}.up_proj")
        whole = site.target.module == module
        down = find(f"{module}.down_proj") if whole else None
        if up is None or (whole and down is None):
            return
        width = reference.inputs["x"].shape[1]
        if any(w is not None and w.shape[1:] != (width,) for w in (gate, up)):
            return
        biases = [find(f"{module}.{n}_proj", "bias") for n in ("gate", "up", "down")]
        added = tuple(None if b is None else b.read().astype(np.float64) for b in biases)
        for function in likely_functions(None, scene.config)[:6]:
            mlp = Mlp(gate, up, function, (added[0], added[1], added[2]), down)
            words = {"function": function.words, "weights": "checkpoint"}
            yield Fit({"mlp": mlp}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return list(predicted(scene, fit.values["mlp"], cases))

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own: Mlp = fit.values["mlp"]
        for function in FUNCTIONS:
            if function is not own.function:
                ours, theirs = own.function.words, function.words
                yield _hypothesis(
                    scene, "activation", f"{theirs} where the reference has {ours}",
                    replace(own, function=function), candidate, "function", ours, theirs,
                )  # fmt: skip
        if own.gate is not None:
            text = "gate and up are taken for each other"
            yield _hypothesis(scene, "swapped", text, replace(own, swapped=True), candidate,
                              "order", "f(gate) * up", "f(up) * gate")  # fmt: skip
        gate, up, down = own.biases
        for bias, weights, text in (
            (gate, replace(own, biases=(None, up, down)), "the bias of gate"),
            (up, replace(own, biases=(gate, None, down)), "the bias of up"),
        ):
            if bias is not None:
                yield _hypothesis(scene, "bias", f"{text} is not added", weights, candidate,
                                  "bias", "added", "not added")  # fmt: skip
        base = predicted(scene, own, [candidate])[0]
        yield from output_hypotheses(base, candidate, site.groups)


def predicted(scene: Scene, mlp: Mlp, cases: Sequence[Case]) -> list[Prediction]:
    """What the MLP makes of each case's input. The spread follows from those of the products:
    first-order, with the function's slope by differences.
    """
    ups = products(mlp.up, mlp.biases[1], cases, scene)
    gates = products(mlp.gate, mlp.biases[0], cases, scene) if mlp.gate is not None else ups
    found = [_joined(mlp, g, u, c) for g, u, c in zip(gates, ups, cases, strict=True)]
    if mlp.down is None:
        return found
    inner = [
        replace(case, inputs={"x": p.value}, units={**case.units, "x": case.units["output"]})
        for case, p in zip(cases, found, strict=True)
    ]
    outer = products(mlp.down, mlp.biases[2], inner, scene)
    return [
        Prediction(o.value, np.sqrt(2.0) * np.broadcast_to(o.spread, o.value.shape)) for o in outer
    ]


def _joined(mlp: Mlp, gate: Prediction, up: Prediction, case: Case) -> Prediction:
    unit = case.units["output"]
    if mlp.swapped:
        gate, up = up, gate
    active = plain(mlp.function, gate.value)
    above, below = (plain(mlp.function, gate.value + step) for step in (1e-4, -1e-4))
    slope = (above - below) / 2e-4
    squares = np.square(slope * gate.spread) + np.square(ROUNDED * unit * active)
    if mlp.gate is None:
        return Prediction(active, np.sqrt(squares + np.square(ROUNDED * unit * active)))
    value = active * up.value
    squares = squares * np.square(up.value) + np.square(active * up.spread)
    return Prediction(value, np.sqrt(squares + np.square(ROUNDED * unit * value)) + 1e-300)


def _hypothesis(
    scene: Scene, name: str, text: str, mlp: Mlp, case: Case, parameter: str, reference: str,
    candidate: str,
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        name, text, lambda: predicted(scene, mlp, [case])[0], parameter, reference, candidate
    )  # fmt: skip


def _inside(scene: Scene, mlp: str, step: int) -> bool:
    """Whether both sides record what the output projection is given, or returns."""
    down = f"{mlp}.down_proj"
    return any(
        all(Key(down, slot, step) in side.known for side in scene.sides)
        for slot in ("input_0", "output")
    )


def _product(scene: Scene, mlp: str, step: int) -> bool:
    """Whether both sides record the two factors of the product."""
    up = Key(f"{mlp}.up_proj", "output", step)
    return all(up in side.known for side in scene.sides)


def _inputs(scene: Scene, mlp: str, step: int) -> Iterator[Source]:
    own = scene.reference.main_input(mlp, step)
    if own is not None and own.key in scene.candidate.known:
        yield (own.key,)
        return
    layer = parent_of(mlp)
    for name in ("pre_feedforward_layernorm", "post_attention_layernorm"):
        before = Key(f"{layer}.{name}", "output", step)
        if all(before in side.known for side in scene.sides):
            yield (before,)
