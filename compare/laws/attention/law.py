"""Attention: what the output projection is given, from queries, keys and values.

The module at fault is the one that holds the projections: its own code computes attention. Every
sampled row takes all keys and values of its sequence, those of earlier steps too; mask and tables
of rotary positions are the recorded ones, else made by what the config says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...measuring.bounded_sample import UNREADABLE
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site, Source
from ..names import kind_name
from ..numerics.quantities import Key, SideQuantities
from ..numerics.rounding import unit_of
from .causes import attention_hypotheses
from .choice import fitting
from .config import head_counts
from .fit import ROTATED, fits
from .form import Form, Material
from .inputs import read_material
from .math import predicted

Inputs = tuple[tuple[str, Source], ...]

_PARTS = ("q", "k", "v")
_INSIDE = ("self", "attn", "self_attn", "core_attention", "core_attn", "inner_attn", "attention")
_T5 = ("SelfAttention", "EncDecAttention")  # whose projections are called q, k, v and o
_BY_HEAD = "by_head"  # marks a site whose fused projection is parted head by head
# What a module inside is given behind the rotation, by position or by name.
_GIVEN = (
    ("input_0", "input_1", "input_2"), ("input_query", "input_key", "input_value"),
    ("input_q", "input_k", "input_v"),
)  # fmt: skip


class AttentionLaw:
    """The law of attention modules."""

    name = "attention"
    whole_sequences = True

    def sites(self, scene: Scene) -> Iterator[Site]:
        for module, target in attention_targets(scene):
            heads = head_counts(scene.config)[0] or _recorded_heads(scene, module, target.step)
            for inputs in sources(scene, holder_of(target, module), target):
                yield Site(self.name, module, target, kind_name(target), inputs, heads or 1)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known.get(site.target)
        if target is None:
            return None
        output = scene.tables.read(target, rows)
        widths = columns(scene, site, output.shape[1])
        if widths is None:
            return None
        found = read_material(scene, site, side, rows, widths)
        if found is None:
            return None
        output = output[found.kept]
        units = {**found.units, "output": unit_of(output, target.dtype)}
        more: dict[str, Any] = {"material": found.material, "own_bias": found.own_bias}
        inputs = {"q": found.material.q}
        return Case(side.side, output, rows[found.kept], inputs, units, (), more)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterable[Fit]:
        return fits(scene, site, reference)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return [self._predicted(fit, case) for case in cases]

    def _predicted(self, fit: Fit, case: Case) -> Prediction | None:
        form: Form = fit.values["form"]
        material = material_of(case, fit.values)
        return None if material is None else predicted(form, material, case.units, case.output)

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        return attention_hypotheses(scene, site, fit, reference, candidate)


def material_of(case: Case, values: Mapping[str, Any]) -> Material | None:
    """What the case gives to attention, with tables made where none were recorded; None where its
    widths are not those of the form.
    """
    return fitting(values["form"], case.more["material"], values.get("rotary"))


def attention_targets(scene: Scene) -> Iterator[tuple[str, Key]]:
    """What attention gave: the output of a module inside that does nothing else, else the input of
    the output projection, which the code of its parent made.
    """
    for key in list(scene.reference.known):
        if key.slot != "output" or not _is_output_projection(scene, key.module):
            continue
        module = parent_of(key.module)
        for inside in _INSIDE:
            own = replace(key, module=f"{module}.{inside}")
            if own in scene.reference.known and own in scene.candidate.known:
                yield own.module, own
                break
        else:
            main = scene.reference.main_input(key.module, key.step, key.call)
            if main is not None and main.key in scene.candidate.known:
                yield module, main.key


def _is_output_projection(scene: Scene, module: str) -> bool:
    if scene.reference.role(module) == "attention_output":
        return True
    parent, _, last = module.rpartition(".")
    if last == "out_proj":
        return scene.reference.role(parent) == "attention"
    return last == "o" and parent.rpartition(".")[2] in _T5


def holder_of(target: Key, module: str) -> str:
    """The module that holds the projections."""
    return parent_of(module) if target.module == module else module


def _recorded_heads(scene: Scene, module: str, step: int) -> int:
    found = scene.reference.find(module, "output_1", step)
    if found is None or len(scene.tables.shape(found)) != 4:
        return 0
    return scene.tables.shape(found)[1]


def sources(scene: Scene, holder: str, target: Key) -> Iterator[Inputs]:
    """The records that can be queries, keys and values: normalised ones first; a fused projection
    holds them one behind the other, or head by head. Behind those what is rotated already.
    """

    def both(name: str, slot: str = "output") -> Key | None:
        key = Key(f"{holder}.{name}", slot, target.step, target.call)
        known = key in scene.reference.known and key in scene.candidate.known
        return key if known else None

    projected = [both(f"{part}_proj") or both(part) for part in _PARTS]
    normed = [both(f"{part}_norm") for part in _PARTS]
    best = [n or p for n, p in zip(normed, projected, strict=True)]
    said: list[list[Key | None]] = []
    for choice in (best, projected):
        if all(choice) and choice not in said:
            said.append(choice)
            yield tuple((p, (k,)) for p, k in zip(_PARTS, choice, strict=True) if k is not None)
    fused = both("qkv_proj")
    if fused is not None and not said:
        parts = tuple((part, (fused,)) for part in _PARTS)
        yield parts
        yield (*parts, (_BY_HEAD, (fused,)))
    given = [[both(inside, slot) for slot in slots] for inside in _INSIDE for slots in _GIVEN]
    turned = [both("rotary_emb"), both("rotary_emb", "output_1"), projected[2]]
    for choice in (*given, turned):
        q, k, v = choice
        if q is not None and k is not None and v is not None and not _are_tables(scene, q, k):
            yield ("q", (q,)), ("k", (k,)), ("v", (v,)), (ROTATED, (q, k))


def _are_tables(scene: Scene, first: Key, second: Key) -> bool:
    """Whether two records are cos and sin: of numbers from -1 to 1 (or a little more, where they
    are scaled), and their squares have one sum everywhere.
    """
    known = [scene.reference.known[key] for key in (first, second)]
    try:
        if len({scene.tables.shape(quantity) for quantity in known}) != 1:
            return False
        cos, sin = (scene.tables.read(quantity, np.arange(1)) for quantity in known)
    except UNREADABLE:
        return True
    squares = np.square(cos) + np.square(sin)
    return bool(np.ptp(squares) <= 0.05 * np.abs(squares).max(initial=0.0))


def columns(scene: Scene, site: Site, width: int) -> dict[str, slice | Array] | None:
    """The channels of a fused projection that are queries, keys and values; {} where they are
    records of their own. None where they cannot be parted.
    """
    keys = [site.source(part)[0] for part in _PARTS]
    if len(set(keys)) > 1:
        return {}
    known = scene.reference.known.get(keys[0])
    if known is None:
        return None
    total = scene.tables.shape(known)[-1]
    rest = (total - width) // 2
    if rest <= 0 or width + 2 * rest != total:
        return None
    if site.source(_BY_HEAD):
        return _by_head(site.groups, width, rest)
    return {
        "q": slice(0, width), "k": slice(width, width + rest), "v": slice(width + rest, total)
    }  # fmt: skip


def _by_head(heads: int, width: int, rest: int) -> dict[str, slice | Array] | None:
    """Of each key head first its queries, then its key, then its value (GPT-NeoX, BLOOM, Falcon):
    `[key heads, queries + 2, channels]`.
    """
    size = width // heads
    if heads < 2 or size * heads != width or rest % size or heads % (rest // size):
        return None
    kv_heads = rest // size
    group = heads // kv_heads
    places = np.arange(width + 2 * rest).reshape(kv_heads, group + 2, size)
    return {
        "q": places[:, :group].reshape(-1), "k": places[:, group].reshape(-1),
        "v": places[:, group + 1].reshape(-1),
    }  # fmt: skip
