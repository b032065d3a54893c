"""Counts, means, centred sums and extremes that are merged over the blocks of a pair."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Moments:
    """Count, means and centred sums of squares and products of x, y and d, merged over blocks.

    y = x + d, yet y has sums of its own: where the two sides are far apart (a candidate of zeros,
    or a thousand times smaller) those of x and d would cancel to noise.
    """

    n: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    mean_d: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    dd: float = 0.0
    xy: float = 0.0
    xd: float = 0.0

    def add(self, block: Moments) -> None:
        if block.n == 0:
            return
        share = block.n / (self.n + block.n)
        weight = self.n * share
        x, y, d = (
            block.mean_x - self.mean_x, block.mean_y - self.mean_y, block.mean_d - self.mean_d,
        )  # fmt: skip
        self.xx += block.xx + x * x * weight
        self.yy += block.yy + y * y * weight
        self.dd += block.dd + d * d * weight
        self.xy += block.xy + x * y * weight
        self.xd += block.xd + x * d * weight
        self.mean_x += x * share
        self.mean_y += y * share
        self.mean_d += d * share
        self.n += block.n


@dataclass(slots=True)
class SideSums:
    """Statistics of one side's finite elements, merged over blocks."""

    n: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0  # about the mean
    nan: int = 0
    inf: int = 0
    zeros: int = 0

    def spread(self) -> tuple[float | None, float | None]:
        """Standard deviation (population) and Euclidean norm of the finite elements; None without
        one, and where the squares leave the range of float64.
        """
        if self.n == 0:
            return None, None
        total = self.squares + self.n * self.mean * self.mean
        std = math.sqrt(max(0.0, self.squares) / self.n) if math.isfinite(self.squares) else None
        l2 = math.sqrt(max(0.0, total)) if math.isfinite(total) else None
        return (None, None) if l2 == 0 and (self.low or self.high) else (std, l2)

    def add(self, n: int, low: float, high: float, mean: float, squares: float) -> None:
        if n == 0:
            return
        share = n / (self.n + n)
        gap = mean - self.mean
        self.squares += squares
        if self.n:  # the first block's mean may have no square
            self.squares += gap * gap * self.n * share
        self.mean += gap * share
        self.n += n
        self.low, self.high = min(self.low, low), max(self.high, high)

    def merge(self, other: SideSums) -> None:
        """Take in the sums of another part."""
        self.add(other.n, other.low, other.high, other.mean, other.squares)
        self.nan += other.nan
        self.inf += other.inf
        self.zeros += other.zeros


@dataclass(slots=True)
class Extreme:
    """The greatest value seen, where (flat position) and both sides' values there."""

    value: float = -1.0
    position: int = -1
    values: tuple[float, float] = (0.0, 0.0)

    def offer(self, value: float, position: int, x: float, y: float) -> None:
        if value > self.value:
            self.value, self.position, self.values = value, position, (x, y)
