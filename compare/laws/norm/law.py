"""Normalisation: y = x / sqrt(mean(x^2) + eps) * weight (RMS norm), or that of x - mean(x), plus a
bias (layer norm). Zhang and Sennrich, 2019; Ba, Kiros and Hinton, 2016.

The weight and the bias are read from the checkpoint, or fitted to the reference by least squares;
eps is read from the config, or found: for given weights every row has an estimate of its own,

    eps_i = 1 / s_i^2 - mean(x_i^2),   s_i the slope of y_i over x_i * weight,

and its standard error follows from that of the slope. Rows with a small mean square tell eps well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ....capture.values import Array
from ...matching.canonical import parent_of
from ..config_names import EPS_NAMES
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from ..names import kind_name, number_words
from ..numerics.number_fit import narrowed
from ..numerics.quantities import Key, Quantity, SideQuantities
from ..numerics.rounding import STILL, Jitter, spread_of
from ..residual.carried import carried_sum, whole

Kind = Literal["rms", "layer", "none"]
_USUAL_EPS = (1e-5, 1e-6, 1e-8, 1e-12, 0.0)
_KINDS: dict[Kind, str] = {"rms": "RMS norm", "layer": "layer norm", "none": "no norm"}
_DRAWS = 2
_STEPS = 48  # of the search for an epsilon
_SURE = 4.0  # standard errors that an epsilon must be off by to be another one
_FEWEST = 4  # rows from which a weight may be fitted


@dataclass(frozen=True)
class Norm:
    """The parameters of a norm; `weight` is what the normalised input is multiplied with (a stored
    weight plus `offset`), None for one; `eps_error` the standard error of a fitted epsilon.
    """

    kind: Kind
    eps: float
    weight: Array | None = None
    bias: Array | None = None
    offset: float = 0.0
    eps_error: float = 0.0
    precise: bool = True

    def apply(self, x: Array, units: Mapping[str, float], jitter: Jitter = STILL) -> Array:
        """The norm of rows; jittered as rounding of the input, and of the normalised rows,
        would.
        """
        x = jitter(x, units["x"])
        if self.kind == "layer":
            x = x - x.mean(-1, keepdims=True)
        if self.kind != "none":
            x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + self.eps)
        x = jitter(x, units["output"])
        if self.weight is not None:
            x = x * self.weight
        return x if self.bias is None else x + self.bias


class NormLaw:
    """The law of normalisation."""

    name = "norm"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if not key.slot.startswith("output") or scene.reference.role(key.module) != "norm":
                continue
            if key not in scene.candidate.known or key.slot not in ("output", "output_0"):
                continue
            for source in _sources(scene, key):
                yield Site(self.name, key.module, key, kind_name(key), (("x", source),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        given = tuple(part for key in site.source("x") for part in whole(scene, side, key))
        case = read_case(scene, replace(site, inputs=(("x", given),)), side, rows, ("x",))
        if case is None or case.inputs["x"].shape != case.output.shape:
            return None
        width = self._width(scene, site, case.output.shape[1])
        if width == case.output.shape[1]:
            return case
        x = case.inputs["x"].reshape(-1, width)
        return replace(
            case, output=case.output.reshape(-1, width), inputs={"x": x},
            rows=np.repeat(case.rows, case.output.shape[1] // width),
        )  # fmt: skip

    def _width(self, scene: Scene, site: Site, width: int) -> int:
        """How many channels are normalised together: fewer than a row has, for norms by head."""
        weight = scene.parameters.weight(site.module) if scene.parameters is not None else None
        if weight is None or len(weight.shape) != 1:
            return width
        own = weight.shape[0]
        return own if 0 < own < width and width % own == 0 else width

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        given = _config_eps(scene.config)
        found = False
        for norm, offset in self._stored(scene, site, reference):
            for eps in _epsilons(given, norm, reference):
                found = True
                yield _as_fit(replace(norm, eps=eps), offset, read=True)
            eps, error = estimate_eps(norm, reference)
            yield _as_fit(replace(norm, eps=eps, eps_error=error), offset, read=True)
        if not found or scene.parameters is None:
            yield from fitted(reference)

    def _stored(self, scene: Scene, site: Site, reference: Case) -> Iterator[tuple[Norm, float]]:
        """Variants with the checkpoint's weight: as it is, plus one; RMS and layer norm."""
        if scene.parameters is None:
            return
        weight = scene.parameters.weight(site.module)
        bias = scene.parameters.weight(site.module, "bias")
        width = reference.output.shape[1]
        if weight is None or weight.shape != (width,):
            return
        values = weight.read().astype(np.float64)
        added = None
        if bias is not None and bias.shape == (width,):
            added = bias.read().astype(np.float64)
        kinds: tuple[Kind, ...] = ("layer", "rms") if added is not None else ("rms", "layer")
        for offset in (0.0, 1.0):
            for kind in kinds:
                yield Norm(kind, 0.0, values + offset, added, offset), offset

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        norm: Norm = fit.values["norm"]
        return [predicted(norm, case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        norm: Norm = fit.values["norm"]
        yield from _eps_hypotheses(norm, candidate)
        yield from _kind_hypotheses(norm, candidate)
        yield from _weight_hypotheses(scene, site, fit, norm, candidate)
        yield from output_hypotheses(predicted(norm, candidate), candidate, site.groups)


def predicted(norm: Norm, case: Case) -> Prediction:
    """What the norm gives for the case's input."""
    x = case.inputs["x"]
    value = norm.apply(x, case.units)
    moved = [norm.apply(x, case.units, Jitter(seed)) for seed in range(_DRAWS)]
    return Prediction(value, spread_of(value, moved, case.units["output"]))


def estimate_eps(norm: Norm, case: Case) -> tuple[float, float]:
    """Epsilon of rows under a given weight and its standard error; not below 0."""
    x, y = case.inputs["x"], case.output
    if norm.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    if norm.bias is not None:
        y = y - norm.bias
    z = x if norm.weight is None else x * norm.weight
    zz = np.square(z).sum(1)
    mean = np.square(x).mean(1)
    usable = (zz > 0) & (mean > 0) & np.isfinite(y).all(1)
    if not usable.any():
        return 0.0, math.inf
    slope = np.where(
        usable, (z * np.where(np.isfinite(y), y, 0)).sum(1) / np.where(zz > 0, zz, 1), 0
    )
    usable &= slope > 0
    if not usable.any():
        return 0.0, math.inf
    slope, mean, z, y, zz = slope[usable], mean[usable], z[usable], y[usable], zz[usable]
    estimate = 1.0 / np.square(slope) - mean
    left = np.square(y - slope[:, None] * z).sum(1) / max(1, z.shape[1] - 1)
    unit = case.units["output"]
    relative = np.sqrt(left / zz) / slope + 0.1 * unit / z.shape[1] ** 0.5 + 2.0**-26
    error = 2.0 * relative / np.square(slope)
    weight = 1.0 / np.square(error)
    found = float((estimate * weight).sum() / weight.sum())
    # Rows scatter more than their residuals say where the unrounded input was normalised.
    scatter = float(
        np.sqrt((weight * np.square(estimate - found)).sum() / max(1, len(estimate) - 1))
    )
    return max(0.0, found), max(1.0, scatter) / float(weight.sum()) ** 0.5


def fitted(case: Case) -> Iterator[Fit]:
    """Kind, epsilon and weight fitted to the reference, the better kind first."""
    if len(case.output) < _FEWEST or not np.isfinite(case.output).all():
        return
    found: list[tuple[float, Norm]] = []
    for kind in ("rms", "layer"):
        left, norm = _best_eps(case, kind)
        found.append((left * (1.0 if kind == "rms" else 1.2), norm))
    for _, norm in sorted(found, key=lambda pair: pair[0]):
        yield _as_fit(norm, 0.0, read=False)


def _best_eps(case: Case, kind: Kind) -> tuple[float, Norm]:
    """The least-squares norm of a kind: its epsilon by a search over the logarithm."""
    x = case.inputs["x"]
    centred = x - x.mean(-1, keepdims=True) if kind == "layer" else x
    middle = float(np.median(np.square(centred).mean(1))) or 1.0
    least = float(np.square(centred).mean(1).min()) or middle
    grid = [0.0, *(least * 10.0 ** np.arange(-7, 3, 0.5)), middle]
    errors = [_least_squares(case, kind, eps)[0] for eps in grid]
    at = int(np.argmin(errors))
    ordered = sorted(grid)
    place = ordered.index(grid[at])
    low, high = ordered[max(0, place - 1)], ordered[min(len(ordered) - 1, place + 1)]
    eps = narrowed(lambda e: _least_squares(case, kind, e)[0], low, high, _STEPS)
    if errors[0] <= 1.01 * _least_squares(case, kind, eps)[0]:
        eps = 0.0
    left, norm = _least_squares(case, kind, eps)
    _, error = estimate_eps(norm, case)
    # What a common factor of weight and slope hides: only rows of unlike mean square tell eps.
    mean = np.square(centred).mean(1)
    unlike = float(np.std(1.0 / (mean + eps))) / max(float(np.mean(1.0 / (mean + eps))), 1e-300)
    error = error / max(unlike, 1e-6) if unlike < 1 else error
    return left, replace(norm, eps=eps, eps_error=error)


def _least_squares(case: Case, kind: Kind, eps: float) -> tuple[float, Norm]:
    """The best weight (and bias) by channel for an epsilon, and the relative residual."""
    x, y = case.inputs["x"], case.output
    normal = Norm(kind, eps).apply(x, case.units)
    scale = 1.0 / np.maximum(np.sqrt(np.square(y).mean(1, keepdims=True)), 1e-300)
    u, v = normal * scale, y * scale
    if kind == "layer":
        total = np.square(scale).sum()
        mean_u, mean_v = (u * scale).sum(0) / total, (v * scale).sum(0) / total
        du, dv = u - scale * mean_u, v - scale * mean_v
        weight = (du * dv).sum(0) / np.maximum(np.square(du).sum(0), 1e-300)
        bias: Array | None = mean_v - weight * mean_u
    else:
        weight = (u * v).sum(0) / np.maximum(np.square(u).sum(0), 1e-300)
        bias = None
    left = v - u * weight - (0.0 if bias is None else bias * scale)
    size = float(np.square(v).sum()) or 1.0
    return math.sqrt(float(np.square(left).sum()) / size), Norm(kind, eps, weight, bias)


def _as_fit(norm: Norm, offset: float, read: bool) -> Fit:
    words = {"kind": _KINDS[norm.kind], "eps": eps_words(norm.eps, norm.eps_error)}
    if read:
        words["weight"] = "checkpoint + 1" if offset else "checkpoint"
    else:
        words["weight"] = "fitted"
    free = 0.0 if read else (2.0 if norm.bias is not None else 1.0)
    return Fit({"norm": norm}, words, read, free)


def eps_words(eps: float, error: float) -> str:
    """An epsilon with its uncertainty; where it cannot be told from 0, what it is below."""
    if error and eps < _SURE * error:
        return f"below {number_words(eps + _SURE * error)}"
    return number_words(eps) if not error else f"{number_words(eps)} ± {number_words(error)}"


def _config_eps(config: Mapping[str, Any]) -> list[float]:
    found = []
    for part in (config, config.get("text_config") or {}):
        values = (part.get(name) for name in EPS_NAMES) if isinstance(part, Mapping) else ()
        found += [float(v) for v in values if isinstance(v, int | float) and 0 <= v < 1]
    return list(dict.fromkeys(found))


def _epsilons(given: Sequence[float], norm: Norm, case: Case) -> list[float]:
    """The config's epsilons, and a usual one that the rows say."""
    eps, error = estimate_eps(norm, case)
    usual = [e for e in _USUAL_EPS if abs(e - eps) <= _SURE * error and error < 0.3 * max(e, 1e-12)]
    return list(dict.fromkeys([*given, *usual]))


def _sources(scene: Scene, key: Key) -> Iterator[Source]:
    """What a norm can have been given, the recorded input first."""
    own = scene.reference.main_input(key.module, key.step, key.call)
    if own is not None and own.key in scene.candidate.known:
        yield (own.key,)
        return
    summed = carried_sum(scene, scene.reference, key)
    if summed is not None and summed in scene.candidate.known:
        yield (summed,)
    parent, step = parent_of(key.module), key.step
    stream = scene.reference.main_input(parent, step)
    before = [
        Key(other, "output", step)
        for other in scene.reference.children.get(parent, ())
        if scene.reference.role(other) in ("attention", "mlp", "experts")
    ]
    before = [k for k in before if _earlier(scene.reference, k, key)]
    if stream is not None and before:
        yield (stream.key, before[-1])
    for previous in reversed(before):
        yield (previous,)
    if stream is not None:
        yield (stream.key,)
    else:
        yield from ((k,) for k in _streams_before(scene.reference, key))


def _earlier(side: SideQuantities, first: Key, second: Key) -> bool:
    a, b = side.known.get(first), side.known.get(second)
    return a is not None and b is not None and a.row < b.row


def _streams_before(side: SideQuantities, key: Key) -> list[Key]:
    """Outputs of layers and embeddings returned before a norm, the last ones first."""
    own = side.known.get(key)
    rows: list[Quantity] = [
        q for q in side.known.values()
        if own is not None and q.row < own.row and q.key.step == key.step
        and q.key.slot == "output" and side.role(q.key.module) in ("layer", "embedding")
    ]  # fmt: skip
    return [q.key for q in rows[-2:][::-1]]


def _eps_hypotheses(norm: Norm, case: Case) -> Iterator[Hypothesis]:
    if norm.kind == "none":
        return
    eps, error = estimate_eps(norm, case)
    ours = eps_words(norm.eps, norm.eps_error)
    for value in dict.fromkeys((*_USUAL_EPS, norm.eps * norm.eps)):
        if value != norm.eps and abs(value - eps) <= _SURE * error:
            text = f"eps {number_words(value)} where the reference has {ours}"
            yield _with("eps", replace(norm, eps=value), case, text, "eps", ours,
                        number_words(value), number_words(error))  # fmt: skip
    theirs = eps_words(eps, error)
    text = f"eps {theirs} where the reference has {ours}"
    changed = replace(norm, eps=eps)
    yield _with("eps", changed, case, text, "eps", ours, theirs, number_words(error), 1)


def _kind_hypotheses(norm: Norm, case: Case) -> Iterator[Hypothesis]:
    for kind in ("rms", "layer", "none"):
        if kind == norm.kind:
            continue
        name = "norm-missing" if kind == "none" else "norm-kind"
        text = f"{_KINDS[kind]} where the reference has {_KINDS[norm.kind]}"
        if kind == "none":
            text = "the norm is not applied: the input is passed on"
            bare = Norm("none", 0.0)
            yield _with(name, bare, case, text, "kind", _KINDS[norm.kind], "none")
            text = "the input is multiplied with the weight, but not normalised"
        other = replace(norm, kind=kind)
        yield _with(name, other, case, text, "kind", _KINDS[norm.kind], _KINDS[kind])


def _weight_hypotheses(
    scene: Scene, site: Site, fit: Fit, norm: Norm, case: Case
) -> Iterator[Hypothesis]:
    if norm.weight is None:
        return
    for offset in (1.0, -1.0):
        text = f"weight {'+' if offset > 0 else '-'} 1 where the reference has the weight"
        if norm.offset and offset < 0:
            text = "weight where the reference has weight + 1"
        yield _with("weight-offset", replace(norm, weight=norm.weight + offset), case, text,
                    "weight", "weight", f"weight {offset:+g}")  # fmt: skip
    plain = replace(norm, weight=None)
    yield _with("weight-ignored", plain, case, "the weight is not applied (taken as 1)", "weight",
                "weight", "1")  # fmt: skip
    if norm.bias is not None:
        text = "the bias is not added"
        yield _with("bias", replace(norm, bias=None), case, text, "bias", "added", "not added")
    if not fit.read or scene.parameters is None:
        return
    for module, weight in other_norms(scene, site, norm.weight.shape):
        same_layer = parent_of(module) == parent_of(site.module)
        name = "other-weights" if same_layer else "other-layer"
        values = weight + norm.offset
        text = f"the weight of {module} where the reference has its own"
        yield _with(name, replace(norm, weight=values), case, text, "weight", site.module, module)


def other_norms(scene: Scene, site: Site, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """The weights of all other norms of this width."""
    assert scene.parameters is not None
    for module in scene.reference.classes | dict.fromkeys(k.module for k in scene.reference.known):
        if module == site.module or scene.reference.role(module) != "norm":
            continue
        weight = scene.parameters.weight(module)
        if weight is not None and weight.shape == shape:
            yield module, weight.read().astype(np.float64)


def _with(
    name: str, norm: Norm, case: Case, text: str, parameter: str, reference: str,
    candidate: str, uncertainty: str = "", count: int = 0,
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        name, text, lambda: predicted(norm, case), parameter, reference, candidate, uncertainty,
        count,
    )  # fmt: skip
