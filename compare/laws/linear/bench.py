"""A projection whose candidate is to be explained, and a cheap first look at every change of it.

A change is worked out for a *probe* first: up to 64 rows of the sample, and 96 output channels
spread over all, besides the 32 that are furthest off. Only what brings the probe's error down is
worked out for all channels, so that of other weights no more than some rows are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...measuring.bounded_sample import UNREADABLE
from ...weights.fused_weights import head_counts
from ...weights.parameters import Weight
from ..law import Case, Prediction, Scene, Source
from ..numerics.quantities import Key
from ..numerics.rounding import on_grid
from .products import BlockChange, loaded_unit, products, read_blocks
from .quantisers import Quantiser
from .spectrum import COARSE_NOISE, FINE_NOISE

_TINY = 1e-300
_SPREAD, _WORST = 96, 32  # channels of a probe
_PROMISING = 0.6  # of the probe's error that a change may leave and still be worked out in full


@dataclass(frozen=True)
class Probe:
    """Some output channels of a case. `weight` `[channels, in]` and `bias` `[channels]` are the
    reference's, as a loader has them; `before` is the root of sum r^2 / sum s^2.
    """

    channels: Array
    rows: Array  # positions in the sample
    x: Array
    y: Array
    base: Array
    spread: Array
    fine: Array  # where the record is finite
    weight: Array
    bias: Array

    @cached_property
    def before(self) -> float:
        return self.left(self.base)

    @cached_property
    def residual(self) -> Array:
        """What the reference's parameters leave; 0 where the record is not finite."""
        return np.where(self.fine, self.y - self.base, 0.0)

    def some(self, rows: Array, channels: Array) -> Probe:
        """A smaller probe, of some of the rows and channels (places in this one)."""
        grid = np.ix_(rows, channels)
        return replace(
            self, channels=self.channels[channels], rows=self.rows[rows], x=self.x[rows],
            y=self.y[grid], base=self.base[grid], spread=self.spread[grid], fine=self.fine[grid],
            weight=self.weight[channels], bias=self.bias[channels],
        )  # fmt: skip

    def left(self, value: Array) -> float:
        """The error of another prediction, in units of the base's rounding."""
        return self.distance(self.y, value)

    def distance(self, one: Array, other: Array) -> float:
        """How far two values are from each other, in units of the base's rounding."""
        r = np.where(self.fine, one - other, 0.0)
        squares = np.where(self.fine, np.square(self.spread), 0.0)
        return float(np.sqrt(np.square(r).sum() / max(float(squares.sum()), _TINY)))

    def promising(self, value: Array, share: float = _PROMISING) -> bool:
        """Whether a change is worth being worked out for all channels."""
        left = self.left(value)
        return bool(np.isfinite(left) and left <= share * self.before)


