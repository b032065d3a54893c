"""A residual that is carried beside the hidden state, as vLLM and SGLang do: a norm is given both
and returns (normalised, their sum), a layer returns (what is still to be added, residual). The
stream is then the sum of two records where other engines have one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...measuring.bounded_sample import UNREADABLE
from ...recipes.parse import parse_recipe
from ..law import Scene, Source
from ..numerics.quantities import Key, Quantity, SideQuantities

_GIVEN = ("input_residual", "input_1")  # the residual that a norm is given
_RETURNED = "output_1"


def whole(scene: Scene, side: SideQuantities, key: Key) -> Source:
    """What the stream at `key` is the sum of on this side: for the input of a norm the sum that it
    returned, for a layer what it returned and the residual beside it; else `(key,)`.
    """
    if key.slot.startswith("input") and side.role(key.module) == "norm":
        summed = carried_sum(scene, side, key)
        return (key if summed is None else summed,)
    own = side.known.get(key)
    if own is not None and parse_recipe(own.task.recipe).others:
        return (key,)  # its recipe adds what is beside it
    if key.slot == "output" and side.role(key.module) == "layer":
        beside = Key(key.module, _RETURNED, key.step, key.call)
        if _alike(scene, side, key, beside) and _has_carrying_norm(scene, side, key):
            return key, beside
    return (key,)


def given_residual(scene: Scene, side: SideQuantities, key: Key) -> Key | None:
    """The residual that a norm was given beside `key`, its input; None for a plain norm."""
    if carried_sum(scene, side, key) is None:
        return None
    for slot in _GIVEN:
        beside = Key(key.module, slot, key.step, key.call)
        if slot != key.slot and _alike(scene, side, key, beside):
            return beside
    return None


def carried_sum(scene: Scene, side: SideQuantities, key: Key) -> Key | None:
    """The sum that the norm of `key` returned beside what it normalised; None for a plain norm."""
    own, beside = (Key(key.module, s, key.step, key.call) for s in ("output", _RETURNED))
    return beside if _alike(scene, side, own, beside) else None


def carried_sums(scene: Scene) -> Iterator[Key]:
    """The sums that norms of the reference returned and the candidate has, too."""
    side = scene.reference
    for key in list(side.known):
        if key in scene.candidate.known and is_carried_sum(scene, side, key):
            yield key


def is_carried_sum(scene: Scene, side: SideQuantities, key: Key) -> bool:
    """Whether `key` is the sum that a norm returned beside what it normalised."""
    return side.role(key.module) == "norm" and carried_sum(scene, side, key) == key


def _has_carrying_norm(scene: Scene, side: SideQuantities, layer: Key) -> bool:
    return any(
        side.role(child) == "norm"
        and carried_sum(scene, side, Key(child, "output", layer.step, layer.call)) is not None
        for child in side.children.get(layer.module, ())
    )


def _alike(scene: Scene, side: SideQuantities, first: Key, second: Key) -> bool:
    """Whether both are recorded, floating-point and of one shape."""
    found = [side.known.get(key) for key in (first, second)]
    known = [q for q in found if q is not None and q.is_float]
    return len(known) == 2 and len({_shape(scene, q) for q in known} - {()}) == 1


def _shape(scene: Scene, quantity: Quantity) -> tuple[int, ...]:
    try:
        return scene.tables.shape(quantity)
    except UNREADABLE:
        return ()
