"""Measuring one pair: from two locators and their recipes to a `Measurement`.

A `PairTask` is small and picklable and a measurement holds numbers only, so that any
`concurrent.futures.Executor` can do the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array
from ..model import Failure, Measurement, SideStatistics, Totals
from .blocks import BLOCK, LARGE_BLOCK, PANEL, flat_where_possible, pieces
from .bounded_sample import UNREADABLE, Cut, cut_of, read_cut
from .error_structure import Structure, structure_in_files, structure_of
from .failures import failure_of
from .fused import OnePass, PassDevice, Place, known_float, pass_over_files
from .kernel import compiled_module
from .masks import blocked_places
from .metrics import METRICS, compute
from .moments import Extreme, SideSums
from .pair_reader import (
    CancelledError,
    PairReader,
    PairTask,
    coarser,
    numbers,
    shapes_differ,
)
from .recorded_statistics import keeps_all
from .sums import Sums, Tolerance

AT_A_TIME = 0.008  # seconds between two looks whether to stop: a fifth of what that may take

# rtol, atol by the coarser dtype, as torch.testing.assert_close has them; fp8 by its epsilon.
TOLERANCES: dict[str, tuple[float, float]] = {
    "float64": (1e-7, 1e-7),
    "complex128": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
}


def tolerance_of(task: PairTask) -> Tolerance:
    """The tolerance that a task asks for or that its coarser dtype implies."""
    dtype = coarser(task.reference.effective_dtype, task.candidate.effective_dtype)
    kind = DTYPES[dtype]
    rtol, atol = TOLERANCES.get(dtype, (kind.epsilon, 1e-5 if kind.epsilon else 0.0))
    floating = kind.kind == "float" and task.ulp
    return Tolerance(
        rtol if task.rtol is None else task.rtol,
        atol if task.atol is None else task.atol,
        dtype if floating else "",
    )


def measure(
    task: PairTask, cancelled: Callable[[], bool] | None = None, device: PassDevice | None = None
) -> Measurement | Failure:
    """Measure a pair; what cannot be measured comes back as a `Failure` in words. A `device` does
    what it can of it, and this process the rest.

    Raises `CancelledError` when `cancelled` said stop.
    """
    try:
        with (
            np.errstate(all="ignore"),  # whatever bits a file holds, nothing is printed of them
            PairReader(task.reference, task.candidate) as reader,
        ):
            if len(set(reader.shapes)) > 1:
                return Failure(shapes_differ(*reader.shapes), level="shape")
            if reader.shown is not None:
                found = _measure_partial(task, reader)
                if isinstance(found, Failure) or found.partial is not None:
                    return found
                return replace(found, structure=_structure(
                    task, reader, found.identical, found.compared, found.max_abs_index, cancelled
                ))  # fmt: skip
            return _measure_whole(task, reader, cancelled, device)
    except UNREADABLE as error:
        return failure_of(error)


def _measure_whole(
    task: PairTask, reader: PairReader, cancelled: Callable[[], bool] | None,
    device: PassDevice | None,
) -> Measurement:  # fmt: skip
    places = _places(reader)
    sums = _add_all(task, reader, places, cancelled, device)
    worst = _place(sums.max_abs, sums.reals, reader.shape)
    structure = _structure(task, reader, sums.equal, sums.compared, worst, cancelled, places)
    return finish(sums, reader.shape, sums.tolerance, task.ulp, structure=structure)


def _places(reader: PairReader) -> tuple[Place, Place] | None:
    """Where in files both sides' floats lie in the view's order; None where they are elsewhere,
    must be moved or rounded, or are no floats.
    """
    left, right = reader.sides["reference"], reader.sides["candidate"]
    for side in (left, right):
        if side.recipe.casts or not known_float(side.dtype):
            return None
    places = left.source.place(left.view), right.source.place(right.view)
    return None if places[0] is None or places[1] is None else (places[0], places[1])


def _add_all(
    task: PairTask, reader: PairReader, places: tuple[Place, Place] | None,
    cancelled: Callable[[], bool] | None, device: PassDevice | None,
) -> Sums:  # fmt: skip
    """The sums of all elements."""
    left, right = reader.sides["reference"], reader.sides["candidate"]
    x, y = left.view, right.view
    if x.flags.c_contiguous and y.flags.c_contiguous:
        x, y = flat_where_possible(x), flat_where_possible(y)
    tolerance = tolerance_of(task)
    reals = _Reals.of(task)
    sums = Sums(tolerance, reals.count)
    done = 0
    if places is not None and not tolerance.ulp_dtype:
        straight = _Straight(places, (tolerance.rtol, tolerance.atol))
        done = straight.add_all(sums, x.size, cancelled, device)
        if done == x.size:
            return sums
        x, y = x[done:], y[done:]
    most = LARGE_BLOCK if compiled_module() is not None else BLOCK
    for start, key in pieces(x.shape, PANEL):
        x_panel, y_panel = left.panel(x[key]), right.panel(y[key])
        for at, inner in pieces(x_panel.shape, most):
            if cancelled is not None and cancelled():
                raise CancelledError
            x_block, y_block = left.read(x_panel[inner]), right.read(y_panel[inner])
            reals.add(sums, x_block, y_block, done + start + at)
    return sums


@dataclass(frozen=True, slots=True)
class _Straight:
    """Both sides' elements as they lie in files, in the view's order: a device, or the compiled
    pass, reads them itself.
    """

    places: tuple[Place, Place]
    tolerances: tuple[float, float]

    def add_all(
        self, sums: Sums, size: int, cancelled: Callable[[], bool] | None,
        device: PassDevice | None,
    ) -> int:  # fmt: skip
        """Take pairs in from the first of `size` on, by the device, then by the compiled pass in
        parts that take some milliseconds each; how many, fewer where the next ones are a job for
        numpy. Raises `CancelledError`.
        """
        found: OnePass | None = None
        begun = 0
        if device is not None:
            places = self.places
            begun = device.pass_over_files(*places, size, self.tolerances, sums.merge, cancelled)
        done = begun
        while done < size:
            if cancelled is not None and cancelled():
                raise CancelledError
            more = self._further(found, begun, size)
            if more is None:
                break
            found, done = more, begun + more.taken
        if found is not None:
            sums.merge(found, begun)
        return done

    def _further(self, before: OnePass | None, start: int, size: int) -> OnePass | None:
        x, y = (place.after(start) for place in self.places)
        try:
            return pass_over_files(x, y, size - start, self.tolerances, before, AT_A_TIME)
        except (OSError, EOFError):  # the slower way says which side it is, and why
            return None


def _structure(
    task: PairTask, reader: PairReader, identical: bool, compared: int,
    worst: tuple[int, ...] | None, cancelled: Callable[[], bool] | None,
    places: tuple[Place, Place] | None = None,
) -> Structure | None:  # fmt: skip
    """The structure of the difference, where there is one to see; `worst` is the place of the
    greatest, and `places` are where both sides lie as they are.
    """
    kinds = {DTYPES[side.effective_dtype].kind for side in (task.reference, task.candidate)}
    if kinds != {"float"} or identical or compared == 0:
        return None
    cut = cut_of(reader.shape, worst)
    quick = None if places is None or task.mask else _structure_in_files(places, cut)
    if quick is not None:
        return quick
    sample = read_cut(reader, cut)
    structure = structure_of(sample, task.mask)
    if structure is not None and structure.blocked[0] and not sample.whole:
        structure = replace(structure, blocked=_blocked(reader, cancelled))
    return structure


def _structure_in_files(places: tuple[Place, Place], cut: Cut) -> Structure | None:
    try:
        return structure_in_files(places, cut)
    except (OSError, EOFError):  # the slower way says which side it is, and why
        return None


def _blocked(reader: PairReader, cancelled: Callable[[], bool] | None) -> tuple[int, int]:
    """Elements of a mask that either side blocks, and where the two do not agree, of all of it."""
    counts = [0, 0]
    for block in reader.blocks(cancelled=cancelled):
        assert block.x is not None and block.y is not None
        for at, places in enumerate(blocked_places(block.x, block.y)):
            counts[at] += int(np.count_nonzero(places))
    return counts[0], counts[1]


@dataclass(slots=True)
class _Reals:
    """Turns raw blocks into flat real numbers: upcast, casts, complex as pairs of reals."""

    task: PairTask
    left: tuple[str, ...]
    right: tuple[str, ...]
    count: int = field(init=False)  # real numbers that an element counts as

    @classmethod
    def of(cls, task: PairTask) -> _Reals:
        return cls(task, task.reference.casts, task.candidate.casts)

    def __post_init__(self) -> None:
        sides = (self.task.reference, self.left), (self.task.candidate, self.right)
        kinds = {DTYPES[name].kind for side, casts in sides
                 for name in (side.locator.dtype, *casts)}  # fmt: skip
        self.count = 2 if "complex" in kinds else 1

    def add(self, sums: Sums, x: Array, y: Array, start: int) -> None:
        if not (self.left or self.right) and self.count == 1:
            dtypes = self.task.reference.locator.dtype, self.task.candidate.locator.dtype
            if sums.add_raw(x.reshape(-1), y.reshape(-1), dtypes, start):
                return
        x = self._reals(x, self.task.reference.locator.dtype, self.left)
        y = self._reals(y, self.task.candidate.locator.dtype, self.right)
        sums.add(x, y, start * self.count)

    def _reals(self, raw: Array, dtype: str, casts: tuple[str, ...]) -> Array:
        values = numbers(raw.reshape(-1), dtype, casts)
        if self.count == 2:
            narrow = values.dtype in (np.complex64, np.float32, np.float16)
            whole = np.complex64 if narrow or values.dtype.itemsize < 4 else np.complex128
            values = np.ascontiguousarray(values.astype(whole, copy=False))
            values = values.view(values.real.dtype)
        return values


def _measure_partial(task: PairTask, reader: PairReader) -> Measurement | Failure:
    """Compare on the elements that both sides have. Dumps of this kind are small."""
    left, right = reader.sides["reference"], reader.sides["candidate"]
    shown = reader.shown
    assert shown is not None
    both = np.flatnonzero(shown)
    total = prod(reader.shape)
    if both.size == 0 and total:
        return Failure("no element that both dumps show", level="missing")
    tolerance = tolerance_of(task)
    reals = _Reals.of(task)
    sums = Sums(tolerance, reals.count)
    x, y = left.view.reshape(-1), right.view.reshape(-1)
    for start in range(0, both.size, BLOCK):
        part = both[start : start + BLOCK]
        reals.add(sums, x[part], y[part], start)
    for extreme in (sums.max_abs, sums.max_rel):
        if extreme.position >= 0:
            extreme.position = int(both[extreme.position // sums.reals]) * sums.reals
    if both.size == total:
        return finish(sums, reader.shape, tolerance, task.ulp)
    found = finish(sums, reader.shape, tolerance, task.ulp, (int(both.size), total))
    return replace(found, totals=_totals(task, reader))


def _totals(task: PairTask, reader: PairReader) -> Totals | None:
    """The sums of all elements, where both sides know theirs: recorded, or worked out."""
    sums: list[float] = []
    size = None
    for side, own in zip(reader.sides.values(), (task.reference, task.candidate), strict=True):
        if own.total is not None:
            sums.append(own.total)
        elif (side.shown is None or side.shown.all()) and keeps_all(own.recipe):
            values = side.numbers(side.view)
            if values.dtype.kind != "f":
                return None
            values = values.astype(np.float64)
            sums.append(float(values.sum()))
            size = math.sqrt(float(np.vdot(values, values)) / values.size)
        else:
            return None
    return Totals(sums[0], sums[1], size)


def finish(
    sums: Sums, shape: tuple[int, ...], tolerance: Tolerance, ulp: bool = False,
    partial: tuple[int, int] | None = None, structure: Structure | None = None,
) -> Measurement:  # fmt: skip
    """The numbers that the sums of all blocks give, with a structure if there is one; what cannot
    be computed has a reason. `ulp` says that this number was asked for.
    """
    numbers, reasons = compute(sums)
    if sums.moments.n == 0:
        reasons.update(dict.fromkeys(_FROM_PLACES, METRICS["max_abs"].reason(sums)))
    if not ulp:
        reasons["ulp"] = "not asked for (--metric ulp)"
    at_abs, at_rel = (_place(e, sums.reals, shape) for e in (sums.max_abs, sums.max_rel))
    reference, candidate = _side(sums.reference), _side(sums.candidate)
    reasons.update(_absent_statistics("reference", reference, sums.reference))
    reasons.update(_absent_statistics("candidate", candidate, sums.candidate))
    own: dict[str, Any] = {name: numbers.pop(name) for name in _OF_MEASUREMENT & numbers.keys()}
    return Measurement(
        shape=shape,
        count=sums.count,
        compared=sums.compared,
        identical=sums.equal,
        max_abs_index=at_abs,
        max_abs_values=sums.max_abs.values if at_abs is not None else None,
        max_rel_index=at_rel,
        max_rel_values=sums.max_rel.values if at_rel is not None else None,
        nonfinite_mismatch=sums.nonfinite_mismatch,
        rtol=tolerance.rtol,
        atol=tolerance.atol,
        partial=partial,
        reference=reference,
        candidate=candidate,
        structure=structure,
        reasons=reasons,
        further=numbers,
        **own,
    )


_OF_MEASUREMENT = frozenset(part.name for part in fields(Measurement))
_FROM_PLACES = ("max_abs_index", "max_abs_values", "max_rel_index", "max_rel_values")


def _place(extreme: Extreme, reals: int, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The index of an extreme; None when no element was compared."""
    if extreme.position < 0:
        return None
    position, index = extreme.position // reals, []
    for size in reversed(shape):
        position, rest = divmod(position, size)
        index.append(rest)
    return tuple(reversed(index))


def _side(side: SideSums) -> SideStatistics:
    if side.n == 0:
        return SideStatistics(None, None, None, None, None, side.nan, side.inf, side.zeros)
    mean, (std, l2) = _finite(side.mean), side.spread()
    return SideStatistics(side.low, side.high, mean, std, l2, side.nan, side.inf, side.zeros)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _absent_statistics(name: str, found: SideStatistics, side: SideSums) -> dict[str, str]:
    """Why statistics of a side are absent, under `reference.std` and the like."""
    known = found.min, found.max, found.mean, found.std, found.l2
    if None not in known:
        return {}
    why = "no finite element" if side.n == 0 else "the squares leave the range of float64"
    names = ("min", "max", "mean", "std", "l2")
    return {
        f"{name}.{part}": why for part, value in zip(names, known, strict=True) if value is None
    }
