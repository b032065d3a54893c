"""Records of all layers in one tensor, as scanned layers (JAX's `scan`) make them.

layers.self_attn.q_proj        [layers, batch, tokens, wide]    or with the layers second
layers.3.self_attn.q_proj      [batch, tokens, wide]
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from ..recipes.common_view import CommonView
from ..recipes.recipe import Recipe
from ..recipes.steps import Select
from .call_match import Match, join, plays, shapes_view
from .named_records import Item, Side

_ONE = re.compile(r"^(?P<stack>(?:\w+\.)*layers)\.(?P<number>\d{1,9})(?P<rest>\..+)?$")
_ALL = re.compile(r"^(?P<stack>(?:\w+\.)*layers)(?P<rest>\.(?!\d+(?:\.|$)).+)?$")
_AXES = (0, 1)  # MaxText's parameters have the layers on the second axis

Place = tuple[int, int, str, str, str]  # step, call, stack, rest of the name, slot


def match_stacked_layers(ref: Side, cand: Side) -> Iterator[Match]:
    """Pairs of a layer's record with its part of a record of all layers on the other side."""
    for ones, wholes in ((ref, cand), (cand, ref)):
        parts = _by_layer(ones)
        for whole in wholes.items:
            name = _ALL.match(whole.module)
            if name is None or whole.matches or whole.unreadable or len(whole.shape) < 2:
                continue
            place = whole.step, whole.call, name["stack"], name["rest"] or "", _slot(whole)
            yield from _parts_of(whole, parts.get(place, {}), wholes is cand)


def _slot(item: Item) -> str:
    return "output" if plays(item, "output") and item.slot in ("value", "output") else item.slot


def _by_layer(side: Side) -> dict[Place, dict[int, Item]]:
    """Records without a partner, by their place within the layer, then by layer."""
    found: dict[Place, dict[int, Item]] = defaultdict(dict)
    for item in side.items:
        name = _ONE.match(item.module)
        if name is not None and not item.matches and not item.unreadable:
            place = item.step, item.call, name["stack"], name["rest"] or "", _slot(item)
            found[place].setdefault(int(name["number"]), item)
    return found


def _parts_of(whole: Item, layers: dict[int, Item], whole_is_candidate: bool) -> Iterator[Match]:
    """All layers or none: a stack has as many as the other side has records."""
    count = len(layers)
    if not count or set(layers) != set(range(count)):
        return
    for axis in _AXES:
        if axis >= len(whole.shape) or whole.shape[axis] != count:
            continue
        views = {n: _view(part, whole, axis, n, whole_is_candidate) for n, part in layers.items()}
        if None in views.values():
            continue
        for number, view in views.items():
            assert view is not None
            part = layers[number]
            pair = (part, whole) if whole_is_candidate else (whole, part)
            how = f"{part.module} is layer {number} of {whole.module}"
            match = join(*pair, view, "fused", how)
            match.part = part
            yield match
        return


def _view(
    part: Item, whole: Item, axis: int, number: int, whole_is_candidate: bool
) -> CommonView | None:
    """How one layer is seen alike on both sides; None where sizes or kinds do not fit."""
    if part.kind != whole.kind:
        return None
    rest = (*whole.shape[:axis], *whole.shape[axis + 1 :])
    select = Select(axis, number)
    if whole_is_candidate:
        view = shapes_view(part.shape, rest, False)
        return view and CommonView(
            view.reference, Recipe((select, *view.candidate.steps)), view.how
        )
    view = shapes_view(rest, part.shape, False)
    return view and CommonView(Recipe((select, *view.reference.steps)), view.candidate, view.how)
