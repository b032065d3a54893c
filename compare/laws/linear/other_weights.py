"""Other weights in the place of a projection's own: transposed, another projection's, another
layer's, none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...matching.names.roles import is_projection
from ...measuring.bounded_sample import UNREADABLE
from ...weights.parameters import Weight
from ..law import Hypothesis, Prediction
from ..numerics.quantities import Key
from ..numerics.rounding import on_grid
from .bench import Bench
from .products import read_blocks, rounded_product

_NUMBERED = re.compile(r"(?<=layers\.)\d+(?=\.)")
# Parts of joined projections, which a checkpoint may have under no name of their own.
_PARTS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "o_proj", "down_proj")
_LARGE = 1 << 20  # weights from which some are looked at before all are read once more
_LOOKED_AT = 32  # inputs, the largest, that are looked at
_LEAST_SLOPE = 0.25  # of the output on what these inputs give
_ALIKE = 0.2  # of the distance between two projections' outputs
_MANY = 4  # projections elsewhere that give the same: more say nothing of which one it is


def no_weight(bench: Bench) -> Iterator[Hypothesis]:
    """A weight that was never loaded: zero, or the identity."""
    value = bench.base.value
    bias = np.zeros(value.shape[1]) if bench.bias is None else bench.bias
    bare = np.broadcast_to(bias, value.shape)
    text = f"the weight{bench.where} is 0"
    text += " (only the bias is left)" if bench.bias is not None else ""
    yield Hypothesis(
        "weight-ignored", text, lambda: Prediction(bare, bench.base.spread * 1e-3 + 1e-300),
        "weight", "checkpoint", "0",
    )  # fmt: skip
    if bench.x.shape == value.shape:
        yield Hypothesis(
            "weight-ignored", f"the input is passed on{bench.where}: the weight is not applied",
            lambda: bench.changed(bench.x + bias), "weight", "checkpoint", "identity",
        )  # fmt: skip


def transposed(bench: Bench) -> Iterator[Hypothesis]:
    """x W where it should be x W^T; of a matrix that is not square, its memory as [in, out]."""
    out, inner = bench.weight.shape
    if out == 1 or inner == 1:
        return
    if out * inner >= _LARGE and not may_be_turned(bench):
        return
    square = out == inner
    text = f"the weight{bench.where} is transposed"
    if not square:
        text = f"the memory of the weight{bench.where} is read as [{inner}, {out}]"
    yield Hypothesis(
        "transposed", text, lambda: _turned(bench), "weight", f"[{out}, {inner}]", "transposed"
    )


def may_be_turned(bench: Bench) -> bool:
    """Whether the inputs that matter most, multiplied with their part of the turned weight, are
    in the output at all: then the regression of the output on them is near 1, else near 0.
    """
    out, inner = bench.weight.shape
    x, y = bench.x, bench.recorded
    chosen = np.sort(np.argsort(np.square(x).sum(0))[::-1][:_LOOKED_AT])
    part = np.zeros(y.shape)
    for at in chosen:
        first, last = int(at) * out // inner, -(-(int(at) + 1) * out // inner)
        numbers = bench.weight.between(first, last).reshape(-1)
        numbers = numbers[int(at) * out - first * inner :][:out].astype(np.float64)
        part += np.outer(x[:, at], on_grid(numbers, bench.unit) if bench.unit else numbers)
    y = y if bench.bias is None else y - bench.bias
    return bool(np.vdot(part, y) >= _LEAST_SLOPE * np.vdot(part, part))


def _turned(bench: Bench) -> Prediction:
    """x V with V the weight's elements in their order as [in, out], block by block."""
    out = bench.weight.shape[0]
    x = bench.x
    value = np.zeros((len(x), out))
    by_channel = np.zeros(out)
    mean_square = np.square(x).mean(0)
    row = np.zeros(len(x))
    at, rest = 0, np.empty(0)
    for _, block in read_blocks(bench.weight, bench.scene):
        flat = np.concatenate([rest, block.reshape(-1)]) if rest.size else block.reshape(-1)
        whole = flat.size // out
        part, rest = flat[: whole * out].reshape(whole, out), flat[whole * out :].copy()
        wide = part.astype(np.float64)
        wide = on_grid(wide, bench.unit) if bench.unit else wide
        value += x[:, at : at + whole] @ wide
        square = np.square(wide)
        by_channel += mean_square[at : at + whole] @ square
        row += np.square(x[:, at : at + whole]) @ square.sum(1)
        at += whole
    if bench.bias is not None:
        value += bench.bias
    return rounded_product(value, row, by_channel, bench.case.units["output"])


