"""Products with a weight matrix: y = x W^T + b, with W and b from the checkpoint.

Each block of W is read and upcast once, for both sides together; `linear_products` has the formula
of the rounding, `linear_causes` what can be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...capture.arrays import Array
from ..roles import is_projection
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .linear_arithmetic import arithmetic_words
from .linear_bench import Bench, heads_of
from .linear_causes import weight_hypotheses
from .linear_inputs import input_sources
from .linear_products import products
from .names import kind_name
from .quantities import SideQuantities


class LinearLaw:
    """The law of projections."""

    name = "linear"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for key in list(scene.reference.known):
            if key.slot != "output" or key not in scene.candidate.known:
                continue
            if not is_projection(scene.reference.role(key.module)):
                continue
            if scene.parameters.weight(key.module) is None:
                continue
            for source in input_sources(scene, key):
                yield Site(self.name, key.module, key, kind_name(key), (("x", source),),
                           heads_of(scene, key.module))  # fmt: skip

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        return read_case(scene, site, side, rows, ("x",))

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterable[Fit]:
        assert scene.parameters is not None
        weight = scene.parameters.weight(site.module)
        if weight is None or len(weight.shape) != 2:
            return
        if weight.shape != (reference.output.shape[1], reference.inputs["x"].shape[1]):
            return
        bias = scene.parameters.weight(site.module, "bias")
        added = bias.read().astype(np.float64) if bias is not None else None
        if added is not None and added.shape != (weight.shape[0],):
            return
        words = {"weight": "checkpoint", "bias": "checkpoint" if added is not None else "none"}
        yield Fit({"weight": weight, "bias": added}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return list(products(fit.values["weight"], fit.values["bias"], cases, scene))

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        yield from weight_hypotheses(self._bench(scene, site, fit, candidate))

    def arithmetic(self, scene: Scene, site: Site, fit: Fit, case: Case) -> str | None:
        """What the products of a side were computed in, where that explains its errors."""
        return arithmetic_words(self._bench(scene, site, fit, case))

    def _bench(self, scene: Scene, site: Site, fit: Fit, case: Case) -> Bench:
        weight, bias = fit.values["weight"], fit.values["bias"]
        base = products(weight, bias, [case], scene)[0]
        return Bench(scene, site.target, weight, bias, case, base, site.groups, site.source("x"))
