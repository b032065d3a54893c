"""The reference's attention: read from its config and records, else searched for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ..law import Case, Fit, Scene, Site
from ..names import number_words
from ..rotary.fit import rotary_from
from ..rotary.frequencies import Rotary, partial_factor, rotary_of
from .choice import Choice, can_be
from .config import (
    config_scale,
    config_slopes,
    config_softcap,
    config_window,
    head_counts,
    is_encoder,
)
from .form import Form, MaskKind, Material

_USUAL_WIDTHS = (64, 128, 32, 80, 96, 256, 16, 48, 72, 112, 192, 8, 24, 40, 160)
ROTATED = "rotated"  # marks a site whose queries and keys were recorded behind the rotation
_MOST_FIRST = 2  # likeliest forms that are tried before a search


def fits(scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
    """The likeliest form, and what the reference kept to in layers before (which comes first where
    no config tells the form); else the best that a search over one part of the form after another
    finds.
    """
    from .search import searched

    if not scene.config:
        yield from _kept(scene, site, reference)
    choices = [c for c in likeliest(scene, site, reference) if can_be(c, reference)]
    yield from (as_fit(choice, reference) for choice in choices[:_MOST_FIRST])
    if scene.config:
        yield from _kept(scene, site, reference)
    if choices:
        yield from (as_fit(c, reference) for c in searched(scene, site, choices, reference))


def _kept(scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
    """What the reference kept to in other layers, the last one first."""
    for fit in reversed(scene.kept.get((site.law, site.kind), [])):
        choice = Choice(fit.values["form"], fit.values["rotary"])
        if can_be(choice, reference):
            yield as_fit(choice, reference)


def likeliest(scene: Scene, site: Site, case: Case) -> Iterator[Choice]:
    """What the config, the recorded tables and the recorded mask say; by usual widths of heads
    where nothing tells their number.
    """
    material: Material = case.more["material"]
    mask = plain_mask(scene, site, material)
    window = None if mask == "recorded" else config_window(scene.config, site.module)
    for heads, kv_heads in counts(scene, site, case):
        width = material.q.shape[1] // heads
        form = Form(
            heads, kv_heads, config_scale(scene.config, width), mask, window,
            softcap=config_softcap(scene.config), sinks=_sinks(scene, site, heads),
            slopes=config_slopes(scene.config, heads),
        )  # fmt: skip
        if site.source(ROTATED):
            yield Choice(replace(form, style="none"))
        else:
            yield from _with_rotary(scene, form, material, width)


def plain_mask(scene: Scene, site: Site, material: Material) -> MaskKind:
    """The likeliest mask: the recorded one; one that only hides padding goes with the causal one,
    unless the keys are those of an encoder.
    """
    encoder = material.crossed or is_encoder(scene.config, site.module)
    if material.bias is not None:
        return "both" if material.padding_only and not encoder else "recorded"
    return "none" if encoder else "causal"


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
        yield Choice(replace(form, style="none"))


def _tables_rotary(material: Material) -> Rotary | None:
    """How the recorded tables turn, for the side that has none."""
    angles = material.angles
    if angles is None:
        return None
    return rotary_from(angles.cos_k, angles.sin_k, material.place_k)


def counts(scene: Scene, site: Site, case: Case) -> list[tuple[int, int]]:
    """Numbers of query and key heads: the config's, those of recorded probabilities or tables, else
    by usual widths.
    """
    material: Material = case.more["material"]
    q, k, v, out = (
        m.shape[1] for m in (material.q, material.k, material.v, case.output)
    )  # fmt: skip
    found = [head_counts(scene.config)]
    recorded = recorded_heads(scene, site)
    widths = [q // recorded] if recorded and q % recorded == 0 else []
    if material.angles is not None and not recorded:
        widths.append(material.angles.cos_q.shape[1])
    widths += _USUAL_WIDTHS if not recorded else ()
    found += [(q // w, k // w) for w in widths if w and q % w == 0 and k % w == 0]
    fine = [
        (heads, kv) for heads, kv in dict.fromkeys(found)
        if heads and kv and heads % kv == 0 and q % heads == 0 and k % kv == 0 and v % kv == 0
        and q // heads == k // kv and heads * (v // kv) == out
    ]  # fmt: skip
    return fine[:1] if fine and fine[0] == found[0] else fine


def recorded_heads(scene: Scene, site: Site) -> int:
    """Heads of recorded attention probabilities `[batch, heads, tokens, keys]`."""
    for side in scene.sides:
        for slot in ("output_1", "output_attentions"):
            found = side.find(site.module, slot, site.target.step)
            if found is not None and len(scene.tables.shape(found)) == 4:
                return scene.tables.shape(found)[1]
    return 0


def _sinks(scene: Scene, site: Site, heads: int) -> Array | None:
    weight = scene.parameters.weight(site.module, "sinks") if scene.parameters else None
    if weight is None or weight.shape != (heads,):
        return None
    return weight.read().astype(np.float64)


def as_fit(choice: Choice, case: Case) -> Fit:
    """A choice in words."""
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
    """The mask in words: `as recorded`, `causal, window 512`."""
    words = {
        "recorded": "as recorded", "causal": "causal", "none": "none",
        "both": "causal and as recorded",
    }[form.mask]  # fmt: skip
    return words if form.window is None else f"{words}, window {form.window}"


def rotary_words(form: Form, rotary: Rotary | None, recorded: bool) -> str:
    """How queries and keys are rotated, in words."""
    if form.style == "none" or not form.rotated:
        return "none"
    if recorded:
        return f"{form.style}, recorded tables"
    return f"{form.style}, {rotary.words()}" if rotary is not None else form.style
