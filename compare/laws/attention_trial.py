"""What hypotheses of attention share: the candidate's attention, changed and unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...capture.arrays import Array
from .attention_fit import fitting
from .attention_form import Form, Material, allowed, uses_bias
from .attention_math import attend, predicted
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site
from .local_error import local_error
from .number_fit import Number, fitted_number
from .rotary import Rotary

_AS_NEAR = 1.5  # times the reference's ratio
_LEAST_USUAL = 0.5
_BIAS = 0.1  # units of a fitted logarithm
_LESS = 0.5  # of the weighted squares that a change may leave


@dataclass(frozen=True)
class Trials:
    """The candidate at a site, and the reference's form there."""

    scene: Scene
    site: Site
    fit: Fit
    reference: Case
    case: Case
    reached: list[float] = field(default_factory=lambda: [np.inf])  # the least ratio so far

    @property
    def form(self) -> Form:
        return self.fit.values["form"]

    @property
    def rotary(self) -> Rotary | None:
        return self.fit.values["rotary"]

    @cached_property
    def material(self) -> Material | None:
        """What the candidate gives to attention, tables included."""
        return fitting(self.form, self.case.more["material"], self.rotary)

    @cached_property
    def base(self) -> Prediction | None:
        return self.predicted(self.form)

    @property
    def y(self) -> Array:
        return self.case.output

    @property
    def width(self) -> int:
        """Channels of a query head."""
        return self.case.more["material"].q.shape[1] // self.form.heads

    def predicted(self, form: Form, material: Material | None = None) -> Prediction | None:
        given = material if material is not None else self.material
        return None if given is None else predicted(form, given, self.case.units, self.y)

    def value(self, form: Form, material: Material | None = None) -> Array | None:
        """The value alone, in exact arithmetic."""
        given = material if material is not None else self.material
        if given is None:
            return None
        found = attend(form, given).value
        return found if found.shape == self.y.shape else None

    def made(
        self, name: str, text: str, form: Form, material: Material | None = None,
        parameter: str = "", reference: str = "", candidate: str = "", uncertainty: str = "",
        fitted: int = 0,
    ) -> Hypothesis:  # fmt: skip
        """A hypothesis that is a form, or other material."""
        return Hypothesis(
            name, text, lambda: self.improved(self.predicted(form, material)), parameter,
            reference, candidate, uncertainty, fitted,
        )  # fmt: skip

    def improved(self, prediction: Prediction | None) -> Prediction | None:
        """The prediction where it leaves less than the unchanged law does, counted in the same
        units: a change that only widens the spread explains nothing.
        """
        if prediction is None or self.base is None:
            return prediction
        squares = np.maximum(np.square(np.broadcast_to(self.base.spread, self.y.shape)), 1e-300)
        fine = np.isfinite(self.y)

        def left(value: Array) -> float:
            return float((np.square(np.where(fine, self.y - value, 0.0)) / squares).sum())

        if left(prediction.value) > _LESS * left(self.base.value):
            return None
        ratio = local_error(self.case, prediction).total
        self.reached[0] = min(self.reached[0], ratio)
        return prediction

    @property
    def explained(self) -> bool:
        """True when a change brought the candidate as near as the reference is: then what costs
        much need not be tried.
        """
        return self.reached[0] <= _AS_NEAR * max(self._usual, _LEAST_USUAL)

    @cached_property
    def _usual(self) -> float:
        """The reference's own ratio."""
        material = fitting(self.form, self.reference.more["material"], self.rotary)
        if material is None:
            return 0.0
        case = self.reference
        prediction = predicted(self.form, material, case.units, case.output)
        return 0.0 if prediction is None else local_error(case, prediction).total

    def number(self, form_of: Callable[[float], Form], grid: Iterable[float]) -> Number | None:
        """A number of the form, fitted to the candidate."""
        base = self.base
        if base is None:
            return None
        found = fitted_number(lambda at: self.value(form_of(at)), self.y, base.spread, grid)
        if found is None:
            return None
        # Rounding in between has a bias that rows share.
        return replace(found, error=math.hypot(found.error, _BIAS * self.case.units["output"]))

    def open(self) -> Array:
        """Where queries may look: `[rows, keys]`, the recorded mask counted."""
        assert self.material is not None
        open_ = allowed(self.form, self.material)
        bias = self.material.bias
        if bias is not None and uses_bias(self.form, self.material):
            seen = np.isfinite(bias)
            open_ = open_ & (seen if seen.ndim == 2 else seen.any(1))
        return open_
