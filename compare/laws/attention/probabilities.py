"""Recorded probabilities of attention: they are the softmax of the scores of queries and keys, and
what the output projection is given is their product with the values.

The sampled rows are those of `[batch, heads, queries, keys]`, one head of one query each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ...measuring.bounded_sample import UNREADABLE
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..names import kind_name, measured_words, number_words
from ..numerics.number_fit import fitted_number
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import ROUNDED, unit_of
from .choice import fitting
from .config import head_counts
from .fit import as_fit, likeliest
from .form import Form, Material
from .inputs import over_steps, read_material
from .law import attention_targets, columns, holder_of, sources
from .math import (
    QUERY_DRAWS,
    Signs,
    moved_by_queries,
    probabilities,
    roundings,
    score_variance,
)
from .scores import head_parts
from .spans import spans_of

_SLOTS = ("output_1", "output_2", "output_attentions", "output_attn_weights")
_MOST_FORMS = 4  # of the reference that are tried
_SUM = 0.02  # that probabilities of one query may be off one by, in a narrow dtype
_FACTORS = np.linspace(-3.0, 3.0, 25)  # logarithms
_SURE = 3.0  # standard errors within which a fitted scale is a plain one
_FINE = 2.0**-24  # what softmax is computed in


@dataclass(frozen=True)
class Lines:
    """Which row of the material and which head each row of the target is, and the place of every
    key in its sequence.
    """

    rows: Array
    heads: Array
    width: int


class ProbabilitiesLaw:
    """The law of recorded probabilities."""

    name = "attention-probabilities"
    whole_sequences = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for module, target in attention_targets(scene):
            holder = holder_of(target, module)
            key = recorded_probabilities(scene, holder, target)
            if key is None:
                continue
            for inputs in sources(scene, holder, target):
                given = (*inputs, ("tokens", (target,)))
                yield Site(self.name, holder, key, kind_name(key), given)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known[site.target]
        shape = scene.tables.shape(target)
        if len(shape) != 4:
            return None
        (tokens,) = site.source("tokens")
        heads = head_counts(scene.config)[0] or shape[1]
        inner = replace(site, target=tokens, groups=heads)
        width = scene.tables.shape(scene.reference.known[tokens])[-1]
        own = columns(scene, inner, width)
        if own is None:
            return None
        batch, head, query = np.unravel_index(rows, shape[:3])
        taken, place = np.unique(batch * shape[2] + query, return_inverse=True)
        found = read_material(scene, inner, side, taken, own)
        if found is None:
            return None
        at = np.full(len(taken), -1)
        at[found.kept] = np.arange(len(found.kept))
        kept = at[place] >= 0
        output = scene.tables.read(target, rows[kept])
        units = {**found.units, "output": unit_of(output, target.dtype)}
        lines = Lines(at[place[kept]], head[kept], output.shape[1])
        # What attention gave is not looked at: only its width says how many heads there are.
        more: dict[str, Any] = {"material": found.material, "lines": lines, "width": width}
        return Case(side.side, output, rows[kept], {}, units, (), more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        wide = np.zeros((len(reference.more["material"].q), reference.more["width"]))
        case = replace(reference, output=wide)
        for number, choice in enumerate(likeliest(scene, site, case)):
            if number == _MOST_FORMS:
                return
            yield as_fit(choice, case)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [predicted(fit.values["form"], fit, case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        form: Form = fit.values["form"]
        base = predicted(form, fit, candidate)
        if base is None:
            return
        for name, text, parameter, ours, theirs, changed in _changes(form):
            yield Hypothesis(
                name, text, lambda changed=changed: predicted(changed, fit, candidate), parameter,
                ours, theirs,
            )  # fmt: skip
        yield from _scale(form, fit, candidate, base)
        yield from output_hypotheses(base, candidate, site.groups)


def recorded_probabilities(scene: Scene, holder: str, target: Key) -> Key | None:
    """The record of both sides that holds probabilities `[batch, heads, queries, keys]`."""
    for slot in _SLOTS:
        key = Key(holder, slot, target.step, target.call)
        known = [side.known.get(key) for side in scene.sides]
        if any(q is None or not q.is_float for q in known):
            continue
        try:
            if all(q is not None and len(scene.tables.shape(q)) == 4 for q in known):
                first = scene.tables.read(scene.reference.known[key], np.arange(1))
                if abs(float(first.sum()) - 1.0) < _SUM and (first >= 0).all():
                    return key
        except UNREADABLE:
            continue
    return None


def predicted(form: Form, fit: Fit, case: Case) -> Prediction | None:
    """The probabilities at a case's lines, and how far rounding moves them: with an error e_k of
    the score of key k, p_j moves by p_j (e_j - sum_k p_k e_k).
    """
    material: Material | None = fitting(form, case.more["material"], fit.values.get("rotary"))
    lines: Lines = case.more["lines"]
    if material is None or lines.heads.max(initial=0) >= form.heads:
        return None
    rounding = roundings(case.units)[-1]  # what records probabilities rounds its scores
    value = np.zeros((len(material.q), form.heads, lines.width))
    squares = np.zeros_like(value)
    signs = Signs()
    for part in head_parts(form, material, rounding):
        p = probabilities(form, part)
        by_key, slope = score_variance(form, rounding, part)
        common = (np.square(p) * by_key).sum(-1, keepdims=True)
        own = np.square(p) * (by_key * (1 - 2 * np.minimum(p, 0.5)) + common)
        for moved in moved_by_queries(form, part, p * slope, signs):
            own = own + np.square(moved) / QUERY_DRAWS
        own = own + np.square(2 * ROUNDED * _FINE * p)
        places = material.place_k[part.keys]
        if places.max(initial=0) >= lines.width:
            return None
        grid = np.ix_(part.rows, part.heads, places)
        value[grid], squares[grid] = np.moveaxis(p, 0, 1), np.moveaxis(own, 0, 1)
    found, spread = value[lines.rows, lines.heads], squares[lines.rows, lines.heads]
    return Prediction(found, np.sqrt(spread + np.square(ROUNDED * case.units["output"] * found)))


def _changes(form: Form) -> Iterator[tuple[str, str, str, str, str, Form]]:
    """One change at a time: name, text, parameter, the reference's, the candidate's, form."""
    for mask in ("causal", "recorded", "both", "none"):
        if mask != form.mask:
            words = "no mask" if mask == "none" else f"the mask: {mask}"
            text = f"{words} where the reference has {form.mask}"
            yield "attention-mask", text, "mask", form.mask, mask, replace(form, mask=mask)
    for shift in (1, -1):
        text = f"a query sees one key {'more' if shift > 0 else 'less'}"
        changed = replace(form, mask="causal", shift=form.shift + shift)
        yield "attention-mask", text, "diagonal", "0", f"{shift:+d}", changed
    if form.window is not None:
        changed = replace(form, window=None)
        yield "attention-mask", "no window", "window", str(form.window), "none", changed
    for style in ("half", "interleaved", "none"):
        if style != form.style and form.rotated:
            text = f"rotated in the {style} style where the reference has {form.style}"
            yield "rope-style", text, "style", form.style, style, replace(form, style=style)
    if form.rotated and form.style != "none":
        changed = replace(form, direction=-form.direction)
        text = "the rotation is in the opposite direction (sign of sin)"
        yield "rope-direction", text, "direction", "1", "-1", changed
    if form.softcap:
        changed = replace(form, softcap=None)
        yield "softcap", "scores are not capped", "cap", number_words(form.softcap), "none", changed
    if form.sinks is not None:
        yield "sinks", "no sinks", "sinks", "yes", "no", replace(form, sinks=None)
    if form.slopes is not None:
        yield "alibi", "no ALiBi", "slopes", "yes", "no", replace(form, slopes=None)
    if form.kv_heads not in (1, form.heads):
        other = "tiled" if form.repetition == "interleaved" else "interleaved"
        text = f"key heads are {other} where the reference has them {form.repetition}"
        changed = replace(form, repetition=other)
        yield "head-repetition", text, "repetition", form.repetition, other, changed


def _scale(form: Form, fit: Fit, case: Case, base: Prediction) -> Iterator[Hypothesis]:
    """Another scale; from here it is the same as another scale of the queries."""

    def value(log: float) -> Array | None:
        found = predicted(replace(form, scale=form.scale * float(np.exp(log))), fit, case)
        return None if found is None else found.value

    y = np.where(np.isfinite(case.output), case.output, 0.0)
    # Probabilities that are exactly 0 or 1 have no rounding, and say nothing of the scale.
    spread = np.maximum(base.spread, ROUNDED * case.units["output"] * 1e-3)
    found = fitted_number(value, y, spread, _FACTORS)
    if found is None or not found.error < 0.3:
        return
    factor, error, count = float(np.exp(found.value)), found.error, 1
    for plain in (0.5, 2.0, 0.25, 4.0):
        if abs(np.log(plain) - found.value) <= _SURE * error:
            factor, count = plain, 0
    scale = form.scale * factor
    words = measured_words(scale, error * scale)
    text = f"scores are scaled by {words} where the reference has {number_words(form.scale)}"
    changed = replace(form, scale=scale)
    yield Hypothesis(
        "attention-scale", text, lambda: predicted(changed, fit, case), "scale",
        number_words(form.scale), words, number_words(error * scale), count,
    )  # fmt: skip


class WeightedValuesLaw:
    """The law of what probabilities make of the values, where queries or keys are not recorded."""

    name = "attention-values"
    whole_sequences = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for module, target in attention_targets(scene):
            holder = holder_of(target, module)
            key = recorded_probabilities(scene, holder, target)
            if key is None or any(True for _ in sources(scene, holder, target)):
                continue
            for name in ("v_norm", "v_proj", "v"):
                v = Key(f"{holder}.{name}", "output", target.step, target.call)
                if all(v in side.known and side.known[v].is_float for side in scene.sides):
                    given = (("p", (key,)), ("v", (v,)))
                    yield Site(self.name, module, target, kind_name(target), given)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        (key,) = site.source("p")
        target, p = side.known[site.target], side.known[key]
        spans = spans_of(scene, site, "v")
        v = None if spans is None else over_steps(scene, side, site, "v", spans, None)
        shape = scene.tables.shape(p)
        if spans is None or v is None or shape[0] * shape[2] != spans.count:
            return None
        queries, keys = spans.queries, spans.keys
        if len(v[0]) != len(keys.sequence) or shape[3] != int(keys.place.max()) + 1:
            return None
        batch, query = np.divmod(rows, shape[2])
        flat = (batch[:, None] * shape[1] + np.arange(shape[1])) * shape[2] + query[:, None]
        weights = scene.tables.read(p, flat.reshape(-1)).reshape(*flat.shape, -1)
        # `[rows, heads, all keys]`: those of other sequences have no weight.
        own = queries.sequence[rows][:, None] == keys.sequence[None, :]
        weights = weights[:, :, keys.place] * own[:, None]
        output = scene.tables.read(target, rows)
        units = {"output": unit_of(output, target.dtype), "v": v[1]}
        if v[0].shape[1] % shape[1] and output.shape[1] % shape[1]:
            return None
        more = {"p": weights, "v": v[0]}
        return Case(side.side, output, rows, {}, units, (), more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        heads, (width, out) = reference.more["p"].shape[1], (
            reference.more["v"].shape[1], reference.output.shape[1],
        )  # fmt: skip
        size, left = divmod(out, heads)
        if left or not size or width % size or heads % (width // size):
            return
        kv_heads = width // size
        for tiled in (False, True) if kv_heads not in (1, heads) else (False,):
            words = {"heads": f"{heads} of {size}", "repetition": _repetition(tiled)}
            yield Fit({"kv_heads": kv_heads, "tiled": tiled}, words)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [weighted(fit.values["kv_heads"], fit.values["tiled"], case) for case in cases]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        kv_heads, tiled = fit.values["kv_heads"], fit.values["tiled"]
        heads = candidate.more["p"].shape[1]
        base = weighted(kv_heads, tiled, candidate)
        if kv_heads not in (1, heads):
            ours, theirs = _repetition(tiled), _repetition(not tiled)
            yield Hypothesis(
                "head-repetition", f"value heads are {theirs} where the reference has them {ours}",
                lambda: weighted(kv_heads, not tiled, candidate), "repetition", ours, theirs,
            )  # fmt: skip
        order = _heads_looked_at(kv_heads, candidate)
        if order is not None and order != heads_of(kv_heads, heads, tiled):
            shown = ", ".join(map(str, order[:8])) + (", ..." if heads > 8 else "")
            yield Hypothesis(
                "head-order", f"the heads look at the value heads {shown}",
                lambda: weighted(kv_heads, tiled, candidate, order), "value heads", "in order",
                shown,
            )  # fmt: skip
        if base is not None:
            yield from output_hypotheses(base, candidate, heads)


def heads_of(kv_heads: int, heads: int, tiled: bool) -> list[int]:
    """Which value head each query head looks at."""
    return [h % kv_heads if tiled else h // (heads // kv_heads) for h in range(heads)]


def _heads_looked_at(kv_heads: int, case: Case) -> list[int] | None:
    """The value heads that fit each query head best."""
    p, v = case.more["p"], case.more["v"]
    heads = p.shape[1]
    by_head = v.reshape(len(v), kv_heads, -1)
    y = np.where(np.isfinite(case.output), case.output, 0.0)
    if kv_heads < 2 or y.shape[1] != heads * by_head.shape[2]:
        return None
    y = y.reshape(len(p), heads, -1)
    return [
        int(
            np.argmin([np.square(y[:, h] - p[:, h] @ by_head[:, k]).sum() for k in range(kv_heads)])
        )
        for h in range(heads)
    ]


def _repetition(tiled: bool) -> str:
    return "tiled" if tiled else "interleaved"


def weighted(
    kv_heads: int, tiled: bool, case: Case, order: Sequence[int] | None = None
) -> Prediction | None:
    """Probabilities times values `[rows, heads x width]`; `order` are the value heads that query
    heads look at, where it is another one.
    """
    p, v = case.more["p"], case.more["v"]
    heads = p.shape[1]
    if v.shape[1] % kv_heads or heads % kv_heads:
        return None
    by_head = v.reshape(len(v), kv_heads, -1)
    of = order or heads_of(kv_heads, heads, tiled)
    value = np.stack([p[:, h] @ by_head[:, of[h]] for h in range(heads)], 1)
    inner = [np.square(p[:, h]) @ np.square(by_head[:, of[h]]) for h in range(heads)]
    value, squares = value.reshape(len(p), -1), np.stack(inner, 1).reshape(len(p), -1)
    if value.shape != case.output.shape:
        return None
    unit = case.units["output"]
    # Sums are made in float32 and rounded, or term by term in the record's own arithmetic.
    fine = ROUNDED * min(unit, _FINE)
    return Prediction(value, np.sqrt(np.square(ROUNDED * unit * value) + fine**2 * squares))
