"""Windows of images and signals: what convolutions and pooling look at. Arrays are [batch,
channels, *lengths], as torch has them, with one to three lengths; a window has a size, a step and a
dilation along each, and the image is padded at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Protocol

import numpy as np

from ....capture.values import Array
from ..law import Case, Scene, Site
from ..numerics.quantities import Quantity, SideQuantities
from ..numerics.rounding import unit_of
from ..numerics.sampling import sample_rows

PADDED, BEYOND = -1, -2  # places of a window in the padding, and outside that, too
_DILATIONS = (1, 2, 3, 4, 8, 16)
_MOST_OF_AXIS = 12  # ways along one axis that are looked at

Shape = tuple[int, ...]
Axis = tuple[int, int, int]  # step, padding, dilation


class Windows(Protocol):
    """What says which places of an image each place of the result looks at."""

    def places(self, image: Shape, result: Shape) -> list[Array]:
        """For every axis `[result, size]`: numbers of places of the image, `PADDED` or `BEYOND`."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of one size. `first` is how many places they all start later than the padding says:
    images that are padded at one end only.
    """

    size: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    first: int = 0

    def places(self, image: Shape, result: Shape) -> list[Array]:
        found: list[Array] = []
        for axis, length in enumerate(image):
            start = np.arange(result[axis])[:, None] * self.stride[axis] - self.padding[axis]
            at = start + self.dilation[axis] * np.arange(self.size[axis]) + self.first
            inside = (at >= 0) & (at < length)
            outside = np.where(at < length + self.padding[axis], PADDED, BEYOND)
            found.append(np.where(inside, at, outside))
        return found

    @property
    def words(self) -> dict[str, str]:
        """What it is, for people."""
        said = {"window": _by(self.size), "step": _by(self.stride), "padding": _by(self.padding)}
        return said if set(self.dilation) == {1} else {**said, "dilation": _by(self.dilation)}


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Windows that part an image into as many (overlapping) pieces as there are results: from
    floor(i L / n) to ceil((i + 1) L / n), as torch's adaptive pooling has them.
    """

    def places(self, image: Shape, result: Shape) -> list[Array]:
        found: list[Array] = []
        for length, count in zip(image, result, strict=True):
            number = np.arange(count)[:, None]
            start, end = number * length // count, -(-(number + 1) * length // count)
            at = start + np.arange(int((end - start).max()))
            found.append(np.where(at < end, at, BEYOND))
        return found

    @property
    def words(self) -> dict[str, str]:
        """What it is, for people."""
        return {"window": "parts of the image"}


def gathered(
    windows: Windows, images: Array, places: Array, result: Shape
) -> tuple[Array, Array]:  # fmt: skip
    """The windows at flat places of `result` [batch, *lengths]: values `[places, channels, size]`,
    and `[places, size]`, 0 inside the image, else `PADDED` or `BEYOND` (values there are nothing).
    """
    batch, *at = np.unravel_index(places, result)
    axes = [
        numbers[own]
        for numbers, own in zip(windows.places(images.shape[2:], result[1:]), at, strict=True)
    ]
    count = len(axes)
    spread_out = [
        axis.reshape(len(places), *(axis.shape[1] if i == j else 1 for j in range(count)))
        for i, axis in enumerate(axes)
    ]
    outside = np.minimum.reduce(np.broadcast_arrays(*(np.minimum(a, 0) for a in spread_out)))
    index = tuple(np.maximum(axis, 0) for axis in spread_out)
    # Indices on both sides of the channels: those come last.
    found = images[(batch.reshape(-1, *(1,) * count), slice(None), *index)]
    values = found.reshape(len(places), -1, images.shape[1]).transpose(0, 2, 1)
    return values, outside.reshape(len(places), -1)


def fitting(
    size: Shape, image: Shape, result: Shape, dilated: bool = False, up: bool = False
) -> Iterator[Window]:
    """Steps, paddings and dilations with which windows of a size make `result` of `image`: those
    alike along all axes first, the usual ones first. `up`: a last window that is not full counts.
    """
    axes = [
        list(_along(*lengths, dilated, up))[:_MOST_OF_AXIS]
        for lengths in zip(size, image, result, strict=True)
    ]
    ways = sorted(product(*axes), key=lambda way: len(set(way)))
    for way in ways:
        stride, padding, dilation = zip(*way, strict=True)
        yield Window(size, stride, padding, dilation)


