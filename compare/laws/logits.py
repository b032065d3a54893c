"""From the head's product to the logits that a model returns: a factor (Cohere's, Granite's) and a
soft cap, y = c tanh(s x / c) (Gemma 2; Bello et al., 2016, section 3).

Both are read from the config, or fitted to the reference. Where the head's own output is not
recorded, or its config says that something is done to it, the product is worked out from its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...capture.values import Array
from ..weights.fused_weights import text_config
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_source
from .linear.operands import Operand, multiplied
from .names import kind_name, number_words
from .numerics.local_error import local_error
from .numerics.number_fit import fitted_number
from .numerics.quantities import Key, SideQuantities
from .numerics.rounding import ROUNDED, on_grid, unit_of

_CAPS = (30.0, 50.0, 15.0)  # that models have: Gemma 2's and 3n's logits, Gemma 2's attention, Grok
_MULTIPLIED = ("logit_scale", "output_multiplier_scale", "lm_head_multiplier")
_DIVIDED = ("logits_scaling",)
_CAP_NAMES = ("final_logit_softcapping", "final_logits_soft_cap", "logits_soft_cap")
HEAD = "lm_head"
_SLOTS = ("output_logits", "output_0", "output")
_MOST_ERROR = 16.0  # units of rounding that the reference's own logits may be off by
_SURE = 4.0  # standard errors
_COARSE = 2.0**-12  # unit roundoff from which single steps show
_STEPS = 24  # of the search for a cap
_BEYOND = 100.0  # times the greatest logit that a cap is looked for


@dataclass(frozen=True)
class Last:
    """What is done to the head's product."""

    scale: float = 1.0
    cap: float | None = None

    def apply(self, x: Array, unit: float = 0.0) -> Array:
        """The logits of a product, every step rounded to the grid of `unit` unless that is 0."""

        def rounded(values: Array) -> Array:
            return on_grid(values, unit) if unit else values

        x = rounded(self.scale * x)
        if self.cap is None:
            return x
        return rounded(self.cap * rounded(np.tanh(rounded(x / self.cap))))


