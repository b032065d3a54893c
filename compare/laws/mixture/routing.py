"""The router of a mixture of experts: from its logits to the experts of every token and what each
of them counts. Scores are softmax or sigmoid of the logits; the k experts of the highest scores
(with a bias of their own, by groups: DeepSeek-V3, section 2.1.2) are chosen; their scores are
normalised or not, and multiplied with a factor.

Normalised softmax scores are the same as the softmax of the chosen logits alone. Where two experts
score alike within rounding either choice is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...weights.fused_weights import text_config
from ..feed_forward.functions import sigmoid
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_source
from ..names import kind_name, number_words
from ..numerics.local_error import local_error
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import STILL, Jitter, spread_of, unit_of

Scores = Literal["softmax", "sigmoid"]
_DRAWS = 2
_FLOAT32 = 2.0**-24
_MARGIN = 8.0  # units of rounding of a score within which another expert may be chosen
_MOST_ERROR = 16.0  # units of rounding that the reference's own scores may be off by
_SURE = 4.0  # standard errors
_BIAS = "e_score_correction_bias"


@dataclass(frozen=True)
class Rule:
    """How experts are chosen and weighed. `groups` are how many groups there are and how many of
    them are looked at.
    """

    scores: Scores = "softmax"
    normalised: bool = True
    count: int = 2
    factor: float = 1.0
    groups: tuple[int, int] = (1, 1)
    bias: tuple[float, ...] = ()
    exact: bool = True  # the logits are what was scored, not rounded from it
    least: bool = False  # the least likely experts are chosen
    equal: bool = False  # all chosen ones count the same

    def scored(self, logits: Array) -> Array:
        """The score of every expert."""
        if self.scores == "sigmoid":
            return sigmoid(logits)
        shifted = np.exp(logits - logits.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)

    def choice(self, logits: Array) -> Array:
        """What experts are chosen by: the higher the better; minus infinity where a group is out.

        Softmax does not change the order of logits, which are rounded less.
        """
        by = sigmoid(logits) if self.scores == "sigmoid" else logits
        by = -by if self.least else by
        if len(self.bias) == by.shape[1]:
            by = by + np.asarray(self.bias)
        groups, kept = self.groups
        if groups > kept and by.shape[1] % groups == 0:
            parts = by.reshape(len(by), groups, -1)
            best = np.sort(parts, -1)[..., -2:].sum(-1)
            lowest = np.sort(best, -1)[:, -kept, None]
            by = np.where((best >= lowest)[..., None], parts, -np.inf).reshape(by.shape)
        return by

    def weighed(self, logits: Array, chosen: Array) -> Array:
        """`[rows, experts]`: what each expert counts, 0 where it is not chosen."""
        scores = (np.ones(logits.shape) if self.equal else self.scored(logits)) * chosen
        if self.normalised:
            scores = scores / np.maximum(scores.sum(-1, keepdims=True), 1e-20)
        return self.factor * scores


class RoutingLaw:
    """The law of routers."""

    name = "routing"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for places in routers(scene):
            if places.chosen is not None and places.weights is not None:
                inputs = (("logits", (places.logits,)), ("chosen", (places.chosen,)))
                target = places.weights
                yield Site(self.name, places.router, target, kind_name(target), inputs)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known[site.target]
        ((_, logits), (_, (chosen,))) = site.inputs
        count = scene.tables.rows(target)
        found = read_source(scene, side, logits, rows, count)
        picked = side.known.get(chosen)
        if found is None or picked is None or scene.tables.rows(picked) != count:
            return None
        weights = scene.tables.read(target, rows)
        numbers = scene.tables.read(picked, rows).astype(np.int64)
        dense = scattered(numbers, weights, found[0].shape[1])
        if dense is None:
            return None
        units = {"output": unit_of(weights, target.dtype), "logits": found[1]}
        mask = scattered(numbers, np.ones(numbers.shape), found[0].shape[1])
        more = {"chosen": mask, "count": numbers.shape[1]}
        return Case(side.side, dense, rows, {"logits": found[0]}, units, more=more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        known = list(rules(scene, site.module, reference.more["count"]))
        for exact in (True, False):
            tried = [replace(rule, exact=exact) for rule in known]
            errors = [local_error(reference, predicted(rule, reference)).total for rule in tried]
            at = min(range(len(tried)), key=lambda i: max(errors[i], 1.0))
            if errors[at] <= _MOST_ERROR:
                yield Fit({"rule": tried[at]}, words_of(tried[at]))
                return
            factor, _ = fitted_factor(tried[at], reference)
            rule = replace(tried[at], factor=factor)
            yield Fit({"rule": rule}, words_of(rule))

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["rule"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        rule: Rule = fit.values["rule"]
        for text, parameter, ours, theirs, changed in changes(rule, candidate):
            yield Hypothesis(
                "routing", text, partial(predicted, changed, candidate), parameter, ours, theirs
            )
        factor, error = fitted_factor(rule, candidate)
        text = f"scores are multiplied by {factor:.6g} where the reference has {rule.factor:.6g}"
        yield Hypothesis(
            "routing", text, partial(predicted, replace(rule, factor=factor), candidate), "factor",
            number_words(rule.factor), f"{factor:.6g}", number_words(error), 1,
        )  # fmt: skip
        yield from output_hypotheses(predicted(rule, candidate), candidate)


@dataclass(frozen=True)
class Router:
    """Where a router's records are: logits, the chosen experts' numbers and what they count."""

    router: str
    experts: str
    logits: Key
    chosen: Key | None
    weights: Key | None


def routers(scene: Scene) -> Iterator[Router]:
    """Every router whose logits both sides have."""
    side = scene.reference
    for experts, step, call in list(side.calls):
        if side.role(experts) != "experts":
            continue
        parent = parent_of(experts)
        siblings = [m for m in side.children.get(parent, ()) if _may_route(side, m)]
        for router in siblings:
            logits = Key(router, "output", step, call)
            if not all(logits in s.known and s.known[logits].is_float for s in scene.sides):
                continue
            chosen, weights = _choices(scene, router, experts, step, call)
            yield Router(router, experts, logits, chosen, weights)
            break


def _may_route(side: SideQuantities, module: str) -> bool:
    """A router by its class or name; `gate` of a mixture has the canonical name `gate_proj`."""
    return side.role(module) in ("router", "gate")


def _choices(
    scene: Scene, router: str, experts: str, step: int, call: int
) -> tuple[Key | None, Key | None]:
    """The numbers of the chosen experts, and what they count: what the experts were given, else
    what the router returned.
    """
    for module, part in ((experts, "input"), (router, "output")):
        found = [
            q for q in scene.reference.calls.get((module, step, call), ())
            if q.key.slot.startswith(part) and q.key in scene.candidate.known
        ]  # fmt: skip
        numbers = [q for q in found if not q.is_float and len(scene.tables.shape(q)) > 1]
        for number in numbers:
            shape = scene.tables.shape(number)
            alike = [q.key for q in found if q.is_float and scene.tables.shape(q) == shape]
            if alike:
                return number.key, alike[0]
    return None, None


def scattered(numbers: Array, values: Array, experts: int) -> Array | None:
    """`[rows, experts]` with the values of the chosen ones; None where a number is none of an
    expert's. Numbers of one more than there are mark what is not routed.
    """
    if numbers.shape != values.shape or numbers.min(initial=0) < 0:
        return None
    if numbers.max(initial=0) > experts:
        return None
    dense = np.zeros((len(numbers), experts + 1))
    np.add.at(dense, (np.arange(len(numbers))[:, None], numbers), values)
    return dense[:, :experts]


def chosen_of(rule: Rule, logits: Array, unit: float, recorded: Array | None) -> Array:
    """`[rows, experts]`, true for the chosen ones: those recorded where they are the best within
    rounding, else the best.
    """
    by = rule.choice(logits)
    order = np.argsort(-by, axis=1, kind="stable")[:, : rule.count]
    best = np.zeros(by.shape, bool)
    np.put_along_axis(best, order, True, axis=1)
    if recorded is None:
        return best
    taken = recorded > 0
    worst = np.where(taken, by, np.inf).min(1)
    missed = np.where(taken, -np.inf, by).max(1)
    steepest = 0.25 if rule.scores == "sigmoid" else 1.0
    margin = _MARGIN * unit * (steepest * np.abs(logits).max(1) + np.abs(by[best]).max())
    right = (taken.sum(1) == rule.count) & (worst >= missed - margin)
    return np.where(right[:, None], taken, best)


def predicted(rule: Rule, case: Case) -> Prediction:
    """What the rule gives for a case's logits."""
    logits, units = case.inputs["logits"], case.units
    chosen = chosen_of(rule, logits, units["logits"], case.more.get("chosen"))

    # Scores are worked out in float32, whatever the logits are.
    unit = min(units["logits"], _FLOAT32) if rule.exact else units["logits"]

    def draw(jitter: Jitter) -> Array:
        return rule.weighed(jitter(logits, unit), chosen)

    value = draw(STILL)
    moved = [draw(Jitter(seed)) for seed in range(_DRAWS)]
    spread = spread_of(value, moved, units["output"])
    # An expert that was not to be chosen has no rounding of its own: that of its row counts.
    rows = np.sqrt(np.square(spread).mean(1, keepdims=True))
    return Prediction(value, np.maximum(spread, 0.1 * rows))