def _along(size: int, length: int, count: int, dilated: bool, up: bool) -> Iterator[Axis]:
    for dilation in _DILATIONS if dilated and size > 1 else (1,):
        reach = dilation * (size - 1)
        usual = (0, reach // 2, reach)  # none, what keeps the length, what looks back only
        for padding in dict.fromkeys((*usual, *range(reach + 1))):
            room = length + 2 * padding - reach - 1
            if room < 0:
                continue
            if count == 1 and room < size:
                yield size, padding, dilation
            elif count > 1:
                steps = range(max(1, room // count), room // (count - 1) + 2)
                for step in sorted(steps, key=lambda s: (s not in (1, size), s)):
                    made = (-(-room // step) if up else room // step) + 1
                    # The last window has to begin in the image or in its padding in front.
                    made -= up and (made - 1) * step >= length + padding
                    if made == count:
                        yield step, padding, dilation


def read_images(
    scene: Scene, site: Site, side: SideQuantities, axes: int, suits: Callable[[int, int], bool]
) -> Case | None:  # fmt: skip
    """A case of places: `output` `[places, channels]`, the whole input `[batch, channels,
    *lengths]` in `more["images"]`, the shape of all places [batch, *lengths] in `more["result"]`.
    Channels may be recorded in front of the lengths or behind them: `suits` says of the channels of
    input and output whether they can be. None where they are no images with `axes` lengths. Raises
    `sample.UNREADABLE`.
    """
    (key,) = site.source("x")
    target, source = side.known.get(site.target), side.known.get(key)
    last = _channels_last(scene, site, side, axes, suits)
    if target is None or source is None or last is None:
        return None
    images, output = (
        _images(scene, quantity, axes, way)
        for quantity, way in zip((source, target), last, strict=True)
    )
    if len(output) != len(images):
        return None
    output = np.moveaxis(output, 1, -1)
    places = sample_rows(prod(output.shape[:-1]))
    taken = output.reshape(-1, output.shape[-1])[places]
    units = {"output": unit_of(taken, target.dtype), "x": unit_of(images, source.dtype)}
    more = {"images": images, "result": output.shape[:-1]}
    return Case(side.side, taken, places, {}, units, more=more)


def _channels_last(
    scene: Scene, site: Site, side: SideQuantities, axes: int, suits: Callable[[int, int], bool]
) -> tuple[bool, bool] | None:  # fmt: skip
    """Whether a side recorded channels behind the lengths, of input and output; None where that
    cannot be told. Both sides have as many channels. Input and output are alike, unless that suits
    nowhere: the recipe of a pair may have turned one of them.
    """
    for mixed in (False, True):
        ways = {one.side: _ways(scene, site, one, axes, suits, mixed) for one in scene.sides}
        own, other = ways[side.side], *(w for name, w in ways.items() if name != side.side)
        common = {last: given for last, given in own.items() if given in other.values()}
        if common:
            return None if len(common) > 1 and own != other else next(iter(common))
    return None


def _ways(
    scene: Scene, site: Site, side: SideQuantities, axes: int, suits: Callable[[int, int], bool],
    mixed: bool,
) -> dict[tuple[bool, bool], tuple[int, int]]:  # fmt: skip
    """The channels of input and output with the places that they may have; with different ones
    only where no length of the output is greater than that of the input.
    """
    shapes = [
        scene.tables.shape(side.known[k])
        for k in (*site.source("x"), site.target) if k in side.known
    ]  # fmt: skip
    if len(shapes) != 2 or any(len(s) not in (axes + 1, axes + 2) or 0 in s for s in shapes):
        return {}
    found: dict[tuple[bool, bool], tuple[int, int]] = {}
    for last in product((False, True), (False, True)):
        (given, source), (made, target) = (
            (s[-1], s[-axes - 1 : -1]) if way else (s[-axes - 1], s[-axes:])
            for s, way in zip(shapes, last, strict=True)
        )
        shrinks = all(a >= b for a, b in zip(source, target, strict=True))
        if (last[0] == last[1] or (mixed and shrinks)) and suits(given, made):
            found[last] = given, made
    return found


def _images(scene: Scene, quantity: Quantity, axes: int, last: bool) -> Array:
    """`[batch, channels, *lengths]` of a record whose channels stand there, or last; the batch may
    be left out.
    """
    shape = scene.tables.shape(quantity)
    values = scene.tables.whole(quantity).reshape((-1, *shape[-axes - 1 :]))
    return np.moveaxis(values, -1, 1) if last else values


def _by(numbers: Sequence[int]) -> str:
    """`3`, or `3 x 5` where they differ."""
    return str(numbers[0]) if len(set(numbers)) == 1 else " x ".join(map(str, numbers))
