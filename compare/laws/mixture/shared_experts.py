"""What a mixture of experts returns: the chosen experts' sum and what experts that all tokens share
return, y = routed + sigmoid(gate) x shared (Qwen2-MoE), or without that gate (DeepSeek).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..feed_forward.functions import sigmoid
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case, read_source
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from ..numerics.sums import summed
from ..residual.causes import exchanged, residual_hypotheses

ROUTED, SHARED = "stream routed experts", "branch shared experts"


class SharedExpertsLaw:
    """The law of shared experts."""

    name = "shared-experts"

    def sites(self, scene: Scene) -> Iterator[Site]:
        side = scene.reference
        for experts, step, call in list(side.calls):
            parent = parent_of(experts)
            target, routed = (Key(m, "output", step, call) for m in (parent, experts))
            if side.role(experts) != "experts" or not _both(scene, target, routed):
                continue
            for shared in (f"{parent}.shared_expert", f"{parent}.shared_experts"):
                own = Key(shared, "output", step, call)
                gate = Key(f"{parent}.shared_expert_gate", "output", step, call)
                if _both(scene, own):
                    inputs = [(ROUTED, (routed,)), (SHARED, (own,))]
                    if _both(scene, gate):
                        inputs.append(("gate", (gate,)))
                    yield Site(self.name, parent, target, kind_name(target), tuple(inputs))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        case = read_case(scene, site, side, rows, (ROUTED, SHARED))
        if case is None or any(v.shape != case.output.shape for v in case.inputs.values()):
            return None
        gate = site.source("gate")
        if gate:
            count = scene.tables.rows(side.known[site.target])
            found = read_source(scene, side, gate, rows, count)
            if found is not None and found[0].shape[1] == 1:
                inputs = {**case.inputs, "gate": found[0]}
                return Case(side.side, case.output, case.rows, inputs, dict(case.units))
        return case

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        for gated in (True, False) if "gate" in reference.inputs else (False,):
            yield Fit({"gated": gated}, {"gate": "sigmoid" if gated else "none"})

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        gated = fit.values["gated"]
        return [predicted(gated, c) if not gated or "gate" in c.inputs else None for c in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        gated = fit.values["gated"]
        base = predicted(gated, candidate)
        if gated:
            for text, share in (
                ("the gate of the shared expert is not applied", 1.0),
                ("the gate of the shared expert is applied without its sigmoid",
                 candidate.inputs["gate"]),
            ):  # fmt: skip
                value = share * candidate.inputs[SHARED]
                yield Hypothesis("routing", text, partial(exchanged, base, SHARED, value), "gate")
        factors = {ROUTED: 1.0, SHARED: 1.0}
        yield from residual_hypotheses(scene, site, factors, base, candidate)
        yield from output_hypotheses(base, candidate)


def predicted(gated: bool, case: Case) -> Prediction:
    """The sum of a case."""
    share: Array | float = sigmoid(case.inputs["gate"]) if gated else 1.0
    terms = {ROUTED: case.inputs[ROUTED], SHARED: share * case.inputs[SHARED]}
    unit = case.units["output"]
    # The gate's sigmoid and its product are rounded.
    units = {ROUTED: 0.0, SHARED: float(np.hypot(unit, unit)) if gated else 0.0}
    return summed(terms, units, unit)


def _both(scene: Scene, *keys: Key) -> bool:
    return all(
        key in side.known and side.known[key].is_float for side in scene.sides for key in keys
    )
