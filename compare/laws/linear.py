"""Products with a weight matrix: y = x W^T + b, with W and b from the checkpoint.

Each block of W is read and upcast once, for both sides together. The rounding of a row is

    s^2 = u^2 (|y|^2 + sum_j x_j^2 sum_i w_ij^2) x 0.75^2 / 3,

the output's own rounding and that of one factor of every product; how it is spread over channels is
worked out for the mean row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...capture.arrays import Array
from ...capture.dtypes import DTYPES
from ..pair_reader import CancelledError
from ..parameters import Weight
from ..roles import is_projection
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Prediction, Scene, Site, read_case
from .linear_causes import weight_hypotheses
from .linear_inputs import input_sources
from .names import kind_name
from .quantities import SideQuantities
from .rounding import ROUNDED, on_grid

_FINE = 2.0**-20  # units below which products in float32 are too coarse to judge by


class LinearLaw:
    """The law of projections."""

    name = "linear"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        for key in list(scene.reference.known):
            if key.slot != "output" or key not in scene.candidate.known:
                continue
            if not is_projection(scene.reference.role(key.module)):
                continue
            if scene.parameters.weight(key.module) is None:
                continue
            for source in input_sources(scene, key):
                yield Site(self.name, key.module, key, kind_name(key), (("x", source),),
                           heads_of(scene, key.module))  # fmt: skip

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        return read_case(scene, site, side, rows, ("x",))

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterable[Fit]:
        assert scene.parameters is not None
        weight = scene.parameters.weight(site.module)
        if weight is None or len(weight.shape) != 2:
            return
        if weight.shape != (reference.output.shape[1], reference.inputs["x"].shape[1]):
            return
        bias = scene.parameters.weight(site.module, "bias")
        added = bias.read().astype(np.float64) if bias is not None else None
        if added is not None and added.shape != (weight.shape[0],):
            return
        words = {"weight": "checkpoint", "bias": "checkpoint" if added is not None else "none"}
        yield Fit({"weight": weight, "bias": added}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        return list(products(fit.values["weight"], fit.values["bias"], cases, scene))

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        base = products(fit.values["weight"], fit.values["bias"], [candidate], scene)[0]
        yield from weight_hypotheses(scene, site, fit, candidate, base)
        yield from output_hypotheses(base, candidate, site.groups)


def products(
    weight: Weight, bias: Array | None, cases: Sequence[Case], scene: Scene | None = None
) -> list[Prediction]:
    """x W^T + b of several cases; each block of the weight is read once."""
    stacks = [Stack(case, weight, bias) for case in cases]
    for first, block in weight.blocks():
        if scene is not None and scene.cancelled is not None and scene.cancelled():
            raise CancelledError
        for stack in stacks:
            stack.add(first, block)
    return [stack.prediction() for stack in stacks]


@dataclass
class Stack:
    """The product of one case as it grows block by block."""

    case: Case
    weight: Weight
    bias: Array | None

    def __post_init__(self) -> None:
        out = self.weight.shape[0]
        self.value = np.empty((len(self.x), out))
        self.by_channel = np.empty(out)  # sum over inputs of mean x^2 times w^2
        self.by_input = np.zeros(self.x.shape[1])  # sum over outputs of w^2

    @cached_property
    def x(self) -> Array:
        x = self.case.inputs["x"]
        return x if self.exact else x.astype(np.float32)

    @cached_property
    def exact(self) -> bool:
        """Float64 is needed where float32 products are no finer than what is judged."""
        return max(self.case.units.values()) < _FINE

    @cached_property
    def unit(self) -> float:
        """The grid that a loader rounds the weights to: that of the side's records, where the
        checkpoint's is finer.
        """
        known = DTYPES.get(self.weight.dtype)
        stored = known.epsilon / 2 if known is not None and known.epsilon > 0 else 2.0**-24
        unit = self.case.units["output"]
        return unit if unit > stored and unit <= 2.0**-8 else 0.0

    def add(self, first: int, block: Array) -> None:
        """Rows `first` and on of the weight."""
        if self.unit:
            block = on_grid(block, self.unit)
        last = first + len(block)
        wide = block.astype(np.float64 if self.exact else np.float32, copy=False)
        self.value[:, first:last] = self.x @ wide.T
        square = np.square(wide)
        self.by_input += square.sum(0, dtype=np.float64)
        mean = np.square(self.case.inputs["x"]).mean(0)
        self.by_channel[first:last] = square @ mean.astype(square.dtype)

    def prediction(self) -> Prediction:
        value = self.value if self.bias is None else self.value + self.bias
        unit = self.case.units["output"] * ROUNDED
        row = np.square(self.case.inputs["x"]) @ self.by_input
        total = float(self.by_channel.sum()) or 1.0
        inner = row[:, None] * (self.by_channel / total)[None, :]
        return Prediction(value, unit * np.sqrt(np.square(value) + inner))


def heads_of(scene: Scene, module: str) -> int:
    """How many heads the output of a projection has, by the config; 1 where it is not parted."""
    role = scene.reference.role(module)
    config = scene.config.get("text_config") or scene.config
    heads = config.get("num_attention_heads") or config.get("n_head")
    if role == "query" and isinstance(heads, int):
        return heads
    if role in ("key", "value") and isinstance(heads, int):
        return int(config.get("num_key_value_heads") or heads)
    return 1
