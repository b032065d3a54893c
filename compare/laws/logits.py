"""Logits: what the model returns of its head's output: as it is, times a factor, or softly capped,

y = cap tanh(x / cap)     (Gemma 2, 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...capture.arrays import Array
from ..canonical import ROOT
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .names import kind_name, number_words
from .quantities import Key, SideQuantities
from .rounding import ROUNDED, Jitter, spread_of

_CAPS = (30.0, 50.0, 20.0, 15.0)
_CONFIG_CAPS = ("final_logit_softcapping", "logits_soft_cap", "final_logits_softcapping")
_CONFIG_SCALES = (("logit_scale", False), ("logits_scaling", True), ("lm_head_multiplier", False))


@dataclass(frozen=True)
class Logits:
    """`scale` first, then the cap (None: none)."""

    scale: float = 1.0
    cap: float | None = None

    def apply(self, x: Array) -> Array:
        x = x * self.scale
        return x if self.cap is None else self.cap * np.tanh(x / self.cap)


class LogitsLaw:
    """The law of what a model returns."""

    name = "logits"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for slot in ("output", "output_logits", "output_0"):
            for key in [k for k in scene.reference.known if k.module == ROOT and k.slot == slot]:
                head = Key("lm_head", "output", key.step)
                both = all(k in side.known for k in (key, head) for side in scene.sides)
                if both:
                    yield Site(self.name, ROOT, key, kind_name(key), (("x", (head,)),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, ("x",))
        return case if case is not None and case.inputs["x"].shape == case.output.shape else None

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        config = scene.config.get("text_config") or scene.config
        caps = [config[n] for n in _CONFIG_CAPS if isinstance(config.get(n), int | float)]
        for name, divides in _CONFIG_SCALES:
            value = config.get(name)
            if isinstance(value, int | float) and value:
                yield _fit(Logits(1.0 / value if divides else float(value)))
        yield _fit(Logits())
        for cap in dict.fromkeys([*map(float, caps), *_CAPS]):
            yield _fit(Logits(1.0, cap))
        x, y = reference.inputs["x"], reference.output
        size = float(np.square(x).sum())
        if size > 0:
            yield _fit(Logits(float((x * y).sum()) / size))

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["logits"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own: Logits = fit.values["logits"]
        changes = [Logits(own.scale)] if own.cap is not None else []
        changes += [Logits(own.scale, cap) for cap in _CAPS if cap != own.cap]
        for changed in changes:
            yield _hypothesis("softcap", own, changed, candidate)
        x, y = candidate.inputs["x"], candidate.output
        size = float(np.square(x).sum())
        factors = [1.0] if own.scale != 1.0 else []
        for factor in factors:
            yield _hypothesis("logits-scale", own, Logits(factor, own.cap), candidate)
        if size > 0:
            found = float((x * y).sum()) / size
            yield _hypothesis("logits-scale", own, Logits(found, own.cap), candidate, 1)
        yield from output_hypotheses(predicted(own, candidate), candidate, site.groups)


def predicted(logits: Logits, case: Case) -> Prediction:
    """What is made of the head's output."""
    x = case.inputs["x"]
    value = logits.apply(x)
    if logits == Logits():  # a copy
        return Prediction(value, ROUNDED * case.units["output"] * np.abs(value) + 1e-300)
    moved = [logits.apply(Jitter(seed)(x, case.units["x"])) for seed in range(2)]
    return Prediction(value, spread_of(value, moved, case.units["output"]) + 1e-300)


def _fit(logits: Logits) -> Fit:
    return Fit({"logits": logits}, {"logits": _words(logits)}, read=True)


def _words(logits: Logits) -> str:
    scale = "as they are" if logits.scale == 1.0 else f"times {number_words(logits.scale)}"
    return scale if logits.cap is None else f"{scale}, softly capped at {number_words(logits.cap)}"


def _hypothesis(name: str, own: Logits, changed: Logits, case: Case, fitted: int = 0) -> Hypothesis:
    text = f"the logits are {_words(changed)} where the reference has them {_words(own)}"
    return Hypothesis(
        name, text, lambda: predicted(changed, case), name, _words(own), _words(changed), "",
        fitted,
    )  # fmt: skip