def fitted_factor(rule: Rule, case: Case) -> tuple[float, float]:
    """The factor that fits a case best, and its standard error."""
    value = predicted(replace(rule, factor=1.0), case).value
    squares = np.square(value).sum(1)
    usable = (squares > 0) & np.isfinite(case.output).all(1)
    if not usable.any():
        return 1.0, np.inf
    factors = (value * case.output)[usable].sum(1) / squares[usable]
    factor = float(np.median(factors))
    scatter = 1.4826 * float(np.median(np.abs(factors - factor))) / len(factors) ** 0.5
    return factor, float(np.hypot(1.25 * scatter, 0.1 * case.units["output"] * factor))


def rules(scene: Scene, router: str, count: int) -> Iterator[Rule]:
    """The rules there are, what the config says first."""
    config = text_config(scene.config)
    factor = _number(config, "routed_scaling_factor") or 1.0
    said = config.get("norm_topk_prob")
    groups = int(_number(config, "n_group") or 1), int(_number(config, "topk_group") or 1)
    found = scene.parameters.weight(router, _BIAS) if scene.parameters is not None else None
    bias = () if found is None else tuple(float(v) for v in found.read().reshape(-1))
    sigmoids = bool(bias) or config.get("scoring_func") == "sigmoid"
    for scores in ("sigmoid", "softmax") if sigmoids else ("softmax", "sigmoid"):
        for normalised in (False, True) if said is False else (True, False):
            for own in dict.fromkeys((factor, 1.0)):
                yield Rule(scores, normalised, count, own, groups, bias)


