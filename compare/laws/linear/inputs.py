"""What a projection was given: its recorded input, or what stands in for it in a dump of outputs.

Without a record of the input it is the output of a module before: of a norm, an activation, the
layer below, a sum of two, a product of gate and up. Which one, the reference says: a few rows and
channels of its product must be what it recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...measuring.bounded_sample import UNREADABLE
from ...weights.parameters import Weight
from ..law import Scene, Site, Source
from ..numerics.quantities import Key, Quantity, SideQuantities
from ..numerics.rounding import on_grid, unit_of
from .bench import layer_of

Inputs = tuple[tuple[str, Source], ...]

_LOOK_BACK = 12  # outputs before a projection that may be its input
_ROWS, _CHANNELS = 8, 16  # of the reference, that tell whether something stands in for an input
_LIKE = 0.35  # of the output, that its product may be off: weights of a reference may be of 4 bits
_SILU_IN_FLOAT32 = 700.0  # exp() of more overflows


def _silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-np.clip(x, -_SILU_IN_FLOAT32, _SILU_IN_FLOAT32)))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh((2.0 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


# What the gate of an MLP goes through, where no record of it is there.
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": _silu, "gelu (tanh)": _gelu_tanh, "relu": lambda x: np.maximum(x, 0.0),
}  # fmt: skip
_FIRST, _SECOND = "first half", "second half"  # of a joined projection: gate and up


def input_choices(scene: Scene, key: Key, weight: Weight) -> Iterator[Inputs]:
    """The recorded input of a projection, else all that stands in for it in the reference."""
    own = scene.reference.main_input(key.module, key.step, key.call)
    if own is not None and own.key in scene.candidate.known:
        yield (("x", (own.key,)),)
        return
    target = scene.reference.known[key]
    for choice in dict.fromkeys(_choices(scene, key, weight.shape[1])):
        keys = [k for _, source in choice for k in source]
        known = all(k in side.known for k in keys for side in scene.sides)
        if known and _stands_in(scene, target, choice, weight):
            yield choice


def _choices(scene: Scene, key: Key, inner: int) -> Iterator[Inputs]:
    """Candidates, the likeliest first."""
    side = scene.reference
    before = _outputs_before(scene, key, inner)
    around = side.main_input(parent_of(key.module), key.step, key.call)
    if around is not None and _width(scene, around) == inner:
        before = [around.key, *before]
    for one in before:
        yield (("x", (one,)),)
    for first in before:
        for second in before:
            if first != second and side.known[first].row < side.known[second].row:
                yield (("x", (first, second)),)
    if side.role(key.module) == "down":
        yield from _gated(side, key, before)


def _gated(side: SideQuantities, key: Key, before: list[Key]) -> Iterator[Inputs]:
    """The product of an activation with what goes up."""
    parent = parent_of(key.module)
    gate, up, joined = (
        Key(f"{parent}.{name}", "output", key.step)
        for name in ("gate_proj", "up_proj", "gate_up_proj")
    )
    for first in before:
        if first.module.startswith(parent + ".") and first not in (gate, up):
            yield ("x", (first,)), ("times", (up,))
            yield ("x", (first,)), (_SECOND, (joined,))
    for name in _ACTIVATIONS:
        yield (name, (gate,)), ("times", (up,))
        yield (f"{name} of {_FIRST}", (joined,)), (_SECOND, (joined,))


def _outputs_before(scene: Scene, key: Key, inner: int) -> list[Key]:
    """Outputs with `inner` channels that were returned before a module, the last ones first."""
    side, own = scene.reference, scene.reference.known[key]
    layer = layer_of(key.module)
    found = [
        q for q in side.known.values()
        if q.row < own.row and q.is_float and q.key.step == key.step
        and q.key.slot.startswith("output") and q.key.module != key.module
    ]  # fmt: skip
    found.sort(key=lambda q: -q.row)
    near = [q for q in found if q.key.module.startswith(layer + ".")] if layer else []
    rest = [q for q in found if q not in near][:_LOOK_BACK]
    return [q.key for q in (*near, *rest) if _width(scene, q) == inner][:_LOOK_BACK]


def _width(scene: Scene, quantity: Quantity) -> int:
    try:
        shape = scene.tables.shape(quantity)
    except UNREADABLE:
        return 0
    return shape[-1] if shape else 0


def _stands_in(scene: Scene, target: Quantity, choice: Inputs, weight: Weight) -> bool:
    """Whether the reference's product with some rows of the weight is what it recorded; a bias is
    taken off with the mean.
    """
    try:
        count = scene.tables.rows(target)
        rows = np.unique(np.linspace(0, count - 1, min(count, _ROWS)).astype(int))
        channels = np.unique(np.linspace(0, weight.shape[0] - 1, _CHANNELS).astype(int))
        y = scene.tables.read(target, rows)
        if y.shape[1] != weight.shape[0]:  # the part of one process, beside the whole weight
            return False
        y = y[:, channels]
        found = read_inputs(scene, scene.reference, choice, rows, count)
        if found is None or found[0].shape[1] != weight.shape[1]:
            return False
        product = found[0] @ weight.take(channels.tolist()).astype(np.float64).T
    except UNREADABLE:
        return False
    with np.errstate(all="ignore"):
        if len(rows) > 3:
            y, product = y - y.mean(0), product - product.mean(0)
        size = float(np.square(y).sum())
        return bool(np.square(y - product).sum() <= _LIKE**2 * size) and size > 0


def read_inputs(
    scene: Scene, side: SideQuantities, choice: Inputs, rows: Array, count: int
) -> tuple[Array, float] | None:
    """Rows of a projection's input and its unit. None where something is missing, or has other
    rows. Raises `sample.UNREADABLE`.
    """
    value: Array | None = None
    unit = 0.0
    for name, source in choice:
        found = _sum(scene, side, source, rows, count)
        if found is None:
            return None
        part, own = found
        unit = max(unit, own)
        part = _changed(name, part, own)
        if value is not None and value.shape != part.shape:
            return None
        value = part if value is None else on_grid(value * part, unit)
    return None if value is None else (value, unit)


def _changed(name: str, part: Array, unit: float) -> Array:
    """What a factor is of the records that it is named with."""
    if name.endswith(_FIRST):
        part = part[:, : part.shape[1] // 2]
    elif name == _SECOND:
        part = part[:, part.shape[1] // 2 :]
    function = activation_of(name)
    return part if function is None else on_grid(_ACTIVATIONS[function](part), unit)


def activation_of(name: str) -> str | None:
    """The activation that a factor goes through, None for none."""
    return next((a for a in _ACTIVATIONS if name.startswith(a)), None)


def with_other_activations(inputs: Inputs) -> Iterator[tuple[str, str, Inputs]]:
    """The names of the reference's and of another activation, and the inputs with the other."""
    own = next((a for name, _ in inputs if (a := activation_of(name)) is not None), None)
    for other in _ACTIVATIONS if own is not None else ():
        if own is not None and other != own:
            changed = tuple((name.replace(own, other), source) for name, source in inputs)
            yield own, other, changed