class LogitsLaw:
    """The law of what is done to logits."""

    name = "logits"

    def sites(self, scene: Scene) -> Iterator[Site]:
        side = scene.reference
        for key in list(side.known):
            if key.slot not in _SLOTS or key.module not in ("model", HEAD):
                continue
            if not all(key in s.known and s.known[key].is_float for s in scene.sides):
                continue
            for name, source in self._inputs(scene, key):
                yield Site(self.name, key.module, key, kind_name(key), ((name, (source,)),))

    def _inputs(self, scene: Scene, key: Key) -> Iterator[tuple[str, Key]]:
        product = Key(HEAD, "output", key.step, key.call)
        both = all(product in side.known for side in scene.sides)
        if key.module != HEAD and both:
            yield "product", product
            return
        if key.module == HEAD and configured(scene.config) == Last():
            return  # a plain product: another law
        if scene.parameters is None or scene.parameters.weight(HEAD) is None:
            return
        places = scene.reference.main_input(HEAD, key.step, key.call)
        names = [places.key] if places is not None else []
        for source in (*names, Key("norm", "output", key.step)):
            if all(source in side.known for side in scene.sides):
                yield "x", source
                return

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known[site.target]
        ((name, (key,)),) = site.inputs
        source = side.known.get(key)
        if source is None:
            return None
        shape, own = scene.tables.shape(target), scene.tables.shape(source)
        place = _last_rows(rows, shape[:-1], own[:-1])
        if place is None:
            return None
        found = read_source(scene, side, (key,), place, scene.tables.rows(source))
        if found is None:
            return None
        output = scene.tables.read(target, rows)
        if name == "product" and found[0].shape != output.shape:
            return None
        units = {"output": unit_of(output, target.dtype), name: found[1]}
        return Case(side.side, output, rows, {name: found[0]}, units)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        product = _products(scene, [reference])[0]
        if product is None:
            return
        said = configured(scene.config)
        tried = list(dict.fromkeys((said, replace(said, cap=None), Last(cap=said.cap), Last())))
        errors = [
            local_error(reference, finished(last, product, reference)).total for last in tried
        ]
        best = min(range(len(tried)), key=lambda i: max(errors[i], 1.0))
        if errors[best] <= _MOST_ERROR:
            yield _fit(tried[best])
            return
        scale, _ = fitted_scale(Last(), product, reference)
        for last in (Last(scale), Last(cap=fitted_cap(said, product, reference)[0])):
            if local_error(reference, finished(last, product, reference)).total <= _MOST_ERROR:
                yield _fit(last)
                return

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        last: Last = fit.values["last"]
        products = _products(scene, cases)
        return [
            None if p is None else finished(last, p, c)
            for p, c in zip(products, cases, strict=True)
        ]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        last: Last = fit.values["last"]
        product = _products(scene, [candidate])[0]
        if product is None:
            return
        base = finished(last, product, candidate)
        yield from _caps(last, product, candidate)
        yield from _scales(last, product, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


def caps_of_product(product: Prediction, case: Case) -> Iterator[Hypothesis]:
    """Soft caps of a head's output that is a plain product in the reference."""
    yield from _caps(Last(), product, case)


def finished(last: Last, product: Prediction, case: Case) -> Prediction:
    """The logits of a product, with the rounding of the product and of every step. Of a recorded
    product in a coarse dtype every step may have been rounded: quotients by one cap then round
    alike, which makes a common factor. The record tells.
    """
    value = last.apply(product.value)
    if last.cap is not None and "product" in case.inputs and case.units["output"] > _COARSE:
        value = _nearer(case.output, value, last.apply(product.value, case.units["output"]))
    unit = case.units["output"] * ROUNDED
    slope = 1.0 if last.cap is None else 1.0 - np.square(value / last.cap)
    scaled = last.scale * product.value
    # The scaled product, the quotient and the hyperbolic tangent are rounded, and the output.
    steps = (last.scale != 1.0) + (last.cap is not None)
    squares = np.square(slope * last.scale * product.spread) + np.square(unit * value)
    squares += steps * np.square(slope * unit * scaled)
    if last.cap is not None:
        squares += np.square(unit * value)
    return Prediction(value, np.sqrt(squares))


def _nearer(y: Array, *values: Array) -> Array:
    """The first of the values that are nearest to a record, where that is finite."""
    left = [float(np.square(np.where(np.isfinite(y), y - value, 0.0)).sum()) for value in values]
    return values[int(np.argmin(left))]


def configured(config: Mapping[str, Any]) -> Last:
    """What a config says is done to logits."""
    text = text_config(config)
    scale = 1.0
    for names, power in ((_MULTIPLIED, 1), (_DIVIDED, -1)):
        for value in (text.get(name) for name in names):
            if _is_number(value) and value:
                scale *= float(value) ** power
    cap = next((float(text[n]) for n in _CAP_NAMES if _is_number(text.get(n)) and text[n]), None)
    return Last(scale, cap)


def fitted_scale(last: Last, product: Prediction, case: Case) -> tuple[float, float]:
    """The factor in front of the cap that fits a case best, and its standard error: the median
    over rows of their least-squares factors.
    """
    x, y = product.value, case.output
    if last.cap is not None:
        inside = np.abs(y) < 0.99 * last.cap
        y = np.where(inside, last.cap * np.arctanh(np.where(inside, y / last.cap, 0.0)), 0.0)
        x = np.where(inside, x, 0.0)
    squares = np.square(x).sum(1)
    usable = (squares > 0) & np.isfinite(y).all(1)
    if not usable.any():
        return 1.0, np.inf
    factors = (x * y)[usable].sum(1) / squares[usable]
    factor = float(np.median(factors))
    scatter = 1.4826 * float(np.median(np.abs(factors - factor))) / len(factors) ** 0.5
    return factor, float(np.hypot(1.25 * scatter, 0.05 * case.units["output"] * factor))


def fitted_cap(last: Last, product: Prediction, case: Case) -> tuple[float, float]:
    """The cap that fits a case best and its standard error, which is large where logits are far
    below any cap.

    Elements of one size round alike: their errors add up, those of different sizes do not. Elements
    that the cap changes by less than their rounding may all be rounded back.
    """
    x, y = last.scale * product.value, case.output
    fine = np.isfinite(x) & np.isfinite(y)
    x, unit = np.where(fine, x, 0.0), case.units["output"]
    size = np.abs(np.where(fine, y, 0.0))
    rounding = ROUNDED * unit * np.sqrt(np.square(size) + 1e-6 * float(np.square(size).mean()))
    top = np.log(float(size.max()) or 1.0)

    def capped(logarithm: float) -> Array:
        cap = float(np.exp(logarithm))
        return cap * np.tanh(x / cap)

    grid = np.linspace(top, top + np.log(_BEYOND), _STEPS)
    found = fitted_number(capped, np.where(fine, y, np.nan), rounding, grid)
    if found is None or not np.isfinite(found.error):
        return float(np.exp(top)), np.inf
    cap, value = float(np.exp(found.value)), capped(found.value)
    slope = value - x * (1.0 - np.square(value / cap))  # by the cap's logarithm
    weight = fine / np.square(np.maximum(rounding, 1e-300))
    spread = np.where(fine, finished(replace(last, cap=cap), product, case).spread, 0.0)
    _, alike = np.unique(size, return_inverse=True)
    sums = np.bincount(alike.reshape(-1), (weight * np.abs(slope) * spread).reshape(-1))
    bent = np.abs(x - value)
    lost = (weight * np.abs(slope) * bent)[bent < unit * np.abs(x)].sum()
    information = max(float((weight * np.square(slope)).sum()), 1e-300)
    shared = float(np.hypot(np.sqrt(np.square(sums).sum()), lost)) / information
    lever = float((weight * np.abs(slope * value)).sum()) / information
    hidden = _hidden(cap, unit, lever)
    return cap, cap * float(np.sqrt(found.error**2 + shared**2 + hidden**2))


def _hidden(cap: float, unit: float, lever: float) -> float:
    """What rounding hides of a cap next to a number of few bits, relative to it.

    Next to a power of two, all quotients and products round to those with it. Next to k / p of one,
    a p-th of the products lie in the middle between two numbers of the grid and may all be rounded
    the same way, which moves the cap `lever` times as far.
    """
    mantissa = 2 * float(np.frexp(cap)[0])
    for parts in (1, 2, 4, 8):
        if abs(mantissa * parts - round(mantissa * parts)) < 2 * unit * parts * max(1.0, lever):
            return 0.5 * unit / parts * (lever if parts > 1 else 1.0)
    return 0.0


def _products(scene: Scene, cases: Sequence[Case]) -> list[Prediction | None]:
    """The head's product of every case: recorded, or worked out from its input."""
    if "product" in cases[0].inputs:
        spreads = [ROUNDED * c.units["product"] * np.abs(c.inputs["product"]) for c in cases]
        return [Prediction(c.inputs["product"], s) for c, s in zip(cases, spreads, strict=True)]
    weight = scene.parameters.weight(HEAD) if scene.parameters is not None else None
    shapes = {(c.output.shape[1], c.inputs["x"].shape[1]) for c in cases}
    if weight is None or shapes != {weight.shape}:
        return [None] * len(cases)
    bias = scene.parameters.weight(HEAD, "bias") if scene.parameters is not None else None
    added = None if bias is None else bias.read().astype(np.float64)
    operands = [Operand(case.inputs["x"], case.units["output"]) for case in cases]
    return list(multiplied(weight, added, operands, scene))


def _last_rows(rows: Array, shape: tuple[int, ...], own: tuple[int, ...]) -> Array | None:
    """Which rows of a product have become `rows` of the logits: the last ones of each sequence
    where only those are returned.
    """
    if shape == own:
        return rows
    count, all_of = (shape[-1] if shape else 1), (own[-1] if own else 1)
    if not own or np.prod(shape[:-1]) != np.prod(own[:-1]) or count > all_of or not count:
        return None
    outer, at = np.divmod(rows, count)
    return outer * all_of + at + (all_of - count)


def _fit(last: Last) -> Fit:
    cap = "none" if last.cap is None else number_words(last.cap)
    return Fit({"last": last}, {"scale": number_words(last.scale), "soft cap": cap})


def _caps(last: Last, product: Prediction, case: Case) -> Iterator[Hypothesis]:
    ours = "none" if last.cap is None else number_words(last.cap)
    if last.cap is not None:
        yield Hypothesis(
            "softcap", f"the soft cap of {ours} is not applied",
            _later(replace(last, cap=None), product, case), "soft cap", ours, "none",
        )  # fmt: skip
    for cap in (c for c in _CAPS if c != last.cap):
        text = f"a soft cap of {number_words(cap)} where the reference has {ours}"
        yield Hypothesis(
            "softcap", text, _later(replace(last, cap=cap), product, case), "soft cap", ours,
            number_words(cap),
        )  # fmt: skip
    cap, error = fitted_cap(last, product, case)
    if error < cap / _SURE:
        text = f"a soft cap of {cap:.6g} where the reference has {ours}"
        yield Hypothesis(
            "softcap", text, _later(replace(last, cap=cap), product, case), "soft cap", ours,
            f"{cap:.6g}", number_words(error), 1,
        )  # fmt: skip


def _scales(last: Last, product: Prediction, case: Case) -> Iterator[Hypothesis]:
    scale, error = fitted_scale(last, product, case)
    ours = number_words(last.scale)
    text = "the logits are multiplied by {} where the reference has {}"
    for plain in dict.fromkeys((1.0, 1 / last.scale, last.scale**2)):
        if plain != last.scale and abs(plain - scale) <= max(_SURE * error, 1e-6 * plain):
            theirs = number_words(plain)
            yield Hypothesis(
                "logits-scale", text.format(theirs, ours),
                _later(replace(last, scale=plain), product, case), "factor", ours, theirs,
                number_words(error),
            )  # fmt: skip
    yield Hypothesis(
        "logits-scale", text.format(f"{scale:.6g}", ours),
        _later(replace(last, scale=scale), product, case), "factor", ours, f"{scale:.6g}",
        number_words(error), 1,
    )  # fmt: skip


def _later(last: Last, product: Prediction, case: Case) -> Callable[[], Prediction]:
    return partial(finished, last, product, case)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
