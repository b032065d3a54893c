"""Statistics of a tensor, for captures without values.

Over the finite elements, accumulated in float64: `min`, `max`, `mean`, `std` (of the population),
`l2`; counted: `nan`, `inf`, `zeros`, `count` (all elements). What cannot be computed is None.
Integers have exact extremes; a complex number counts by its magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

BLOCK = 1 << 20  # elements whose sums are worked out at a time, then merged


@dataclass(slots=True)
class Sums:
    """What is known of the elements so far; `n` of them are finite."""

    n: int = 0
    low: float | int = math.inf
    high: float | int = -math.inf
    mean: float = 0.0
    centred: float = 0.0  # sum of squares about the mean
    nan: int = 0
    inf: int = 0
    zeros: int = 0

    def add(self, part: torch.Tensor) -> None:
        """Merge a block of plain numbers (Chan, Golub, LeVeque: parallel mean and variance)."""
        self.zeros += int((part == 0).sum())
        if part.is_floating_point():
            wide = part.to(torch.float64)
            fine = torch.isfinite(wide)
            if not bool(fine.all()):
                nan = int(torch.isnan(wide).sum())
                self.nan += nan
                self.inf += wide.numel() - int(fine.sum()) - nan
                wide = wide[fine]
            self._merge(wide, wide)
        else:
            self._merge(part, part.to(torch.float64))

    def _merge(self, exact: torch.Tensor, wide: torch.Tensor) -> None:
        if not wide.numel():
            return
        mean = float(wide.mean())
        centred = float(((wide - mean) ** 2).sum())
        self.merge(wide.numel(), mean, centred, exact.min().item(), exact.max().item())

    def merge(
        self, count: int, mean: float, centred: float, low: float | int, high: float | int
    ) -> None:
        """Merge `count` finite numbers, one at least: their mean, the sum of squares about it,
        their extremes.
        """
        total = self.n + count
        gap = mean - self.mean
        self.centred += centred + gap * gap * self.n * count / total
        self.mean += gap * count / total
        self.n = total
        self.low, self.high = min(self.low, low), max(self.high, high)

    def described(self, count: int) -> dict[str, Any]:
        """The statistics of a tensor of `count` elements, as JSON has them."""
        counts = {"nan": self.nan, "inf": self.inf, "zeros": self.zeros, "count": count}
        if not self.n:
            return {"min": None, "max": None, "mean": None, "std": None, "l2": None, **counts}
        square = self.centred + self.n * self.mean * self.mean
        return {
            "min": self.low,
            "max": self.high,
            "mean": _finite(self.mean),
            "std": _finite(math.sqrt(self.centred / self.n) if self.centred >= 0 else math.nan),
            "l2": _finite(math.sqrt(square) if square >= 0 else math.nan),
            **counts,
        }


def statistics(tensor: torch.Tensor) -> dict[str, Any]:
    """The statistics of a tensor on the host, as JSON has them."""
    flat = tensor.reshape(-1)
    sums = Sums()
    for start in range(0, flat.numel(), BLOCK):
        sums.add(_numbers(flat[start : start + BLOCK]))
    return sums.described(flat.numel())


def _numbers(part: torch.Tensor) -> torch.Tensor:
    """Numbers that torch can compare and sum: fp8 has few operations, unsigned ones too."""
    if part.is_complex():
        return part.to(torch.complex128).abs()
    if part.dtype is torch.bool:
        return part.to(torch.uint8)
    if part.is_floating_point() and part.element_size() < 4:
        return part.to(torch.float32)
    if part.dtype in (torch.uint16, torch.uint32):
        return part.to(torch.int64)
    if part.dtype is torch.uint64:  # beyond int64 only approximately
        return part.to(torch.float64)
    return part


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