def made_between(inputs: Inputs) -> bool:
    """Whether an input was made of records by code outside of modules: that of the parent."""
    return sum(len(source) for _, source in inputs) > 1 or any(
        activation_of(name) is not None for name, _ in inputs
    )


def _sum(
    scene: Scene, side: SideQuantities, source: Source, rows: Array, count: int
) -> tuple[Array, float] | None:
    """Rows of a sum of quantities. Of one with more rows than the target (all tokens, where the
    target has the last ones) the last row of each run is taken.
    """
    total: Array | None = None
    unit = 0.0
    for key in source:
        quantity = side.known.get(key)
        if quantity is None or not quantity.is_float:
            return None
        own = scene.tables.rows(quantity)
        if own < count or own % count:
            return None
        run = own // count
        values = scene.tables.read(quantity, rows * run + run - 1)
        unit = max(unit, unit_of(values, quantity.dtype))
        if total is not None and total.shape != values.shape:
            return None
        total = values if total is None else total + values
    if total is None or prod(total.shape) == 0:
        return None
    return (on_grid(total, unit) if len(source) > 1 else total), unit


def derived_words(site: Site) -> tuple[str, ...]:
    """What stands in for the input, in words; nothing where it was recorded."""
    keys = [key for _, source in site.inputs for key in source]
    if len(keys) == 1 and keys[0].module == site.target.module:
        return ()
    parts = []
    for name, source in site.inputs:
        words = " + ".join(key.label for key in source)
        parts.append(words if name in ("x", "times") else f"{name} of {words}")
    return (" x ".join(parts),)
