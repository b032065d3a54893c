"""Layer scale: y = x * weight by channel (Touvron et al., Going deeper with image transformers,
2021), with the weight of the checkpoint or fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ....capture.values import Array
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from ..names import kind_name
from ..numerics.quantities import SideQuantities
from ..numerics.rounding import ROUNDED, on_grid

_NAMES = ("lambda1", "gamma", "weight", "scale")
_FEWEST = 4  # rows from which a weight may be fitted
_COARSE = 2.0**-8  # units up to which a loader is taken to round weights to a side's grid


class LayerScaleLaw:
    """The law of layer scale."""

    name = "layer-scale"
    few_roundings = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        side = scene.reference
        for key in list(side.known):
            if key.slot != "output" or not is_layer_scale(side, key.module):
                continue
            own = side.main_input(key.module, key.step, key.call)
            if own is not None and all(k in scene.candidate.known for k in (key, own.key)):
                yield Site(self.name, key.module, key, kind_name(key), (("x", (own.key,)),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ("x",))
        return case if case is not None and case.inputs["x"].shape == case.output.shape else None

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        width = reference.output.shape[1]
        for name in _NAMES if scene.parameters is not None else ():
            assert scene.parameters is not None
            weight = scene.parameters.weight(site.module, name)
            if weight is not None and weight.shape == (width,):
                values = weight.read().astype(np.float64)
                yield Fit({"weight": values}, {"weight": "checkpoint"}, read=True)
        if len(reference.output) >= _FEWEST:
            x, y = reference.inputs["x"], reference.output
            size = np.maximum(np.square(x).mean(1, keepdims=True), 1e-300)
            values = (x * y / size).sum(0) / np.maximum((x * x / size).sum(0), 1e-300)
            yield Fit({"weight": values}, {"weight": "fitted"}, free=1.0)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        own = [_loaded(fit, case) for case in cases]
        return [
            predicted(weight, case) if case.output.shape[1] == len(weight) else None
            for weight, case in zip(own, cases, strict=True)
        ]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        weight = _loaded(fit, candidate)
        for name, text, changed in (
            ("weight-ignored", "the weight is not applied (taken as 1)", np.ones_like(weight)),
            ("weight-offset", "weight + 1 where the reference has the weight", weight + 1),
        ):
            yield Hypothesis(name, text, partial(predicted, changed, candidate), "weight")
        yield from output_hypotheses(predicted(weight, candidate), candidate)


def is_layer_scale(side: SideQuantities, module: str) -> bool:
    """By the class: Dinov2LayerScale, timm's LayerScale."""
    return "layerscale" in side.classes.get(module, "").lower()


def predicted(weight: Array, case: Case) -> Prediction:
    """What the weight makes of a case's input."""
    value = case.inputs["x"] * weight
    return Prediction(value, ROUNDED * case.units["output"] * np.abs(value))


def _loaded(fit: Fit, case: Case) -> Array:
    """The weight as the side has it."""
    weight, unit = fit.values["weight"], case.units["output"]
    return on_grid(weight, unit) if fit.read and 2.0**-12 < unit <= _COARSE else weight