def same_layer(bench: Bench) -> Iterator[Hypothesis]:
    """The weights of other projections of the layer."""
    for module, product in _promising(bench, of_same_layer(bench)):
        swapped = _in_turn(bench, module)
        text = f"the weight of {module} is used{bench.where}"
        if swapped:
            text = f"swapped with {module}{bench.where}: each gives what the other should"
        name = "swapped" if swapped else "other-weights"
        yield Hypothesis(name, text, product, "weight", bench.module, module)


def _promising(
    bench: Bench, modules: Iterable[str]
) -> Iterator[tuple[str, Callable[[], Prediction]]]:
    """Of these modules those whose weight does well on the probe, and what it gives: with the bias
    that does best.
    """
    for module in modules:
        weight = _weight_like(bench, module)
        if weight is None:
            continue
        values = [(_probed(bench, weight, bias), bias) for bias in _biases(bench, module)]
        value, bias = min(values, key=lambda pair: bench.probe.left(pair[0]))
        if bench.probe.promising(value):
            yield module, partial(bench.product, weight, bias)


def of_same_layer(bench: Bench) -> Iterator[str]:
    """All other projections of the layer; outside of layers (a head), the table of embeddings."""
    parent, layer = parent_of(bench.module), bench.layer
    names = [f"{parent}.{part}" if parent else part for part in _PARTS]
    names += [
        m for m in _known(bench) if (m.startswith(layer + ".") if layer else "layers." not in m)
    ]
    for module in dict.fromkeys(names):
        role = bench.scene.reference.role(module)
        if module != bench.module and (is_projection(role) or role == "embedding"):
            yield module


def of_other_layers(bench: Bench) -> Iterator[str]:
    """The same projection of all other layers, neighbours first."""
    number = _NUMBERED.search(bench.module)
    if number is None:
        return
    own = int(number.group())
    numbers = {int(found.group()) for m in _known(bench) if (found := _NUMBERED.search(m))}
    for other in sorted(numbers - {own}, key=lambda n: (abs(n - own), n)):
        yield _NUMBERED.sub(str(other), bench.module, count=1)


def neighbours(bench: Bench) -> Iterator[str]:
    """Whatever a loader may take for this projection, the same layer's first."""
    yield from of_same_layer(bench)
    yield from of_other_layers(bench)


def _known(bench: Bench) -> Iterator[str]:
    """The modules of the checkpoint and of the capture."""
    assert bench.scene.parameters is not None
    yield from bench.scene.parameters.modules()
    yield from dict.fromkeys(key.module for key in bench.scene.reference.known)


def _weight_like(bench: Bench, module: str) -> Weight | None:
    """The weight of another module, where it has the shape of the bench's."""
    assert bench.scene.parameters is not None
    weight = bench.scene.parameters.weight(module)
    return weight if weight is not None and weight.shape == bench.weight.shape else None


def _biases(bench: Bench, module: str) -> Iterator[Array | None]:
    """The biases that may go with another module's weight: its own first, for ties."""
    own = other_bias(bench, module)
    if own is not None:
        yield own
    yield bench.bias
    if bench.bias is not None and own is None:
        yield None


def other_bias(bench: Bench, module: str) -> Array | None:
    """The bias of another module, None where it has none of this size."""
    assert bench.scene.parameters is not None
    found = bench.scene.parameters.weight(module, "bias")
    if found is None or found.shape != (bench.weight.shape[0],):
        return None
    return found.read().astype(np.float64)


def _probed(bench: Bench, weight: Weight, bias: Array | None) -> Array:
    """The probe's values with another weight."""
    channels = bench.probe.channels
    value = bench.probe.x @ bench.rows_of(weight, channels).T
    return value if bias is None else value + bias[channels]


def _in_turn(bench: Bench, module: str) -> bool:
    """Whether the other projection gives what this one should: same input, other's output."""
    key = Key(module, "output", bench.key.step, bench.key.call)
    recorded = bench.scene.candidate.known.get(key)
    if recorded is None:
        return False
    try:
        other = bench.scene.tables.read(recorded, bench.case.rows)
    except UNREADABLE:
        return False
    if other.shape != bench.base.value.shape:
        return False
    probe = bench.probe
    other = other[:, probe.channels]
    return probe.distance(other, probe.base) <= _ALIKE * probe.distance(other, probe.y)


def other_layers(bench: Bench) -> Iterator[Hypothesis]:
    """The weights of the same projection in another layer."""
    for module, product in islice(_promising(bench, of_other_layers(bench)), _MANY):
        text = f"the weight of {module} is used{bench.where}"
        yield Hypothesis("other-layer", text, product, "weight", bench.module, module)
