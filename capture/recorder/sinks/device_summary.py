"""Statistics and sketch of a tensor worked out on its own device, without waiting for it.

The operations are queued behind the work that made the tensor, and one small vector comes back: of
each block of elements its counts, mean and extremes, then the projections and the sums along axes.
Merging them is left to whoever needs them. The numbers are those of the host (`stats`,
`projections`), but sums are added in another order, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...projections import (
    BINS,
    BITS,
    BLOCK,
    GAMMA,
    LAST_SHIFT,
    MIXING,
    MOST_FOR_AXES,
    ROWS,
    WIDTH,
    as_summary,
)
from . import stats

_PER_BLOCK = 7  # numbers that a block of statistics comes to: see `_sums`
_GROUPS = 64  # partial sums beside one another: on a GPU thousands of threads add to few numbers
_KEPT_DRAWS = 16  # blocks whose places are kept on a device, 2 MiB each


@dataclass(slots=True)
class Summary:
    """What comes back from the device: `numbers` are there once `event` has happened."""

    shape: tuple[int, ...]
    numbers: torch.Tensor  # float64 on the host
    event: Any = None

    @property
    def nbytes(self) -> int:
        return summary_bytes(self.shape)

    def wait(self) -> None:
        """Until the device has come this far."""
        if self.event is not None:
            self.event.synchronize()
            self.event = None

    def described(self) -> dict[str, Any]:
        """Statistics and `sketch`, as JSON has them, without a `hash`."""
        self.wait()
        numbers, count = self.numbers.numpy(), math.prod(self.shape)
        blocks = _blocks(count) * _PER_BLOCK
        sums = stats.Sums()
        for n, nan, zeros, mean, centred, low, high in numbers[:blocks].reshape(-1, _PER_BLOCK):
            block = min(stats.BLOCK, count)
            count -= block
            sums.nan, sums.zeros = sums.nan + int(nan), sums.zeros + int(zeros)
            sums.inf += block - int(n) - int(nan)
            if n:
                sums.merge(int(n), float(mean), float(centred), float(low), float(high))
        projections, rest = np.split(numbers[blocks:], [ROWS * WIDTH])
        axes = np.split(rest, np.cumsum(_parts(self.shape)))[:-1]
        return {**sums.described(math.prod(self.shape)), "sketch": as_summary(projections, axes)}


def summary_bytes(shape: tuple[int, ...]) -> int:
    """Bytes that come back from the device for a tensor of this shape."""
    return 8 * (_blocks(math.prod(shape)) * _PER_BLOCK + ROWS * WIDTH + sum(_parts(shape)))


def _blocks(count: int) -> int:
    return -(-count // stats.BLOCK)


def _parts(shape: tuple[int, ...]) -> list[int]:
    """How many sums each axis has."""
    return [min(size, BINS) for size in shape] if math.prod(shape) <= MOST_FOR_AXES else []


class Draws:
    """Where elements are added, on the devices that it was asked for; the first blocks are kept."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.device, int], torch.Tensor] = {}

    def of(self, number: int, device: torch.device) -> torch.Tensor:
        """What `projections.drawn` says of a block, uint8 `[ROWS, BLOCK]`, worked out there."""
        if number >= _KEPT_DRAWS:
            return _drawn(number, device)
        key = device, number
        if key not in self._kept:
            self._kept[key] = _drawn(number, device)
        return self._kept[key]

    def clear(self) -> None:
        """Give the devices their memory back."""
        self._kept.clear()


def _drawn(number: int, device: torch.device) -> torch.Tensor:
    first = number * BLOCK + 1
    mixed = torch.arange(first, first + BLOCK, dtype=torch.int64, device=device)
    mixed *= _signed(GAMMA)
    for shift, factor in MIXING:
        mixed ^= _shifted(mixed, shift)
        mixed *= _signed(factor)
    mixed ^= _shifted(mixed, LAST_SHIFT)
    shifts = BITS * torch.arange(ROWS, dtype=torch.int64, device=device)[:, None]
    return ((mixed >> shifts) & (2 * WIDTH - 1)).to(torch.uint8)


def _signed(number: int) -> int:
    """The int64 of the same 64 bits: products wrap around alike."""
    return number - (1 << 64) if number >> 63 else number


def _shifted(numbers: torch.Tensor, by: int) -> torch.Tensor:
    """Bits of int64 moved to the right, zeros behind them."""
    return (numbers >> by) & ((1 << (64 - by)) - 1)


def summarise(tensor: torch.Tensor, draws: Draws) -> torch.Tensor:
    """The numbers of `Summary`, float64 on the device of a tensor of real floating-point numbers.

    Raises `RuntimeError` where the device has no room, or lacks an operation.
    """
    flat = tensor.reshape(-1)
    parts: list[torch.Tensor] = []
    projected = torch.zeros((ROWS, _GROUPS, 2 * WIDTH), dtype=torch.float64, device=flat.device)
    known = None
    for start in range(0, flat.numel(), stats.BLOCK):
        wide = flat[start : start + stats.BLOCK].to(torch.float64)
        known = _finite(wide)
        parts.append(_sums(wide, known))
        _project(known, start, draws, projected)
    sums = projected.sum(1)
    parts.append((sums[:, :WIDTH] - sums[:, WIDTH:]).reshape(-1))
    if flat.numel() <= MOST_FOR_AXES:
        if known is None or known.numel() < flat.numel():
            known = _finite(flat.to(torch.float64))
        known = known.view(tensor.shape)
        parts.extend(_along(known, axis) for axis in range(known.dim()))
    return torch.cat(parts)


def _sums(wide: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Of a block: finite elements, NaN, zeros; mean, sum of squares about it, extremes of what is
    finite. In `known` the rest are zeros.
    """
    fine = wide.abs() < math.inf
    count = fine.sum()
    mean = known.sum() / count
    centred = torch.where(fine, (wide - mean).square_(), 0.0).sum()
    low = torch.where(fine, wide, math.inf).amin()
    high = torch.where(fine, wide, -math.inf).amax()
    counts = count.to(torch.float64), (wide != wide).sum().double(), (wide == 0).sum().double()
    return torch.stack((*counts, mean, centred, low, high))


def _finite(wide: torch.Tensor) -> torch.Tensor:
    """Numbers with zeros for what is not finite."""
    return wide.nan_to_num(0.0, 0.0, 0.0)


def _project(known: torch.Tensor, start: int, draws: Draws, into: torch.Tensor) -> None:
    """Add flat numbers from place `start` on, where a block begins, `into`
    `[ROWS, _GROUPS, 2 * WIDTH]`.
    """
    for at in range(0, known.numel(), BLOCK):
        part = known[at : at + BLOCK]
        count = part.numel()
        groups = math.gcd(count, _GROUPS)
        places = draws.of((start + at) // BLOCK, part.device)[:, :count].to(torch.int64)
        source = part.view(1, groups, -1).expand(ROWS, -1, -1)
        into.scatter_add_(2, places.view(ROWS, groups, -1), source)


def _along(known: torch.Tensor, axis: int) -> torch.Tensor:
    """Sums over everything but one axis, of at most `BINS` parts of it."""
    others = tuple(other for other in range(known.dim()) if other != axis)
    sums = known.sum(others) if others else known
    size = sums.numel()
    if size <= BINS:
        return sums
    if size % BINS == 0:
        return sums.view(BINS, -1).sum(1)
    places = torch.arange(size, device=sums.device) * BINS // size
    return torch.zeros(BINS, dtype=torch.float64, device=sums.device).index_add_(0, places, sums)
