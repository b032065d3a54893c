"""The inside of an MLP: what its output projection is given is f(gate) * up, or f(up) without gate.

Made by the code of the MLP itself, which is therefore at fault where this does not hold. Shazeer,
2020 (GLU variants).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...capture.arrays import Array
from ..canonical import parent_of
from .functions import FUNCTIONS, SHOWN, likely
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from .names import kind_name
from .quantities import Key, SideQuantities
from .rounding import STILL, Jitter, spread_of


@dataclass(frozen=True)
class Gate:
    """f(gate) * up. `function` is applied to the gate; `identity` where that is the activation's
    own output. `swapped` takes them for each other; `ignored` leaves one out.
    """

    function: str
    swapped: bool = False
    ignored: str = ""

    def apply(self, case: Case, jitter: Jitter = STILL) -> Array:
        gate = case.inputs["gate"]
        up = case.inputs.get("up")
        unit = case.units["output"]
        if self.swapped and up is not None:
            gate, up = up, gate
        active = jitter(FUNCTIONS[self.function](jitter(gate, case.units["gate"])), unit)
        if up is None or self.ignored == "up":
            return active
        if self.ignored == "gate":
            return up
        return active * jitter(up, case.units["up"])


class GatedLaw:
    """The law of what `down_proj` is given."""

    name = "gated product"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if scene.reference.role(key.module) != "down" or not key.slot.startswith("input"):
                continue
            own = scene.reference.main_input(key.module, key.step, key.call)
            if own is None or own.key != key or key not in scene.candidate.known:
                continue
            mlp = parent_of(key.module)
            for inputs in _inputs(scene, mlp, key.step):
                yield Site(self.name, mlp, key, kind_name(key), inputs)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        names = [name for name, _ in site.inputs]
        case = read_case(scene, site, side, rows, names)
        if case is None or any(case.inputs[n].shape != case.output.shape for n in names):
            return None
        return case

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        if _is_active(site):
            yield Fit({"gate": Gate("identity")}, {"function": "recorded"})
            return
        config = scene.config.get("text_config") or scene.config
        given = config.get("hidden_act") or config.get("hidden_activation")
        given = given or config.get("activation_function")
        kinds = [scene.reference.classes.get(f"{site.module}.{n}") for n in ("act_fn", "act")]
        for name in likely(*kinds, given if isinstance(given, str) else None):
            yield Fit({"gate": Gate(name)}, {"function": SHOWN[name]})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["gate"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own: Gate = fit.values["gate"]
        if not _is_active(site):
            for name in FUNCTIONS:
                if name != own.function:
                    ours, theirs = SHOWN[own.function], SHOWN[name]
                    text = f"{theirs} where the reference has {ours}"
                    yield _hypothesis("activation", text, Gate(name), candidate, "function", ours,
                                      theirs)  # fmt: skip
        if "up" in candidate.inputs:
            text = "the function is applied to up instead of gate"
            yield _hypothesis("swapped", text, Gate(own.function, swapped=True), candidate,
                              "order", "f(gate) * up", "f(up) * gate")  # fmt: skip
            for part, left in (("up", "f(gate)"), ("gate", "up")):
                yield _hypothesis("scale", f"{part} is left out: {left} alone is passed on",
                                  Gate(own.function, ignored=part), candidate, "product",
                                  "f(gate) * up", left)  # fmt: skip
        yield from output_hypotheses(predicted(own, candidate), candidate, site.groups)


def predicted(gate: Gate, case: Case) -> Prediction:
    """The product for the case's inputs."""
    value = gate.apply(case)
    moved = [gate.apply(case, Jitter(seed)) for seed in range(2)]
    return Prediction(value, spread_of(value, moved, case.units["output"]))


def _hypothesis(
    name: str, text: str, gate: Gate, case: Case, parameter: str, reference: str, candidate: str
) -> Hypothesis:
    return Hypothesis(
        name, text, lambda: predicted(gate, case), parameter, reference, candidate
    )  # fmt: skip


def _is_active(site: Site) -> bool:
    """Whether the gate is what an activation module returned."""
    return site.source("gate")[0].module.rpartition(".")[2] in ("act_fn", "act")


def _inputs(scene: Scene, mlp: str, step: int) -> Iterator[tuple[tuple[str, Source], ...]]:
    """Pairs of gate and up that both sides have; the activation's own output first."""
    found = {
        name: (key,)
        for name in ("act_fn", "act", "gate_proj", "up_proj")
        if (key := Key(f"{mlp}.{name}", "output", step)) in scene.reference.known
        and key in scene.candidate.known
    }
    up = found.get("up_proj")
    for name in ("act_fn", "act", "gate_proj"):
        if name in found and up is not None:
            yield ("gate", found[name]), ("up", up)
    for name in ("act_fn", "act", "up_proj"):
        if name in found and "gate_proj" not in found:
            yield (("gate", found[name]),)
