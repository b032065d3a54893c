"""Mixture of experts: y = sum over the chosen experts e of w_e E_e(x), where the weights w come
from the router's scores: a softmax (or sigmoid) over all, the k greatest, normalised to sum 1 or
not. Shazeer et al., 2017; Mixtral, 2024; Qwen2-MoE, DeepSeek-V2, 2024.

Needs the experts' weights of a checkpoint. Only experts that a sampled row goes to are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...capture.arrays import Array
from ..fused_weights import text_config
from .functions import FUNCTIONS, Function, likely_functions, plain, sigmoid
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .names import kind_name
from .quantities import Key, SideQuantities
from .rounding import ROUNDED

_MOST_ROWS = 16  # rows that a mixture is evaluated on: each goes to other experts
_COUNTS = ("num_experts_per_tok", "moe_topk", "top_k", "num_experts_per_token")
_NEAR = 0.02  # scores whose order rounding may change: such rows are left out


@dataclass(frozen=True)
class Routing:
    """How scores become weights: `score` is softmax or sigmoid; `normalised` to sum 1 over the
    chosen; `before`: the softmax is taken before the choice (else over the chosen alone).
    """

    count: int
    score: str = "softmax"
    normalised: bool = True
    before: bool = True
    factor: float = 1.0

    @property
    def words(self) -> str:
        order = "before" if self.before else "after"
        sums = "normalised" if self.normalised else "not normalised"
        return f"{self.score} {order} the choice of {self.count}, {sums}"

    def weights(self, logits: Array) -> Array:
        """Weights `[rows, experts]`, 0 for those that are not chosen."""
        order = np.argsort(-logits, axis=1, kind="stable")[:, : self.count]
        chosen = np.zeros(logits.shape, np.bool_)
        np.put_along_axis(chosen, order, True, axis=1)
        if self.score == "sigmoid":
            scores = sigmoid(logits)
        else:
            shown = logits if self.before else np.where(chosen, logits, -np.inf)
            scores = np.exp(shown - shown.max(1, keepdims=True))
            scores = scores / scores.sum(1, keepdims=True)
        weights = np.where(chosen, scores, 0.0)
        if self.normalised:
            weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-300)
        return self.factor * weights


class ExpertsLaw:
    """The law of a mixture of experts."""

    name = "experts"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for key in list(scene.reference.known):
            if key.slot not in ("output", "output_0") or key not in scene.candidate.known:
                continue
            if scene.reference.role(key.module) != "mlp":
                continue
            router = _router(scene, key)
            own = scene.reference.main_input(key.module, key.step, key.call)
            if router is None or own is None or own.key not in scene.candidate.known:
                continue
            yield Site(self.name, key.module, key, kind_name(key),
                       (("x", (own.key,)), ("logits", (router,))))  # fmt: skip

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        if len(rows) > _MOST_ROWS:
            rows = rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)]
        return read_case(scene, site, side, rows, ("x", "logits"))

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        config = text_config(scene.config)
        count = next((config[n] for n in _COUNTS if isinstance(config.get(n), int)), 2)
        function = likely_functions(None, scene.config)[0]
        factor = config.get("routed_scaling_factor")
        factor = float(factor) if isinstance(factor, int | float) else 1.0
        for normalised in (bool(config.get("norm_topk_prob", True)), True, False):
            for score in ("softmax", "sigmoid"):
                routing = Routing(int(count), score, normalised, True, factor)
                yield Fit({"routing": routing, "function": function}, {"routing": routing.words},
                          read=True)  # fmt: skip

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        routing, function = fit.values["routing"], fit.values["function"]
        return [predicted(scene, site, routing, function, case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        own: Routing = fit.values["routing"]
        function = fit.values["function"]
        changes = [
            replace(own, normalised=not own.normalised), replace(own, before=not own.before),
            *(replace(own, count=n) for n in (1, own.count - 1, own.count + 1) if n > 0),
            replace(own, score="sigmoid" if own.score == "softmax" else "softmax"),
        ]  # fmt: skip
        for changed in dict.fromkeys(c for c in changes if c != own):
            yield Hypothesis(
                "routing", f"{changed.words} where the reference has {own.words}",
                lambda changed=changed: predicted(scene, site, changed, function, candidate),
                "routing", own.words, changed.words,
            )  # fmt: skip
        for other in FUNCTIONS[:5]:
            if other is not function:
                yield Hypothesis(
                    "activation", f"{other.words} where the reference has {function.words}",
                    lambda other=other: predicted(scene, site, own, other, candidate), "function",
                    function.words, other.words,
                )  # fmt: skip
        base = predicted(scene, site, own, function, candidate)
        if base is not None:
            yield from output_hypotheses(base, candidate, site.groups)


def predicted(
    scene: Scene, site: Site, routing: Routing, function: Function, case: Case
) -> Prediction | None:
    """The weighted sum of the experts that each row goes to, and a shared expert's output."""
    logits, x = case.inputs["logits"], case.inputs["x"]
    if routing.count > logits.shape[1]:
        return None
    weights = routing.weights(logits)
    value, squares = np.zeros(case.output.shape), np.zeros(case.output.shape)
    for number in np.flatnonzero(weights.any(0)):
        rows = np.flatnonzero(weights[:, number])
        found = _expert(scene, f"{site.module}.experts", int(number), x[rows], function)
        if found is None or found.shape[1] != case.output.shape[1]:
            return None
        part = weights[rows, number][:, None] * found
        value[rows] += part
        squares[rows] += np.square(part)
    shared = _shared(scene, site.module, x, function)
    if shared is not None:
        value, squares = value + shared, squares + np.square(shared)
    unit = case.units["output"]
    # Three products, a function and the sum: some four roundings of parts of this size.
    size = np.sqrt(squares.mean(1, keepdims=True))
    spread = ROUNDED * unit * np.sqrt(4 * (squares + np.square(size)) + np.square(value))
    return Prediction(value, spread + 1e-300)


