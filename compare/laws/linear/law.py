"""Products with a weight matrix: y = x W^T + b, with W and b from the checkpoint.

Each block of W is read and upcast once, for both sides together; `products` has the formula
of the rounding, `causes` what can be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...matching.names.roles import is_projection
from ...weights.parameters import Weight
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..logits import HEAD, caps_of_product
from ..names import kind_name
from ..numerics.quantities import SideQuantities
from ..numerics.rounding import unit_of
from .arithmetic import Shown, arithmetic_of
from .bench import Bench, heads_of, weight_of
from .causes import weight_hypotheses
from .inputs import (
    derived_words,
    input_choices,
    made_between,
    read_inputs,
    with_other_activations,
)  # fmt: skip
from .products import products

_PRODUCT = "product"  # where a case keeps what it should have given
_BENCH = "linear: bench"  # and what its causes are looked for with


class LinearLaw:
    """The law of projections."""

    name = "linear"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for key in list(scene.reference.known):
            if key.slot not in ("output", "output_0") or key not in scene.candidate.known:
                continue
            if not is_projection(scene.reference.role(key.module)):
                continue
            weight = weight_of(scene, key.module)
            if weight is None or len(weight.shape) != 2:
                continue
            for inputs in input_choices(scene, key, weight):
                # Where the input was made by the parent's own code, that may be wrong, too.
                module = parent_of(key.module) if made_between(inputs) else key.module
                yield Site(self.name, module, key, kind_name(key), inputs,
                           heads_of(scene, key.module))  # fmt: skip

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known.get(site.target)
        if target is None:
            return None
        output = scene.tables.read(target, rows)
        found = read_inputs(scene, side, site.inputs, rows, scene.tables.rows(target))
        if found is None:
            return None
        units = {"output": unit_of(output, target.dtype), "x": found[1]}
        return Case(side.side, output, rows, {"x": found[0]}, units, derived_words(site))

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterable[Fit]:
        assert scene.parameters is not None
        weight = weight_of(scene, site.target.module)
        if weight is None or len(weight.shape) != 2:
            return
        if weight.shape != (reference.output.shape[1], reference.inputs["x"].shape[1]):
            return
        bias = scene.parameters.weight(site.target.module, "bias")
        added = bias.read().astype(np.float64) if bias is not None else None
        if added is not None and added.shape != (weight.shape[0],):
            return
        words = {"weight": "checkpoint", "bias": "checkpoint" if added is not None else "none"}
        yield Fit({"weight": weight, "bias": added}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        weight, bias = fit.values["weight"], fit.values["bias"]
        todo = [case for case in cases if _kept(case, weight, bias) is None]
        if todo:
            for case, found in zip(todo, products(weight, bias, todo, scene), strict=True):
                _keep(case, weight, bias, found)
        return [_kept(case, weight, bias) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        yield from self._activations(scene, site, fit, candidate)
        bench = self._bench(scene, site, fit, candidate)
        if site.target.module == HEAD:
            yield from caps_of_product(bench.base, candidate)
        yield from weight_hypotheses(bench)

    def _activations(self, scene: Scene, site: Site, fit: Fit, case: Case) -> Iterator[Hypothesis]:
        """Another activation, where the input was worked out with one."""
        for own, other, inputs in with_other_activations(site.inputs):
            other_site = replace(site, inputs=inputs)
            changed = self.read(scene, other_site, scene.candidate, case.rows)
            if changed is None:
                continue
            again = replace(case, inputs=changed.inputs)
            yield Hypothesis(
                "activation", f"{other} where the reference has {own}",
                lambda c=again: self.predict(scene, site, fit, [c])[0], "activation", own, other,
            )  # fmt: skip

    def arithmetic(self, scene: Scene, site: Site, fit: Fit, case: Case) -> Shown | None:
        """What the products of a side were computed in, where that explains its errors."""
        return arithmetic_of(self._bench(scene, site, fit, case))

    def _bench(self, scene: Scene, site: Site, fit: Fit, case: Case) -> Bench:
        weight, bias = fit.values["weight"], fit.values["bias"]
        base = self.predict(scene, site, fit, [case])[0]
        assert base is not None
        known: Bench | None = case.more.get(_BENCH)
        same = (site.target, site.groups)
        if known is not None and known.base is base and (known.key, known.heads) == same:
            return known
        bench = Bench(scene, site.target, weight, bias, case, base, site.groups, site.source("x"))
        if isinstance(case.more, dict):  # what it works out is asked for its causes, too
            case.more[_BENCH] = bench
        return bench


@dataclass(frozen=True)
class _Known:
    """A product that was worked out, and what of."""

    weight: Weight
    bias: Array | None
    x: Array
    unit: float
    prediction: Prediction


def _keep(case: Case, weight: Weight, bias: Array | None, prediction: Prediction) -> None:
    """Kept with the case, so that causes are looked for on one reading of the weight."""
    more = case.more
    if isinstance(more, dict):
        more[_PRODUCT] = _Known(
            weight, bias, case.inputs["x"], case.units["output"], prediction
        )  # fmt: skip


def _kept(case: Case, weight: Weight, bias: Array | None) -> Prediction | None:
    known = case.more.get(_PRODUCT)
    if known is None or known.x is not case.inputs["x"] or known.bias is not bias:
        return None
    same = known.weight == weight and known.unit == case.units["output"]
    return known.prediction if same else None