@dataclass(frozen=True)
class Bench:
    """`base` is what `case` (the candidate's) should have given with the reference's `weight` and
    `bias`; `heads` is how many heads the output has.
    """

    scene: Scene
    key: Key
    weight: Weight
    bias: Array | None
    case: Case
    base: Prediction
    heads: int = 1
    source: Source = ()  # the quantities that x is the sum of
    where: str = ""  # words for a part of a joined projection, of which `span` are the rows
    span: slice = field(default_factory=lambda: slice(None))
    # What was looked for already, for this bench alone: a part of it starts without.
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def module(self) -> str:
        return self.key.module

    @property
    def layer(self) -> str:
        """The canonical path of the layer, as far as the module's name tells."""
        return layer_of(self.module)

    @property
    def x(self) -> Array:
        return self.case.inputs["x"]

    @cached_property
    def recorded(self) -> Array:
        """The candidate's output with 0 for what is not finite."""
        return np.where(np.isfinite(self.case.output), self.case.output, 0.0)

    @cached_property
    def residual(self) -> Array:
        """What the reference's parameters leave; 0 where the record is not finite."""
        return np.where(np.isfinite(self.case.output), self.case.output - self.base.value, 0.0)

    @property
    def noise(self) -> float:
        """The square of a usual error in units of the base's rounding."""
        return FINE_NOISE if self.case.units["output"] <= 2.0**-20 else COARSE_NOISE

    @cached_property
    def spread(self) -> Array:
        return np.broadcast_to(self.base.spread, self.base.value.shape)

    @cached_property
    def unit(self) -> float:
        """The grid that the side's loader rounds stored weights to; 0 for none."""
        return loaded_unit(self.weight, self.case.units["output"])

    @cached_property
    def input_span(self) -> Array | None:
        """The least and the greatest of all rows of the input; None where they cannot be read
        whole.
        """
        side = self.scene.candidate if self.case.side == "candidate" else self.scene.reference
        known = [side.known.get(key) for key in self.source]
        if len(known) != 1 or known[0] is None:
            return None
        try:
            values = self.scene.tables.read(known[0])
        except UNREADABLE:
            return None
        span = np.array([values.min(), values.max()])
        return span if np.isfinite(span).all() else None

    def tensor_span(self, quantiser: Quantiser) -> Array | None:
        """The span of the input that a scale by tensor needs."""
        return self.input_span if quantiser.size < 0 else None

    def tensor_span_of_weight(self, quantiser: Quantiser) -> Array | None:
        """The span of the weight that a scale by tensor needs."""
        return self.weight_span if quantiser.size < 0 else None

    @cached_property
    def weight_span(self) -> Array:
        """The least and the greatest weight, as the loader has them."""
        low, high = np.inf, -np.inf
        for _, block in read_blocks(self.weight, self.scene):
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        span = np.array([low, high])
        return on_grid(span, self.unit) if self.unit else span

    @cached_property
    def probe(self) -> Probe:
        y, value, spread = self.case.output, self.base.value, self.spread
        fine = np.isfinite(y)
        r = np.square(np.where(fine, y - value, 0.0)).sum(0)
        ratio = r / np.maximum(np.square(spread).sum(0), _TINY)
        width = y.shape[1]
        chosen = set(np.linspace(0, width - 1, min(width, _SPREAD)).astype(int).tolist())
        chosen.update(np.argsort(ratio)[::-1][:_WORST].tolist())
        channels = np.array(sorted(chosen))
        bias = np.zeros(len(channels)) if self.bias is None else self.bias[channels]
        return Probe(
            channels, np.arange(len(y)), self.x, y[:, channels], value[:, channels],
            spread[:, channels], fine[:, channels], self.rows_of(self.weight, channels), bias,
        )  # fmt: skip

    def rows_of(self, weight: Weight, channels: Array) -> Array:
        """Rows of a weight as the loader has them, float64."""
        return self.loaded(weight.take(channels.tolist()).astype(np.float64))

    def loaded(self, numbers: Array) -> Array:
        """Weights on the grid that the side's loader rounds them to."""
        return on_grid(numbers, self.unit) if self.unit else numbers

    def error_of(self, prediction: Prediction) -> float:
        """What a prediction leaves of the candidate, in units of the base's rounding."""
        fine = np.isfinite(self.case.output) & np.isfinite(prediction.value)
        r = np.where(fine, self.case.output - prediction.value, 0.0)
        squares = np.square(self.spread)[fine].sum()
        return float(np.sqrt(np.square(r).sum() / max(float(squares), _TINY)))

    def product(
        self, weight: Weight | None = None, bias: Array | None = None, x: Array | None = None,
        change: BlockChange | None = None,
    ) -> Prediction:  # fmt: skip
        """x W^T + b for other parameters; `bias` is taken as it is, None for none."""
        case = self.case if x is None else replace(self.case, inputs={**self.case.inputs, "x": x})
        return products(weight or self.weight, bias, [case], self.scene, change)[0]

    def changed(self, value: Array) -> Prediction:
        """A value of the base's size with the base's rounding."""
        return Prediction(value, self.base.spread)

    def tried(self, value_of: Callable[[Probe], Array | None], share: float = _PROMISING) -> bool:
        """Whether a change does well on the probe."""
        value = value_of(self.probe)
        return value is not None and self.probe.promising(value, share)


def layer_of(module: str) -> str:
    """`layers.3` of `layers.3.mlp.down_proj`; the parent's path where there is no number."""
    parts = module.split(".")
    for at in range(len(parts) - 1, 0, -1):
        if parts[at].isdecimal() and parts[at - 1] != "experts":
            return ".".join(parts[: at + 1])
    return parent_of(module)


def weight_of(scene: Scene, module: str) -> Weight | None:
    """The weight of a projection; checkpoints call a router otherwise than records do."""
    if scene.parameters is None:
        return None
    own = scene.parameters.weight(module)
    if own is not None or scene.reference.role(module) not in ("router", "gate"):
        return own
    parent = parent_of(module)
    names = (f"{parent}.gate", f"{parent}.router", f"{module}.gate", f"{parent}.gate.wg")
    return next((w for n in names if (w := scene.parameters.weight(n)) is not None), None)


def heads_of(scene: Scene, module: str) -> int:
    """How many heads the output of a projection has, by the config; 1 where it is not parted."""
    counts = head_counts(scene.config)
    if counts is None:
        return 1
    heads, shared, _ = counts
    return {"query": heads, "key": shared, "value": shared}.get(scene.reference.role(module), 1)