def _expert(scene: Scene, experts: str, number: int, x: Array, function: Function) -> Array | None:
    find = getattr(scene.parameters, "expert", None)
    if find is None:
        return None
    gate, up, down = (find(experts, number, f"{n}_proj") for n in ("gate", "up", "down"))
    if up is None or down is None or up.shape[1] != x.shape[1]:
        return None
    inner = x @ up.read().astype(np.float64).T
    if gate is not None:
        inner = plain(function, x @ gate.read().astype(np.float64).T) * inner
    else:
        inner = plain(function, inner)
    return inner @ down.read().astype(np.float64).T


def _shared(scene: Scene, module: str, x: Array, function: Function) -> Array | None:
    """What an expert that all rows go to adds, with its own gate where it has one."""
    assert scene.parameters is not None
    find = scene.parameters.weight
    for name in ("shared_expert", "shared_experts"):
        gate, up, down = (find(f"{module}.{name}.{n}_proj") for n in ("gate", "up", "down"))
        if gate is None or up is None or down is None:
            continue
        left = plain(function, x @ gate.read().astype(np.float64).T)
        found = (left * (x @ up.read().astype(np.float64).T)) @ down.read().astype(np.float64).T
        own = find(f"{module}.{name}_gate")
        if own is not None and own.shape == (1, x.shape[1]):
            found = sigmoid(x @ own.read().astype(np.float64).T) * found
        return found
    return None


def _router(scene: Scene, key: Key) -> Key | None:
    """The record of the router's scores of an MLP."""
    for name in ("gate", "router", "gate_proj"):
        for slot in ("output", "output_0"):
            found = Key(f"{key.module}.{name}", slot, key.step)
            if all(found in side.known for side in scene.sides):
                if name == "gate_proj" and not _has_experts(scene, key.module):
                    continue
                return found
    return None


def _has_experts(scene: Scene, module: str) -> bool:
    children = scene.reference.children.get(module, ())
    return any("expert" in child.rpartition(".")[2] for child in children)
