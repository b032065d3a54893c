"""Weights of experts that one side keeps in one tensor and the other one by one.

    experts.gate_up_proj         [experts, gate and up, hidden]    transformers, vLLM (w13_weight)
    experts.gate_proj.weight     [experts, wide, hidden]           stacked, gate and up apart
    experts.3.gate_proj.weight   [wide, hidden]                    one by one (Mixtral's w1, w3, w2)

Some have `[experts, hidden, wide]` instead. Only exact sizes make a pair.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..recipes.common_view import CommonView
from ..recipes.recipe import Recipe
from ..recipes.steps import Select, Slice, Step, Transpose
from .call_match import Match, join
from .named_records import Item, Side

_NAME = re.compile(
    r"^(?P<layer>(?:\w+\.)*layers\.\d{1,9})\.(?:mlp|block_sparse_moe|moe|feed_forward|ffn)"
    r"(?:\.switch_mlp|\.block_sparse_moe)?\.(?:local_)?experts"
    r"(?:\.(?P<expert>\d{1,9}))?\.(?P<leaf>[a-z]\w*?)(?P<kind>(?:[._](?:weight|bias))?)$"
)
_LEAVES: Mapping[str, tuple[str, ...]] = {
    "gate_up_proj": ("gate", "up"), "w13": ("gate", "up"), "gate_proj": ("gate",),
    "w1": ("gate",), "up_proj": ("up",), "w3": ("up",), "down_proj": ("down",), "w2": ("down",),
}  # fmt: skip

Place = tuple[int, int, str, str, str]  # step, call, layer, weight or bias, gate, up or down


@dataclass(frozen=True, slots=True)
class _Weight:
    """A record of experts: `expert` is None where it holds all of them; `parts` are gate, up or
    down, in the order in which it holds them.
    """

    item: Item
    expert: int | None
    parts: tuple[str, ...]

    @property
    def size(self) -> int:
        """How much it holds: of two, the one with more is the whole."""
        return (2 if self.expert is None else 0) + len(self.parts)


def match_experts(ref: Side, cand: Side) -> Iterator[Match]:
    """Pairs of one expert's weight, or all experts', with a part of what the other side has."""
    ours, theirs = _weights(ref), _weights(cand)
    interleaved = _interleaved(ref), _interleaved(cand)
    for place, lefts in ours.items():
        for left in lefts:
            for right in theirs.get(place, ()):
                if left.size == right.size or left.item.kind != right.item.kind:
                    continue
                part, whole = (left, right) if left.size < right.size else (right, left)
                if place[-1] != part.parts[0] or not set(part.parts) <= set(whole.parts):
                    continue
                apart = interleaved[whole is right]
                view = _view(part, whole, place[-1], apart)
                if view is not None:
                    yield _joined(part, whole, view, whole is right)


def _weights(side: Side) -> dict[Place, list[_Weight]]:
    """Records without a partner, by what they hold; one with gate and up stands at both."""
    found: dict[Place, list[_Weight]] = defaultdict(list)
    for item in side.items:
        match = _NAME.match(item.module) if item.role == "value" and not item.matches else None
        parts = _LEAVES.get(match["leaf"], ()) if match else ()
        if match is None or not parts or item.unreadable:
            continue
        expert = None if match["expert"] is None else int(match["expert"])
        kind = "bias" if match["kind"].endswith("bias") else "weight"
        for part in parts:
            place = item.step, item.call, match["layer"], kind, part
            found[place].append(_Weight(item, expert, parts))
    return found


def _interleaved(side: Side) -> bool:
    """Whether gate and up take turns, as in gpt-oss: the one whose fused experts have a bias."""
    return any(item.module.endswith("experts.gate_up_proj_bias") for item in side.items)


def _view(part: _Weight, whole: _Weight, name: str, interleaved: bool) -> Recipe | None:
    """The steps that take a part out of the whole; None where the sizes do not fit."""
    shape, wanted = whole.item.shape, part.item.shape
    steps: list[Step] = []
    if whole.expert is None and part.expert is not None:
        if not shape or part.expert >= shape[0]:
            return None
        steps.append(Select(0, part.expert))
        shape = shape[1:]
    if not shape or len(shape) != len(wanted):
        return None
    last = len(shape) - 1
    stored = [(last - 1, False), (last, True)] if len(wanted) > 1 and last else [(last, False)]
    for axis, swapped in stored:
        cut = _half(shape, axis, whole, name, interleaved) if part.parts != whole.parts else None
        if part.parts != whole.parts and cut is None:
            continue
        seen = shape if cut is None else cut.shape(shape)
        if swapped:
            seen = (*seen[:-2], seen[-1], seen[-2])
        if seen == wanted:
            turn = [Transpose(-2, -1)] if swapped else []
            return Recipe((*steps, *([cut] if cut is not None else []), *turn))
    return None


def _half(
    shape: tuple[int, ...], axis: int, whole: _Weight, name: str, interleaved: bool
) -> Slice | None:
    """One of the two that an axis holds."""
    if shape[axis] % 2:
        return None
    half, second = shape[axis] // 2, whole.parts.index(name)
    entry = (second, None, 2) if interleaved else (second * half, (second + 1) * half, None)
    return Slice((*(((None, None, None),) * axis), entry))


def _joined(part: _Weight, whole: _Weight, recipe: Recipe, whole_is_candidate: bool) -> Match:
    how = f"{part.item.module} is a part of {whole.item.module}"
    if whole_is_candidate:
        made = join(part.item, whole.item, CommonView(Recipe(), recipe, ""), "fused", how)
    else:
        made = join(whole.item, part.item, CommonView(recipe, Recipe(), ""), "fused", how)
    made.part = part.item
    return made
