"""What hypotheses of attention share: the candidate's attention, changed and unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ....capture.values import Array
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..numerics.local_error import local_error, row_ratios
from ..numerics.number_fit import Number, fitted_number
from ..rotary.frequencies import Rotary
from .choice import fitting
from .form import Form, Material, allowed, uses_bias
from .math import attend, predicted, roundings
from .scores import EXACT, Rounding

_AS_NEAR = 1.5  # times the reference's ratio
_LEAST_USUAL = 0.5
_REACH, _PLACES = 8.0, 33  # units roundoff around a fitted number where it is looked for again
_ROUNDS = 3  # times that a number is fitted again, with the rounding that it makes taken out
_BIAS = 0.1  # units of a fitted logarithm
_BAD = 3.0  # times the better rows' ratio from which a row does not fit
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

    @cached_property
    def misfits(self) -> Array:
        """Which rows of the sample do not fit the unchanged law, `[rows]`."""
        assert self.base is not None
        ratios = row_ratios(self.case, self.base)
        usual = float(np.median(np.sort(ratios)[: max(1, len(ratios) // 4)]))
        return ratios > _BAD * max(1.0, usual)

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

    def number(
        self, of: Callable[[float], tuple[Form, Material | None]], grid: Iterable[float]
    ) -> Number | None:
        """A number of the form or the material, fitted to the candidate."""
        base = self.base
        if base is None:
            return None
        found = fitted_number(lambda at: self.value(*of(at)), self.y, base.spread, grid)
        if found is None:
            return None
        found = self._as_rounded(of, found, base.spread)
        # Rounding in between has a bias that rows share.
        return replace(found, error=math.hypot(found.error, _BIAS * self.case.units["output"]))

    def _as_rounded(
        self, of: Callable[[float], tuple[Form, Material | None]], found: Number, spread: Array
    ) -> Number:
        """The number fitted again with what rounding in between does to the output taken out, which
        depends on the number itself.
        """
        found = self._corrected(of, found, self._moved_least(of, found.value, 0.0), spread)
        error = self.predicted(*of(found.value))
        if error is None or local_error(self.case, error).total < 1.0:
            return found
        start = self._moved_least(of, found.value, _REACH)
        start = None if start is None else self._moved_least(of, start, _REACH / _PLACES)
        return self._corrected(of, found, start, spread)

    def _corrected(
        self, of: Callable[[float], tuple[Form, Material | None]], found: Number,
        start: float | None, spread: Array,
    ) -> Number:  # fmt: skip
        """The number fitted again from `start` on, with the rounding that it makes taken out."""
        for _ in range(_ROUNDS):
            moved = None if start is None else self._rounding(*of(start))
            if moved is None or start is None:
                break
            again = fitted_number(lambda at: self.value(*of(at)), self.y - moved, spread, [start])
            if again is None or again.left >= found.left:
                break
            found, start = again, again.value
        return found

    def _moved_least(
        self, of: Callable[[float], tuple[Form, Material | None]], middle: float, reach: float
    ) -> float | None:
        """The place, at most `reach` units away, where rounding step by step comes nearest to the
        record; None where it does not come nearer than exact arithmetic.
        """
        ways = roundings(self.case.units)
        if len(ways) == 1:
            return None
        near = np.linspace(-reach, reach, _PLACES) if reach else np.zeros(1)
        places = middle + self.case.units["output"] * near
        lefts = [self._left(*of(float(at)), replace(ways[-1], simulated=True)) for at in places]
        best = int(np.argmin(lefts))
        return float(places[best]) if lefts[best] < self._left(*of(middle), EXACT) else None

    def _left(self, form: Form, material: Material | None, rounding: Rounding) -> float:
        """The logarithms of what is left of all rows, summed: each counts alike."""
        given = material if material is not None else self.material
        if given is None:
            return math.inf
        value = attend(form, given, rounding).value
        left = np.square(np.where(np.isfinite(self.y), self.y - value, 0.0)).sum(1)
        return float(np.log(left + 1e-300).sum())

    def _rounding(self, form: Form, material: Material | None) -> Array | None:
        """What rounding step by step adds to the value."""
        given = material if material is not None else self.material
        exact = self.value(form, given)
        if given is None or exact is None:
            return None
        way = replace(roundings(self.case.units)[-1], simulated=True)
        return attend(form, given, way).value - exact

    def open(self) -> Array:
        """Where queries may look: `[rows, keys]`, the recorded mask counted."""
        assert self.material is not None
        open_ = allowed(self.form, self.material)
        bias = self.material.bias
        if bias is not None and uses_bias(self.form, self.material):
            seen = np.isfinite(bias)
            open_ = open_ & (seen if seen.ndim == 2 else seen.any(1))
        return open_
