"""Convolution of images and signals, patch embeddings among them: y = sum over a window of x w,
plus a bias, by groups of channels, with the weights of the checkpoint. Steps, padding and dilation
follow from the shapes; which of several the module has, the reference shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import prod

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.values import Array
from ..generic import output_hypotheses
from ..law import Case, Fit, Hypothesis, Prediction, Scene, Site
from ..names import kind_name
from ..numerics.quantities import Quantity, SideQuantities
from ..numerics.rounding import ROUNDED, on_grid
from ..numerics.sampling import MOST_ROWS
from .windows import Window, fitting, gathered, read_images

_MOST_WEIGHTS = 1 << 24  # elements: kernels larger than that are not looked at
_MOST_TAKEN = 1 << 25  # elements of all windows together
_MOST_WINDOWS = 24  # steps, paddings and dilations that are tried
_COARSE = 2.0**-8  # units up to which a loader is taken to round weights to a side's grid
_FINE = 2.0**-20  # units below which sums in float32 are too coarse to judge by
# The squared error of n products added in float32 one after the other is n / 4 of the predicted
# one (patch embeddings on a CPU: ratios of 12 to 17 for n = 588 to 1176); in blocks it is less (3
# to 7). With this much of n added, all come within 0.7 to 2.8.
_ADDED = 1 / 16
_GRIDS = ((2.0**-8, "bfloat16"), (2.0**-11, "float16"))
_AXES = (1, 2, 3)


@dataclass(frozen=True)
class Kernel:
    """`weight` `[out, in of a group, *size]`; `unit` is the unit roundoff it is stored with."""

    weight: Array
    bias: Array | None
    window: Window
    unit: float

    def loaded(self, unit: float) -> Array:
        """The weight as a side has it whose records have this unit roundoff."""
        return on_grid(self.weight, unit) if self.unit < unit <= _COARSE else self.weight

    def apply(self, case: Case) -> Prediction:
        """The convolution at a case's places."""
        unit = case.units["output"]
        weight = self.loaded(unit)
        found, outside = gathered(
            self.window, case.more["images"], case.rows, case.more["result"]
        )  # fmt: skip
        found = np.where(outside[:, None] < 0, 0.0, found)
        groups = found.shape[1] // weight.shape[1]
        x = found.reshape(len(found), groups, -1).swapaxes(0, 1)
        w = weight.reshape(groups, len(weight) // groups, -1).swapaxes(1, 2)
        value, inner = _joined(x @ w), _joined(np.square(x) @ np.square(w))
        if unit < _FINE:
            inner *= 1.0 + _ADDED * x.shape[2]
        if self.bias is not None:
            value = value + self.bias
        return Prediction(value, ROUNDED * unit * np.sqrt(np.square(value) + inner))


class ConvolutionLaw:
    """The law of convolutions."""

    name = "convolution"

    def sites(self, scene: Scene) -> Iterator[Site]:
        if scene.parameters is None:
            return
        side = scene.reference
        for key in list(side.known):
            if key.slot != "output" or "transpose" in side.classes.get(key.module, "").lower():
                continue
            weight = scene.parameters.weight(key.module)
            if weight is None or len(weight.shape) - 2 not in _AXES:
                continue
            own = side.main_input(key.module, key.step, key.call)
            if own is None or not _both(scene, side.known[key], own):
                continue
            yield Site(self.name, key.module, key, kind_name(key), (("x", (own.key,)),))

    def read(self, scene: Scene, site: Site, side: SideQuantities, rows: Array) -> Case | None:
        assert scene.parameters is not None
        weight = scene.parameters.weight(site.module)
        if weight is None or 0 in weight.shape:
            return None
        out, inside = weight.shape[:2]

        def suits(given: int, returned: int) -> bool:
            return returned == out and given % inside == 0 and out % (given // inside) == 0

        return read_images(scene, site, side, len(weight.shape) - 2, suits)

    def fit(self, scene: Scene, site: Site, reference: Case) -> Iterator[Fit]:
        assert scene.parameters is not None
        stored = scene.parameters.weight(site.module)
        images = reference.more["images"]
        if stored is None or prod(stored.shape) > _MOST_WEIGHTS or 0 in stored.shape:
            return
        out, inside, *size = stored.shape
        groups, left = divmod(images.shape[1], inside)
        if out != reference.output.shape[1] or left or not groups or out % groups:
            return
        if MOST_ROWS * images.shape[1] * prod(size) > _MOST_TAKEN:
            return
        bias = scene.parameters.weight(site.module, "bias")
        if bias is not None and bias.shape != (out,):
            return
        known = DTYPES.get(stored.dtype)
        unit = known.epsilon / 2 if known is not None and known.epsilon > 0 else 2.0**-24
        weight = stored.read().astype(np.float64)
        added = None if bias is None else bias.read().astype(np.float64)
        shapes = tuple(size), images.shape[2:], reference.more["result"][1:]
        for window in islice(fitting(*shapes, dilated=True), _MOST_WINDOWS):
            words = {**window.words, "weight": "checkpoint"}
            if groups > 1:
                words["groups"] = str(groups)
            yield Fit({"kernel": Kernel(weight, added, window, unit)}, words, read=True)

    def predict(
        self, scene: Scene, site: Site, fit: Fit, cases: Sequence[Case]
    ) -> list[Prediction | None]:
        kernel: Kernel = fit.values["kernel"]
        channels = [case.more["images"].shape[1] for case in cases]
        return [
            kernel.apply(case) if number % kernel.weight.shape[1] == 0 else None
            for case, number in zip(cases, channels, strict=True)
        ]

    def hypotheses(
        self, scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
    ) -> Iterable[Hypothesis]:
        kernel: Kernel = fit.values["kernel"]
        for name, text, changed in _changes(kernel):
            yield Hypothesis(name, text, partial(changed.apply, candidate), "weight")
        if kernel.bias is not None:
            bare = replace(kernel, bias=None)
            yield Hypothesis("bias", "the bias is not added", partial(bare.apply, candidate),
                             "bias", "added", "not added")  # fmt: skip
        for first in (1, -1):
            later = replace(kernel, window=replace(kernel.window, first=first))
            where = "end" if first > 0 else "front"
            yield Hypothesis(
                "token-shift", f"windows are shifted by {first}: padding is at the {where}",
                partial(later.apply, candidate), "start of the windows", "0", str(first),
            )  # fmt: skip
        yield from output_hypotheses(kernel.apply(candidate), candidate)


def _changes(kernel: Kernel) -> Iterator[tuple[str, str, Kernel]]:
    """One change of the weight at a time: name of the cause, text, kernel."""
    weight, axes = kernel.weight, tuple(range(2, kernel.weight.ndim))
    if weight.shape[1] > 1:
        text = "input channels are in reverse order (BGR for RGB)"
        yield "column-order", text, replace(kernel, weight=weight[:, ::-1])
    if weight.ndim > 3 and weight.shape[-1] == weight.shape[-2] > 1:
        text = "height and width of the window are swapped"
        yield "transposed", text, replace(kernel, weight=weight.swapaxes(-1, -2))
    if prod(weight.shape[2:]) > 1:
        text = "windows are mirrored"
        yield "column-order", text, replace(kernel, weight=np.flip(weight, axes))
    if weight.shape[0] == weight.shape[1]:
        text = "input and output channels of the weight are swapped"
        yield "transposed", text, replace(kernel, weight=weight.swapaxes(0, 1))
    for unit, grid in _GRIDS:
        if kernel.unit < unit:
            rounded = replace(kernel, weight=on_grid(weight, unit))
            yield "quantised", f"the weight is rounded to {grid}", rounded


def _joined(parts: Array) -> Array:
    """`[places, out]` of products by group `[groups, places, out of a group]`."""
    return parts.swapaxes(0, 1).reshape(parts.shape[1], -1)


def _both(scene: Scene, *quantities: Quantity) -> bool:
    return all(
        q.key in side.known and side.known[q.key].is_float
        for side in scene.sides
        for q in quantities
    )
