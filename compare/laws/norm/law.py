"""Normalisation: y = x / sqrt(mean(x^2) + eps) * weight (RMS norm), or that of x - mean(x), plus a
bias (layer norm). Zhang and Sennrich, 2019; Ba, Kiros and Hinton, 2016.

The weight and the bias are read from the checkpoint, or fitted to the reference by least squares;
eps is read from the config, or found: for given weights every row has an estimate of its own,

    eps_i = 1 / s_i^2 - mean(x_i^2),   s_i the slope of y_i over x_i * weight,

and its standard error follows from that of the slope. Rows with a small mean square tell eps well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..config_names import EPS_NAMES
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source, read_case
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from ..residual.carried import carried_sum, whole
from .causes import eps_hypotheses, kind_hypotheses, weight_hypotheses
from .fitting import as_fit, fitted
from .form import Kind, Norm, epsilons, estimate_eps, predicted


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
            for eps in epsilons(given, norm, reference):
                found = True
                yield as_fit(replace(norm, eps=eps), offset, read=True)
            eps, error = estimate_eps(norm, reference)
            yield as_fit(replace(norm, eps=eps, eps_error=error), offset, read=True)
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
        yield from eps_hypotheses(norm, candidate)
        yield from kind_hypotheses(norm, candidate)
        yield from weight_hypotheses(scene, site, fit, norm, candidate)
        yield from output_hypotheses(predicted(norm, candidate), candidate, site.groups)


def _config_eps(config: Mapping[str, Any]) -> list[float]:
    found = []
    for part in (config, config.get("text_config") or {}):
        values = (part.get(name) for name in EPS_NAMES) if isinstance(part, Mapping) else ()
        found += [float(v) for v in values if isinstance(v, int | float) and 0 <= v < 1]
    return list(dict.fromkeys(found))


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
    streams = side.streams.get(key.step, [])
    end = 0 if own is None else bisect_left(streams, own.row, key=lambda q: q.row)
    return [q.key for q in streams[max(0, end - 2) : end][::-1]]
