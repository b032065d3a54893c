"""Comparing by statistics, where a side was captured without its values.

What both sides have is compared: extremes, mean, deviation, norm, counts of NaN and Inf, a hash,
and our own captures' summary of where elements stand. Of a side that has values these are worked
out first. Statistics of a part of a record are not known: a recipe must keep all its elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ...capture.projections import (
    MOST_FOR_AXES,
    Projections,
    axis_sums,
    digest_of,
    distance,
    part_of_axis,
    read_summary,
)
from ...capture.values import Array
from ..model import ByStatistics, Failure, SideStatistics
from ..recipes.errors import Shape
from ..recipes.parse import parse_recipe
from ..recipes.steps import Flip, Permute, Reshape, Squeeze, Step, Transpose, Unsqueeze
from .blocks import pieces
from .bounded_sample import UNREADABLE
from .failures import failure_of
from .moments import SideSums
from .pair_reader import PairReader, SideTask

_IN_ORDER = (Squeeze, Unsqueeze, Reshape)  # steps that leave elements in their order
_ALL_KEPT = (*_IN_ORDER, Transpose, Permute, Flip)  # and those that keep all of them
_MOST_ELEMENTS = 1 << 63
_MUCH = 3.0  # times the difference of the next part of an axis: the difference lies there
_NUMBERS = ("min", "max", "mean", "std", "l2")
_COUNTS = ("nan", "inf", "zeros")


@dataclass(frozen=True, slots=True)
class RecordedSide:
    """One side: its statistics as recorded, or where its values lie. `shape` is None where nobody
    recorded it.
    """

    shape: Shape | None
    dtype: str
    recipe: str
    stats: Mapping[str, Any] | None = None
    values: SideTask | None = None


@dataclass(frozen=True, slots=True)
class StatisticsTask:
    """Everything needed to compare a pair by its statistics."""

    reference: RecordedSide
    candidate: RecordedSide


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a side: numbers by name, absent where unknown."""

    shape: Shape
    count: int
    dtype: str
    numbers: dict[str, float]
    counts: dict[str, int]
    hash: str | None
    projections: Array | None
    axes: list[Array]
    broken: bool  # a statistic is no finite number: so are some elements
    population: bool  # `std` is surely that of the population


def compare_statistics(
    task: StatisticsTask, cancelled: Callable[[], bool] | None = None
) -> ByStatistics | Failure:
    """Compare a pair; what cannot be compared comes back as a `Failure` in words. Raises
    `CancelledError` when `cancelled` said stop.
    """
    try:
        with np.errstate(all="ignore"):
            left, right = _known(task.reference, cancelled), _known(task.candidate, cancelled)
    except UNREADABLE as error:
        return failure_of(error)
    except _PartError as error:
        return Failure(str(error), level="missing")
    left, right = _of_one_size(left, right), _of_one_size(right, left)
    if left.count != right.count:
        words = f"{left.count} elements {list(left.shape)} against {right.count}"
        return Failure(f"{words} {list(right.shape)}", level="shape")
    return _compared(left, right)


def _of_one_size(one: _Known, other: _Known) -> _Known:
    """Where one side's number of elements is not recorded, it counts as that of the other."""
    return replace(one, shape=other.shape, count=other.count) if one.count < 0 else one


class _PartError(Exception):
    """Statistics of a part of a record, which are not known."""


def _known(side: RecordedSide, cancelled: Callable[[], bool] | None) -> _Known:
    if side.values is not None:
        return _worked_out(side, side.values, cancelled)
    assert side.stats is not None
    steps = parse_recipe(side.recipe).steps
    if side.shape is None:
        if steps:
            raise _PartError("captured as statistics only, without its shape")
        return _recorded(side, side.stats, (), False)
    if not keeps_all(side.recipe):
        raise _PartError(
            "captured as statistics only, and the statistics of a part of it are not known"
        )
    shape = parse_recipe(side.recipe).shape(side.shape)
    return _recorded(side, side.stats, shape, _keeps_order(steps))


