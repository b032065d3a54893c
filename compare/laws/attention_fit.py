"""The reference's attention: read from its config and records, else searched for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...capture.arrays import Array
from ..fused_weights import text_config
from .attention_form import Angles, Form, Material, alibi_slopes
from .attention_math import attend
from .law import Case, Fit, Scene, Site
from .names import number_words
from .number_fit import narrowed
from .rotary import (
    USUAL_BASES,
    Rotary,
    is_rotary_config,
    partial_factor,
    rotary_of,
    tables,
)
from .rotary_fit import rotary_from

_USUAL_WIDTHS = (64, 128, 32, 80, 96, 256, 16, 48, 72, 112, 192, 8, 24, 40, 160)
_PASSES = 3
_LONGEST = 1 << 30  # tokens that a config's window may have
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True)
class Choice:
    """One variant of the reference's attention that may be tried."""

    form: Form
    rotary: Rotary | None = None


def head_counts(config: Mapping[str, Any]) -> tuple[int, int]:
    """Query heads and key heads by a config; zeros where it does not say."""
    config = text_config(config)
    heads = next((n for name in _HEADS if (n := _count(config.get(name)))), 0)
    kv_heads = next((n for name in _KV_HEADS if (n := _count(config.get(name)))), heads)
    return heads, kv_heads if kv_heads and heads % kv_heads == 0 else heads


_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")


