"""Attention: what the output projection is given, from queries, keys and values.

The module at fault is the one that holds the projections: its own code computes attention. Every
sampled row takes all keys and values of its sequence, those of earlier steps too; mask and tables
of rotary positions are the recorded ones, else made by what the config says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...capture.arrays import Array
from ..canonical import parent_of
from .attention_causes import attention_hypotheses
from .attention_fit import fits, head_counts
from .attention_form import Form, Material
from .attention_inputs import read_material
from .attention_math import predicted
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site
from .names import kind_name
from .quantities import Key, SideQuantities
from .rounding import unit_of

_PARTS = ("q", "k", "v")


class AttentionLaw:
    """The law of attention modules."""

    name = "attention"

    def sites(self, scene: Scene) -> Iterator[Site]:
        for key in list(scene.reference.known):
            if not key.slot.startswith("input") or key not in scene.candidate.known:
                continue
            if scene.reference.role(key.module) != "attention_output":
                continue
            main = scene.reference.main_input(key.module, key.step, key.call)
            if main is None or main.key != key:
                continue
            module = parent_of(key.module)
            groups = head_counts(scene.config)[0] or 1
            for inputs in _sources(scene, module, key):
                yield Site(self.name, module, key, kind_name(key), inputs, groups)

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        target = side.known.get(site.target)
        if target is None:
            return None
        output = scene.tables.read(target, rows)
        widths = self._widths(scene, site, output.shape[1])
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

    def _widths(self, scene: Scene, site: Site, width: int) -> dict[str, slice] | None:
        """The channels of a fused projection that are queries, keys and values."""
        sources = [site.source(part)[0] for part in _PARTS]
        if len(set(sources)) > 1:
            return {}
        known = scene.reference.known.get(sources[0])
        if known is None:
            return None
        total = scene.tables.shape(known)[-1]
        heads, kv_heads = head_counts(scene.config)
        own = width
        if heads and kv_heads:
            own = total * heads // (heads + 2 * kv_heads)
        rest = (total - own) // 2
        if rest <= 0 or own + 2 * rest != total:
            return None
        return {
            "q": slice(0, own), "k": slice(own, own + rest), "v": slice(own + rest, total)
        }  # fmt: skip

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
    from .attention_fit import fitting

    return fitting(values["form"], case.more["material"], values.get("rotary"))


def _sources(
    scene: Scene, module: str, target: Key
) -> Iterator[tuple[tuple[str, tuple[Key, ...]], ...]]:
    """The records that can be queries, keys and values: normalised ones first."""

    def both(name: str) -> Key | None:
        key = Key(f"{module}.{name}", "output", target.step, target.call)
        known = key in scene.reference.known and key in scene.candidate.known
        return key if known else None

    projected = [both(f"{part}_proj") for part in _PARTS]
    normed = [both(f"{part}_norm") for part in _PARTS]
    best = [n or p for n, p in zip(normed, projected, strict=True)]
    choices = [best, projected]
    fused = both("qkv_proj")
    choices.append([fused, fused, fused])
    said: list[list[Key | None]] = []
    for choice in choices:
        if all(choice) and choice not in said:
            said.append(choice)
            yield tuple((p, (k,)) for p, k in zip(_PARTS, choice, strict=True) if k is not None)