def keeps_all(recipe: str) -> bool:
    """True for a recipe that only moves elements. Raises `RecipeError`."""
    return all(isinstance(step, _ALL_KEPT) for step in parse_recipe(recipe).steps)


def _keeps_order(steps: tuple[Step, ...]) -> bool:
    return all(isinstance(step, _IN_ORDER) for step in steps)


def _recorded(
    side: RecordedSide, stats: Mapping[str, Any], shape: Shape, in_order: bool
) -> _Known:  # fmt: skip
    found = {name: real_number(stats.get(name)) for name in _NUMBERS}
    if found["l2"] is None:
        found["l2"] = real_number(stats.get("norm"))
    counts = {name: n for name in _COUNTS if (n := whole_number(stats.get(name))) is not None}
    summary = read_summary(stats.get("sketch")) if in_order else None
    digest = stats.get("hash")
    broken = any(isinstance(n, float) and not math.isfinite(n) for n in stats.values())
    count = whole_number(stats.get("count"))
    if count is None:
        count = -1 if side.shape is None else prod(side.shape)  # below 0: not known
    return _Known(
        shape, count, side.dtype,
        {name: number for name, number in found.items() if number is not None}, counts,
        digest if isinstance(digest, str) and in_order else None,
        None if summary is None else summary[0],
        summary[1] if summary is not None and len(summary[1]) == len(shape)
        and side.shape == shape else [],
        broken or counts.get("nan", 0) + counts.get("inf", 0) > 0, "sketch" in stats,
    )  # fmt: skip


def real_number(found: object) -> float | None:
    """A recorded statistic as a finite number; None where it is none."""
    if isinstance(found, bool | int | float):
        try:
            number = float(found)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def whole_number(found: object) -> int | None:
    """A recorded count; None where it is none, or more than there can be."""
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _MOST_ELEMENTS:
        return found
    return None


def _worked_out(
    side: RecordedSide, task: SideTask, cancelled: Callable[[], bool] | None
) -> _Known:  # fmt: skip
    """The statistics of values, in the pair's view."""
    projections, sums = Projections(), SideSums()
    flats: list[Array] = []
    with PairReader(task, None) as reader:
        if reader.shown is not None and not reader.shown.all():
            raise _PartError("only some elements are held: their statistics are those of a part")
        shape = reader.shape
        for block in reader.blocks(cancelled=cancelled):
            assert block.x is not None
            flat = np.ascontiguousarray(block.x).reshape(-1)
            _add(sums, flat)
            projections.add(flat, block.start)
            if prod(shape) <= MOST_FOR_AXES:
                flats.append(flat.copy())
        digest = _digest(task, reader)
    axes = axis_sums(np.concatenate(flats).reshape(shape)) if flats else []
    std, l2 = sums.spread()
    found = {"min": sums.low, "max": sums.high, "mean": sums.mean, "std": std, "l2": l2}
    numbers = {
        name: float(number) for name, number in found.items()
        if sums.n and number is not None and math.isfinite(number)
    }  # fmt: skip
    counts = {"nan": sums.nan, "inf": sums.inf, "zeros": sums.zeros}
    return _Known(
        shape, prod(shape), side.dtype, numbers, counts, digest, projections.sums.reshape(-1), axes,
        sums.nan + sums.inf > 0, True,
    )  # fmt: skip


def _add(sums: SideSums, values: Array) -> None:
    """Add a block of numbers; a complex one counts by its magnitude."""
    wide = np.abs(values) if values.dtype.kind == "c" else values
    wide = wide.astype(np.float64)
    sums.zeros += int(np.count_nonzero(wide == 0))
    finite = np.isfinite(wide)
    if not finite.all():
        nan = int(np.count_nonzero(np.isnan(wide)))
        sums.nan += nan
        sums.inf += wide.size - int(np.count_nonzero(finite)) - nan
        wide = wide[finite]
    if wide.size:
        mean = float(wide.mean())
        squares = float(((wide - mean) ** 2).sum())
        sums.add(wide.size, float(wide.min()), float(wide.max()), mean, squares)


