"""Activations: y = f(x), element by element. The reference shows which function it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...capture.arrays import Array
from ..canonical import parent_of
from .functions import FUNCTIONS, SHOWN, likely
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from .names import kind_name
from .quantities import Key, SideQuantities
from .rounding import Jitter, spread_of


class ActivationLaw:
    """The law of an activation module."""

    name = "activation"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if key.slot != "output" or key not in scene.candidate.known:
                continue
            if scene.reference.role(key.module) != "activation":
                continue
            for source in _sources(scene, key):
                yield Site(self.name, key.module, key, kind_name(key), (("x", source),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ("x",))
        return case if case is not None and case.inputs["x"].shape == case.output.shape else None

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        config = scene.config.get("text_config") or scene.config
        given = config.get("hidden_act") or config.get("hidden_activation")
        given = given or config.get("activation_function")
        kind = scene.reference.classes.get(site.module)
        for name in likely(kind, given if isinstance(given, str) else None):
            yield Fit({"function": name}, {"function": SHOWN[name]})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["function"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own = fit.values["function"]
        for name in FUNCTIONS:
            if name != own:
                yield Hypothesis(
                    "activation", f"{SHOWN[name]} where the reference has {SHOWN[own]}",
                    lambda name=name: predicted(name, candidate), "function", SHOWN[own],
                    SHOWN[name],
                )  # fmt: skip
        yield from output_hypotheses(predicted(own, candidate), candidate, site.groups)


def predicted(name: str, case: Case) -> Prediction:
    """What the function gives for the case's input."""
    function, x = FUNCTIONS[name], case.inputs["x"]
    value = function(x)
    moved = [function(Jitter(seed)(x, case.units["x"])) for seed in range(2)]
    return Prediction(value, spread_of(value, moved, case.units["output"]))


def _sources(scene: Scene, key: Key) -> Iterator[Source]:
    own = scene.reference.main_input(key.module, key.step, key.call)
    if own is not None and own.key in scene.candidate.known:
        yield (own.key,)
        return
    parent = parent_of(key.module)
    for name in ("gate_proj", "up_proj", "dense"):
        before = Key(f"{parent}.{name}", "output", key.step)
        if before in scene.reference.known and before in scene.candidate.known:
            yield (before,)