def _count(value: object, most: int = 4096) -> int:
    """A positive whole number of a config, else 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
        return value
    return 0


def fitting(form: Form, material: Material, rotary: Rotary | None) -> Material | None:
    """The material for a form: with tables made from `rotary` where none were recorded. None where
    widths do not fit the form.
    """
    q, k, v = (m.shape[1] for m in (material.q, material.k, material.v))
    if q % form.heads or k % form.kv_heads or v % form.kv_heads:
        return None
    width = q // form.heads
    if width != k // form.kv_heads or form.rotated > width:
        return None
    if form.style == "none" or not form.rotated:
        return material
    if material.angles is not None:
        return material if material.angles.cos_q.shape[1] == form.rotated else None
    if rotary is None:
        return None
    return material.with_angles(made_angles(rotary, material))


def made_angles(rotary: Rotary, material: Material, moved: Array | None = None) -> Angles:
    """Tables of all tokens by their places in their sequences; `moved` is added to the positions of
    the keys' tokens (and of the queries, which are keys, too).
    """
    length = material.length
    by_place = np.arange(length, dtype=np.float64)
    if moved is not None:
        by_place = by_place + moved
    cos, sin = tables(rotary, by_place, "half", length)
    return Angles(
        cos[material.place_q], sin[material.place_q], cos[material.place_k], sin[material.place_k]
    )


def fits(scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
    """The likeliest form; where the reference does not keep to it, the best that a search over one
    part of the form after another finds.
    """
    material: Material = reference.more["material"]
    choices = [c for c in _likeliest(scene, site, reference) if _fits(c, material)]
    yield from (_as_fit(choice, reference) for choice in choices[:2])
    if choices:
        yield from (_as_fit(c, reference) for c in _searched(scene, site, choices, reference))


def misfit(choice: Choice, case: Case) -> float:
    """Median over rows of |recorded - predicted| / |recorded|; infinity where it cannot be."""
    material = fitting(choice.form, case.more["material"], choice.rotary)
    if material is None:
        return math.inf
    value = attend(choice.form, material).value
    if value.shape != case.output.shape:
        return math.inf
    y = np.where(np.isfinite(case.output), case.output, 0.0)
    size = np.linalg.norm(y, axis=1)
    left = np.linalg.norm(y - value, axis=1)
    usable = size > 0
    return float(np.median(left[usable] / size[usable])) if usable.any() else math.inf


def _fits(choice: Choice, material: Material) -> bool:
    return fitting(choice.form, material, choice.rotary) is not None


def _likeliest(scene: Scene, site: Site, case: Case) -> Iterator[Choice]:
    material: Material = case.more["material"]
    for heads, kv_heads in _counts(scene, site, case):
        width = material.q.shape[1] // heads
        if width * heads != material.q.shape[1]:
            continue
        form = Form(
            heads, kv_heads, _scale(scene.config, width),
            mask="recorded" if material.bias is not None else _plain_mask(scene),
            window=None if material.bias is not None else config_window(scene, site),
            softcap=_softcap(scene.config), sinks=_sinks(scene, site, heads),
            slopes=_slopes(scene.config, heads),
        )  # fmt: skip
        yield from _with_rotary(scene, form, material, width)


def _with_rotary(scene: Scene, form: Form, material: Material, width: int) -> Iterator[Choice]:
    if material.angles is not None:
        form = replace(form, rotated=material.angles.cos_q.shape[1])
        known = rotary_of(scene.config, form.rotated, width)
        yield Choice(form, known[0] if known else _tables_rotary(material))
        return
    rotated = int(width * partial_factor(scene.config)) // 2 * 2
    known = rotary_of(scene.config, rotated, width)
    for rotary in known:
        yield Choice(replace(form, rotated=rotated), rotary)
    if not known and (scene.config or form.slopes is not None):
        yield Choice(replace(form, style="none"))
    elif not known:
        yield Choice(replace(form, rotated=width), Rotary(width))


def _tables_rotary(material: Material) -> Rotary | None:
    """How the recorded tables turn, for the side that has none."""
    angles = material.angles
    if angles is None:
        return None
    return rotary_from(angles.cos_k, angles.sin_k, material.place_k)


def _counts(scene: Scene, site: Site, case: Case) -> Iterator[tuple[int, int]]:
    """Numbers of query and key heads: the config's, those of recorded probabilities or tables, else
    by usual widths.
    """
    material: Material = case.more["material"]
    q, k = material.q.shape[1], material.k.shape[1]
    given = head_counts(scene.config)
    if given[0]:
        yield given
        if given[1] != given[0]:
            return
    widths: list[int] = []
    recorded = _recorded_heads(scene, site)
    if recorded and q % recorded == 0:
        widths.append(q // recorded)
    if material.angles is not None:
        widths.append(material.angles.cos_q.shape[1])
    widths += _USUAL_WIDTHS
    for width in dict.fromkeys(widths):
        if q % width == 0 and k % width == 0 and (q // width) % (k // width) == 0:
            yield q // width, k // width


def _recorded_heads(scene: Scene, site: Site) -> int:
    """Heads of recorded attention probabilities `[batch, heads, tokens, keys]`."""
    for side in scene.sides:
        for slot in ("output_1", "output_attentions"):
            found = side.find(site.module, slot, site.target.step)
            if found is not None and len(scene.tables.shape(found)) == 4:
                return scene.tables.shape(found)[1]
    return 0


def _scale(config: Mapping[str, Any], width: int) -> float:
    config = text_config(config)
    given = config.get("query_pre_attn_scalar")
    if isinstance(given, int | float) and given > 0:
        return float(given) ** -0.5
    given = config.get("attention_multiplier")
    if isinstance(given, int | float) and given > 0:
        return float(given)
    return width**-0.5


def _softcap(config: Mapping[str, Any]) -> float | None:
    given = text_config(config).get("attn_logit_softcapping")
    return float(given) if isinstance(given, int | float) and given > 0 else None


def _sinks(scene: Scene, site: Site, heads: int) -> Array | None:
    weight = scene.parameters.weight(site.module, "sinks") if scene.parameters else None
    if weight is None or weight.shape != (heads,):
        return None
    return weight.read().astype(np.float64)


def _slopes(config: Mapping[str, Any], heads: int) -> Array | None:
    config = text_config(config)
    attention = config.get("attn_config")
    inner = attention.get("alibi") if isinstance(attention, Mapping) else None
    told = config.get("alibi") or inner or config.get("model_type") == "bloom"
    return alibi_slopes(heads) if told else None


def _plain_mask(scene: Scene) -> Any:
    """The mask where none is recorded: encoders have none."""
    config = text_config(scene.config)
    encoder = config.get("position_embedding_type") is not None and not config.get("is_decoder")
    return "none" if encoder else "causal"


def config_window(scene: Scene, site: Site) -> int | None:
    """How many keys a query of this layer sees, by the config; None for all."""
    config = text_config(scene.config)
    window = _count(config.get("sliding_window"), _LONGEST)
    if not window or config.get("use_sliding_window") is False:
        return None
    kinds, found = config.get("layer_types"), _LAYER.search(site.module + ".")
    if isinstance(kinds, Sequence) and found is not None:
        number = int(found.group(1))
        if number < len(kinds) and "sliding" not in str(kinds[number]):
            return None
    return window


# a search, one part of the form after another


def _searched(scene: Scene, site: Site, choices: list[Choice], case: Case) -> Iterator[Choice]:
    """The best form that changes of one part at a time lead to."""
    ranked = sorted(((misfit(c, case), i) for i, c in enumerate(choices)))
    best, error = choices[ranked[0][1]], ranked[0][0]
    for _ in range(_PASSES):
        start = error
        for other in _changes(scene, site, best, case):
            new = misfit(other, case)
            if new < 0.9 * error:
                best, error = other, new
        if error > 0.9 * start:
            break
    if error > 1e-6:
        tuned = _tuned_scale(best, case)
        if misfit(tuned, case) < 0.5 * error:
            best = tuned
    yield best


def _changes(scene: Scene, site: Site, choice: Choice, case: Case) -> Iterator[Choice]:
    form, material = choice.form, case.more["material"]
    width = material.q.shape[1] // form.heads
    masks: list[tuple[Any, int | None]] = [("causal", None), ("none", None)]
    window = config_window(scene, site)
    if window is not None:
        masks.append(("causal", window))
    if material.bias is not None:
        masks += [("recorded", None), ("recorded", window)]
    for mask, limit in masks:
        yield replace(choice, form=replace(form, mask=mask, window=limit))
    if material.angles is None and not is_rotary_config(scene.config):
        for base in USUAL_BASES:
            yield Choice(replace(form, style="half", rotated=width), Rotary(width, base))
    for style in ("half", "interleaved", "none"):
        yield replace(choice, form=replace(form, style=style))
    for scale in (width**-0.5, 1.0, 1.0 / width, material.q.shape[1] ** -0.5):
        yield replace(choice, form=replace(form, scale=scale))
    if form.kv_heads not in (1, form.heads):
        yield replace(choice, form=replace(form, repetition="tiled"))
    for slopes in (None, alibi_slopes(form.heads)):
        yield replace(choice, form=replace(form, slopes=slopes))
    if form.softcap:
        yield replace(choice, form=replace(form, softcap=None))


def _tuned_scale(choice: Choice, case: Case) -> Choice:
    """The scale that fits the reference best, by a search over its logarithm."""

    def at(log: float) -> float:
        return misfit(replace(choice, form=replace(choice.form, scale=math.exp(log))), case)

    middle = math.log(choice.form.scale)
    grid = middle + np.linspace(-3, 3, 25)
    best = float(grid[int(np.argmin([at(float(g)) for g in grid]))])
    scale = math.exp(narrowed(at, best - 0.25, best + 0.25))
    return replace(choice, form=replace(choice.form, scale=scale))


def _as_fit(choice: Choice, case: Case) -> Fit:
    form, material = choice.form, case.more["material"]
    width = material.q.shape[1] // form.heads
    words = {
        "heads": f"{form.heads} of {width}"
        + (f", {form.kv_heads} key heads" if form.kv_heads != form.heads else ""),
        "scale": scale_words(form.scale, width),
        "mask": mask_words(form),
        "rotary": rotary_words(form, choice.rotary, material.angles is not None),
    }
    if form.kv_heads not in (1, form.heads):
        words["repetition"] = form.repetition
    for name, value in (("softcap", form.softcap), ("sinks", form.sinks), ("alibi", form.slopes)):
        if value is not None:
            words[name] = number_words(value) if isinstance(value, float) else "yes"
    return Fit({"form": form, "rotary": choice.rotary}, words)


def scale_words(scale: float, width: int) -> str:
    """`1/sqrt(64)`, else the number."""
    if abs(scale * width**0.5 - 1) < 1e-9:
        return f"1/sqrt({width})"
    return number_words(scale)


def mask_words(form: Form) -> str:
    words = {"recorded": "as recorded", "causal": "causal", "none": "none"}[form.mask]
    return words if form.window is None else f"{words}, window {form.window}"


def rotary_words(form: Form, rotary: Rotary | None, recorded: bool) -> str:
    if form.style == "none" or not form.rotated:
        return "none"
    if recorded:
        return f"{form.style}, recorded tables"
    return f"{form.style}, {rotary.words()}" if rotary is not None else form.style
