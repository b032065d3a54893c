"""Residual sums: what a layer adds to its stream, y = x + f1 a (+ f2 m).

Pre-norm layers add what attention and the gated unit return, post-norm layers what the norms behind
them return, parallel layers add both at once, some models with a multiplier. Which of the recorded
quantities are the terms, the reference shows: the sum that fits it best is its law.

Every element has a predicted rounding of its own, so that a massive activation weighs no more than
any other element.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ....capture.values import Array
from ...weights.fused_weights import text_config
from ..config_names import RESIDUAL_FACTORS
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_source
from ..names import kind_name, number_words
from ..numerics.local_error import local_error, total_ratio
from ..numerics.quantities import SideQuantities
from ..numerics.sums import summed
from .carried import is_carried_sum, whole
from .causes import residual_hypotheses
from .terms import residual_sites

_MOST_ERROR = 6.0  # units of rounding that the reference's own sum may be off by
_FEWEST = 2  # terms of a sum
_PLAINER = 1.5  # times better that a sum of one more term must fit
_GOOD = 1.0  # units of rounding below which sums fit alike
_FITTED = 1e-3  # standard error of a multiplier from which it counts as determined


@dataclass(frozen=True)
class Sum:
    """Names of a site's inputs and their factors, the stream first."""

    terms: tuple[tuple[str, float], ...]


class ResidualLaw:
    """The law of residual sums."""

    name = "residual"
    few_roundings = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for module, target, streams, branches in residual_sites(scene):
            inputs = [(f"stream {key.label}", (key,)) for key in streams]
            inputs += [(f"branch {key.label}", (key,)) for key in branches]
            yield Site(self.name, module, target, kind_name(target), tuple(inputs))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        """None also where the reference passes on one of the inputs as it is: that is no sum."""
        count = scene.tables.rows(side.known[site.target])
        target = read_source(scene, side, whole(scene, side, site.target), rows, count)
        if target is None:
            return None
        output, unit, _ = target
        inputs: dict[str, Array] = {}
        units = {"output": unit}
        for name, source in site.inputs:
            found = read_source(scene, side, _given(scene, site, side, source), rows, count)
            if found is not None and found[0].shape == output.shape:
                if side is scene.reference and np.array_equal(found[0], output):
                    return None
                inputs[name], units[name], _ = found
        return Case(side.side, output, rows, inputs, units)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        inputs = distinct(reference)
        first: Sum | None = None
        found: list[tuple[float, int, Sum]] = []
        some = reference.thinned()
        for number, total in enumerate(_sums(inputs, _multipliers(scene))):
            error = total_ratio(some, predicted(total, some))
            plainer = _PLAINER ** len(total.terms)
            found.append((max(error, _GOOD) * plainer, number, total))
            if first is None and error <= _GOOD and len(total.terms) == _FEWEST:
                first = total
                yield Fit({"sum": total}, words_of(total))  # no other can come before it
        found.sort(key=lambda entry: entry[:2])
        for error, _, total in found[:2]:
            if total is not first and error <= _MOST_ERROR * _PLAINER ** len(total.terms):
                yield Fit({"sum": total}, words_of(total))
        if not found or found[0][0] > _MOST_ERROR:
            yield from _with_fitted_factors(inputs, reference)

    def needed(self, site: Site, fit: Fit) -> Site:
        """The site with those inputs alone that a fit is the sum of."""
        names = {name for name, _ in fit.values["sum"].terms}
        return replace(site, inputs=tuple(one for one in site.inputs if one[0] in names))

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        total: Sum = fit.values["sum"]
        have = [all(name in case.inputs for name, _ in total.terms) for case in cases]
        return [predicted(total, c) if h else None for c, h in zip(cases, have, strict=True)]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        total: Sum = fit.values["sum"]
        base = predicted(total, candidate)
        yield from residual_hypotheses(scene, site, dict(total.terms), base, candidate)
        yield from output_hypotheses(base, candidate, site.groups)


def _given(scene: Scene, site: Site, side: SideQuantities, source: Source) -> Source:
    """The records of an input, residuals that are carried beside it among them, unless the sum is
    that of both itself.
    """
    if is_carried_sum(scene, side, site.target):
        return source
    return tuple(part for key in source for part in whole(scene, side, key))


def predicted(total: Sum, case: Case) -> Prediction:
    """The sum of a case's terms."""
    return summed(
        {name: _times(factor, case.inputs[name]) for name, factor in total.terms},
        {name: case.units[name] for name, _ in total.terms}, case.units["output"],
    )  # fmt: skip


def _times(factor: float, values: Array) -> Array:
    return values if factor == 1.0 else factor * values


def words_of(total: Sum) -> dict[str, str]:
    """`{"sum": "input_0 + 0.22 x self_attn-output"}`."""
    parts = [
        name.partition(" ")[2]
        if factor == 1
        else f"{number_words(factor)} x {name.partition(' ')[2]}"
        for name, factor in total.terms
    ]
    return {"sum": " + ".join(parts)}


def distinct(case: Case) -> dict[str, Array]:
    """The inputs of a case, streams and branches that hold the same values only once each."""
    found: dict[str, Array] = {}
    for name, values in case.inputs.items():
        alike = (other for other in found if other[:6] == name[:6])  # `stream` or `branch`
        if not any(np.array_equal(values, found[other]) for other in alike):
            found[name] = values
    return found


def _sums(inputs: Mapping[str, Array], multipliers: Sequence[float]) -> Iterator[Sum]:
    """Every stream with one branch and with two, in the order of the site's inputs."""
    streams = [name for name in inputs if name.startswith("stream")]
    branches = [name for name in inputs if name.startswith("branch")]
    for count in (1, 2):
        for stream in streams:
            for chosen in combinations(branches, count):
                for factor in multipliers:
                    yield Sum(((stream, 1.0), *((name, factor) for name in chosen)))


def _multipliers(scene: Scene) -> list[float]:
    config = text_config(scene.config)
    found = [config.get(name) for name in RESIDUAL_FACTORS]
    return [1.0, *(float(v) for v in found if isinstance(v, int | float) and 0 < v != 1)]


def _with_fitted_factors(inputs: Mapping[str, Array], case: Case) -> Iterator[Fit]:
    """Sums with factors of the branches fitted to the reference, the best first."""
    found: list[tuple[float, Sum]] = []
    for plain in _sums(inputs, [1.0]):
        prediction = predicted(plain, case)
        terms = {term.name: term for term in local_error(case, prediction).terms}
        names = [name for name, _ in plain.terms]
        if any(name not in terms for name in names):
            continue
        if any(not terms[name].error < _FITTED * abs(terms[name].factor) for name in names[1:]):
            continue
        fitted = Sum(((names[0], 1.0), *((name, terms[name].factor) for name in names[1:])))
        error = local_error(case, predicted(fitted, case)).total
        if error <= _MOST_ERROR:
            found.append((error * _PLAINER ** len(names), fitted))
    for _, total in sorted(found, key=lambda entry: entry[0])[:1]:
        yield Fit({"sum": total}, words_of(total), free=0.0)