def _digest(task: SideTask, reader: PairReader) -> str | None:
    """The hash of the bytes in the pair's view; None where they are not those of the record."""
    side = reader.reference
    assert side is not None
    if side.recipe.casts or task.locator.dtype != task.dtype:
        return None
    view = side.view
    return digest_of((side.read(view[key]) for _, key in pieces(view.shape)), task.dtype)


# Both sides


def _compared(left: _Known, right: _Known) -> ByStatistics | Failure:
    names = tuple(
        name for name in _NUMBERS if name in left.numbers and name in right.numbers
    ) + tuple(name for name in _COUNTS if name in left.counts and name in right.counts)
    alike = left.hash is not None and left.hash == right.hash and left.dtype == right.dtype
    same_kind = _kind(left.hash) == _kind(right.hash) is not None
    estimate, where = _estimate(left, right)
    if not names and not same_kind and estimate is None and not (left.broken or right.broken):
        return Failure("no statistic that both sides have: nothing to compare")
    hashes = same_kind and left.dtype == right.dtype
    return ByStatistics(
        left.shape, left.count, _side(left), _side(right),
        (*names, *(("hash",) if hashes else ()), *(("sketch",) if estimate is not None else ())),
        alike, None if not hashes else alike, estimate, where, _rms(left), _rms(right),
        _nonfinite_apart(left, right), left.population and right.population,
    )  # fmt: skip


def _kind(digest: str | None) -> str | None:
    """What tells hashes of different tools apart: what stands before a colon, and the length."""
    return None if digest is None else f"{digest.rpartition(':')[0]}:{len(digest)}"


def _nonfinite_apart(left: _Known, right: _Known) -> bool:
    """Whether one side has NaN or Inf that the other has not, as far as is known."""
    for name in ("nan", "inf"):
        both = name in left.counts and name in right.counts
        if both and left.counts[name] != right.counts[name]:
            return True
    return left.broken != right.broken


def _side(known: _Known) -> SideStatistics:
    low, high, mean, std, l2 = (known.numbers.get(name) for name in _NUMBERS)
    nan, inf, zeros = (known.counts.get(name, 0) for name in _COUNTS)
    return SideStatistics(low, high, mean, std, l2, nan, inf, zeros)


def _rms(known: _Known) -> float | None:
    """The root mean square of the finite elements; None where it is not known."""
    numbers = known.numbers
    finite = known.count - known.counts.get("nan", 0) - known.counts.get("inf", 0)
    if "l2" in numbers and finite > 0:
        return numbers["l2"] / math.sqrt(finite)
    if "mean" in numbers and "std" in numbers:
        return math.hypot(numbers["mean"], numbers["std"])
    return None


def _estimate(left: _Known, right: _Known) -> tuple[float | None, str]:
    """The relative L2 by the projections, and where sums along an axis differ most."""
    if left.projections is None or right.projections is None:
        return None, ""
    apart = distance(left.projections, right.projections)
    size = left.numbers.get("l2") or 0.0
    if size == 0.0:
        return (0.0 if apart == 0.0 else math.inf), ""
    # What is recorded is rounded to float32.
    rounding = 2.0**-23 * size
    return (0.0 if apart <= rounding else apart / size), _place(left, right)


def _place(left: _Known, right: _Known) -> str:
    """The part of an axis whose sum differs much more than the others', in words."""
    best, words = 0.0, ""
    if len(left.axes) != len(right.axes) or left.shape != right.shape:
        return ""
    for axis, (ours, theirs) in enumerate(zip(left.axes, right.axes, strict=True)):
        apart = np.abs(theirs - ours)
        if len(apart) < 3 or len(ours) != len(theirs):
            continue
        at = int(apart.argmax())
        others = float(np.sort(apart)[-2])
        ratio = float(apart[at]) / others if others > 0 else math.inf
        if apart[at] > 0 and ratio > max(best, _MUCH):
            low, high = part_of_axis(at, left.shape[axis])
            span = f"{low}" if high == low + 1 else f"{low}:{high}"
            best, words = ratio, f"most of it at {span} of axis {axis}"
    return words