def changes(rule: Rule, case: Case) -> Iterator[tuple[str, str, str, str, Rule]]:
    """One change of a rule at a time: text, parameter, the reference's, the candidate's, rule."""
    other = "sigmoid" if rule.scores == "softmax" else "softmax"
    words = ("normalised", "not normalised")
    ours, theirs = words if rule.normalised else words[::-1]
    yield (
        f"scores of the chosen experts are {theirs} where the reference has them {ours}",
        "normalisation", ours, theirs, replace(rule, normalised=not rule.normalised),
    )  # fmt: skip
    changed: Rule = replace(rule, scores=other)
    yield f"{other} where the reference has {rule.scores}", "scores", rule.scores, other, changed
    count = int(case.more.get("count", rule.count))
    for value in dict.fromkeys((count, rule.count - 1, rule.count + 1)):
        if value != rule.count and 0 < value <= case.inputs["logits"].shape[1]:
            yield (
                f"{value} experts per token where the reference has {rule.count}", "experts per "
                                                                                   "token",
                str(rule.count), str(value), replace(rule, count=value),
            )  # fmt: skip
    yield (
        "the least likely experts are chosen", "experts chosen", "the best", "the worst",
        replace(rule, least=True),
    )  # fmt: skip
    yield (
        "all chosen experts are weighted equally", "scores", rule.scores, "equal",
        replace(rule, equal=True),
    )  # fmt: skip
    if rule.factor != 1.0:
        yield (
            f"scores are not multiplied by {number_words(rule.factor)}", "factor",
            number_words(rule.factor), "1", replace(rule, factor=1.0),
        )  # fmt: skip
    if rule.bias:
        yield (
            "experts are chosen without their bias", "bias", "added", "not added",
            replace(rule, bias=()),
        )  # fmt: skip
    if rule.groups[0] > rule.groups[1]:
        yield (
            "experts are chosen from all groups", "groups", str(rule.groups[1]),
            str(rule.groups[0]), replace(rule, groups=(1, 1)),
        )  # fmt: skip


def words_of(rule: Rule) -> dict[str, str]:
    """What a rule is, for people."""
    words = {
        "scores": rule.scores, "normalised": "yes" if rule.normalised else "no",
        "experts per token": str(rule.count), "factor": number_words(rule.factor),
    }  # fmt: skip
    if rule.groups[0] > rule.groups[1]:
        words["groups"] = f"{rule.groups[1]} of {rule.groups[0]}"
    return words


def _number(config: Mapping[str, Any], name: str) -> float | None:
    value = config.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    return None
