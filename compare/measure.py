"""Measuring one pair: from two locators and their recipes to a `Measurement`.

A `PairTask` is small and picklable and a measurement holds numbers only, so that any
`concurrent.futures.Executor` can do the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

import numpy as np

from ..capture.arrays import Array, PartialValues, load_any, upcast
from ..capture.dtypes import DTYPES
from ..capture.errors import RecordError
from ..capture.records import Locator
from .blocks import BLOCK, PANEL, Source, flat_where_possible, pieces
from .casting import cast
from .metrics import Extreme, Moments, SideSums, Sums, Tolerance
from .model import Failure, Measurement, SideStatistics
from .recipes import Concat, IndexSelect, Recipe, RecipeError, Roll, parse_recipe, views

# rtol, atol by the coarser dtype, as torch.testing.assert_close has them; fp8 by its epsilon.
TOLERANCES: dict[str, tuple[float, float]] = {
    "float64": (1e-7, 1e-7),
    "complex128": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
}
SideName = Literal["reference", "candidate"]
_MOST_PARTIAL = 1 << 24  # elements that a partial record may be spread out to


@dataclass(frozen=True, slots=True)
class SideTask:
    """One side of a pair: where it lies, its recipe, and the records that a `concat` names."""

    locator: Locator
    dtype: str  # as recorded; a log's print may be stored wider
    recipe: str = ""
    others: tuple[tuple[str, Locator], ...] = ()


@dataclass(frozen=True, slots=True)
class PairTask:
    """Everything needed to measure a pair. None as rtol or atol means: by dtype."""

    reference: SideTask
    candidate: SideTask
    rtol: float | None = None
    atol: float | None = None
    ulp: bool = False


def coarser(first: str, second: str) -> str:
    """The dtype with fewer mantissa bits of two; exact types never are the coarser one."""
    return max(first, second, key=lambda name: DTYPES[name].epsilon)


def tolerance_of(task: PairTask) -> Tolerance:
    """The tolerance that a task asks for or that its coarser dtype implies."""
    dtype = coarser(_effective(task.reference), _effective(task.candidate))
    kind = DTYPES[dtype]
    rtol, atol = TOLERANCES.get(dtype, (kind.epsilon, 1e-5 if kind.epsilon else 0.0))
    floating = kind.kind == "float" and task.ulp
    return Tolerance(
        rtol if task.rtol is None else task.rtol,
        atol if task.atol is None else task.atol,
        dtype if floating else "",
    )


def _effective(side: SideTask) -> str:
    casts = parse_recipe(side.recipe).casts
    return casts[-1] if casts else side.dtype


def measure(task: PairTask, cancelled: Callable[[], bool] | None = None) -> Measurement | Failure:
    """Measure a pair; what cannot be measured comes back as a `Failure` in words."""
    partial = _is_partial(task.reference.locator) or _is_partial(task.candidate.locator)
    try:
        with np.errstate(all="ignore"):  # whatever bits a file holds, nothing is printed of them
            return _measure_partial(task) if partial else _measure_whole(task, cancelled)
    except _SideError as error:
        return Failure(str(error), error.side)
    except RecipeError as error:
        return Failure(str(error), level="shape")
    except (RecordError, OSError) as error:
        return Failure(str(error))
    except MemoryError:
        return Failure("not enough memory to load this record")


class _SideError(Exception):
    """A record of one side that cannot be read."""

    def __init__(self, side: SideName, locator: Locator, reason: str) -> None:
        super().__init__(f"{locator.path}: {reason}")
        self.side: SideName = side


@contextmanager
def _blaming(side: SideName, task: SideTask) -> Iterator[None]:
    """Whatever cannot be read in here is this side's record."""
    try:
        yield
    except RecordError as error:
        raise _SideError(side, task.locator, str(error)) from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise _SideError(side, task.locator, reason) from error
    except MemoryError as error:
        reason = "not enough memory to load this record"
        raise _SideError(side, task.locator, reason) from error


class CancelledError(Exception):
    """The measurement was told to stop between two blocks."""


def _measure_whole(task: PairTask, cancelled: Callable[[], bool] | None) -> Measurement | Failure:
    left, right = parse_recipe(task.reference.recipe), parse_recipe(task.candidate.recipe)
    with Source(task.reference.locator) as ref, Source(task.candidate.locator) as cand:
        left_side = _Reader("reference", task.reference, ref).opened()
        right_side = _Reader("candidate", task.candidate, cand).opened()
        x, y = _pair_view(task, left, right, left_side, right_side)
        if x.shape != y.shape:
            return _shapes_differ(x, y)
        shape = tuple(x.shape)
        if x.flags.c_contiguous and y.flags.c_contiguous:
            x, y = flat_where_possible(x), flat_where_possible(y)
        tolerance = tolerance_of(task)
        numbers = _Numbers(task, left.casts, right.casts)
        sums = Sums(tolerance, numbers.reals)
        for start, key in pieces(x.shape, PANEL):
            x_panel, y_panel = left_side.panel(x[key]), right_side.panel(y[key])
            for at, inner in pieces(x_panel.shape):
                if cancelled is not None and cancelled():
                    raise CancelledError
                x_block, y_block = left_side.read(x_panel[inner]), right_side.read(y_panel[inner])
                numbers.add(sums, x_block, y_block, start + at)
    return finish(sums, shape, tolerance, task.ulp)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A source whose failures name its side."""

    side: SideName
    task: SideTask
    source: Source

    def opened(self) -> _Reader:
        with _blaming(self.side, self.task):
            self.source.opened()
        return self

    def load(self) -> None:
        with _blaming(self.side, self.task):
            self.source.load()

    def panel(self, piece: Array) -> Array:
        with _blaming(self.side, self.task):
            return self.source.panel(piece)

    def read(self, piece: Array) -> Array:
        try:  # once a block: a context manager would cost as much as the rest
            return self.source.read(piece)
        except RecordError as error:
            raise _SideError(self.side, self.task.locator, str(error)) from error


def _pair_view(
    task: PairTask, left: Recipe, right: Recipe, left_side: _Reader, right_side: _Reader
) -> tuple[Array, Array]:
    """Both sides in the pair's view. A record is loaded only where a step has to copy it."""

    def look() -> tuple[Array, Array]:
        return views(
            left.layout, right.layout, left_side.source.array, right_side.source.array,
            _resolver("reference", task.reference), _resolver("candidate", task.candidate),
        )  # fmt: skip

    for reader, recipe in ((left_side, left), (right_side, right)):
        if any(isinstance(step, _COPYING) for step in recipe.steps):
            reader.load()
    x, y = look()
    copied = [r for r, view in ((left_side, x), (right_side, y)) if not r.source.shows(view)]
    if not copied:
        return x, y
    del x, y
    for reader in copied:
        reader.load()
    return look()


_COPYING = (Roll, IndexSelect, Concat)  # a reshape may do without


def _shapes_differ(x: Array, y: Array) -> Failure:
    return Failure(f"shapes differ: {list(x.shape)} against {list(y.shape)}", level="shape")


@dataclass(slots=True)
class _Numbers:
    """Turns raw blocks into numbers: upcast, casts, complex as pairs of reals."""

    task: PairTask
    left: tuple[str, ...]
    right: tuple[str, ...]

    reals: int = field(init=False)  # real numbers that an element counts as

    def __post_init__(self) -> None:
        sides = (self.task.reference, self.left), (self.task.candidate, self.right)
        kinds = {DTYPES[name].kind for side, casts in sides
                 for name in (side.locator.dtype, *casts)}  # fmt: skip
        self.reals = 2 if "complex" in kinds else 1

    def add(self, sums: Sums, x: Array, y: Array, start: int) -> None:
        x = self._numbers(x, self.task.reference.locator.dtype, self.left)
        y = self._numbers(y, self.task.candidate.locator.dtype, self.right)
        sums.add(x, y, start * self.reals)

    def _numbers(self, raw: Array, dtype: str, casts: tuple[str, ...]) -> Array:
        if dtype == "bool":
            raw = raw.view(np.uint8) != 0  # a file may hold any byte
        values = upcast(raw.reshape(-1), dtype)
        for name in casts:
            values = cast(values, name)
        if self.reals == 2:
            narrow = values.dtype in (np.complex64, np.float32, np.float16)
            whole = np.complex64 if narrow or values.dtype.itemsize < 4 else np.complex128
            values = np.ascontiguousarray(values.astype(whole, copy=False))
            values = values.view(values.real.dtype)
        return values


def _resolver(name: SideName, side: SideTask) -> Callable[[str], Array]:
    known = dict(side.others)

    def resolve(wanted: str) -> Array:
        if wanted not in known:
            raise RecipeError(f"concat: this side has no record {wanted!r}")
        locator = known[wanted]
        if locator.dtype != side.locator.dtype:
            raise RecipeError(f"concat: {wanted!r} has another dtype")
        if _is_partial(locator):
            raise RecipeError(f"concat: {wanted!r} is a partial record")
        with _blaming(name, replace(side, locator=locator)), Source(locator) as source:
            return source.opened().load()

    return resolve


def concat_names(recipe: str) -> tuple[str, ...]:
    """The records that a recipe's `concat` steps name."""
    steps = parse_recipe(recipe).steps
    return tuple(name for step in steps if isinstance(step, Concat) for name in step.names)


def _is_partial(locator: Locator) -> bool:
    return locator.reader in ("text", "console")


def _measure_partial(task: PairTask) -> Measurement | Failure:
    """Compare on the elements that both sides have. Dumps of this kind are small."""
    left, right = parse_recipe(task.reference.recipe), parse_recipe(task.candidate.recipe)
    with _blaming("reference", task.reference):
        x, has_x = _spread(task.reference.locator)
    with _blaming("candidate", task.candidate):
        y, has_y = _spread(task.candidate.locator)
    x, y = views(left.layout, right.layout, x, y)
    has_x, has_y = views(left.layout, right.layout, has_x, has_y)
    if x.shape != y.shape:
        return _shapes_differ(x, y)
    both = np.flatnonzero(has_x & has_y)
    total = prod(x.shape)
    if both.size == 0 and total:
        return Failure("no element that both dumps show", level="missing")
    tolerance = tolerance_of(task)
    numbers = _Numbers(task, left.casts, right.casts)
    sums = Sums(tolerance, numbers.reals)
    x, y = x.reshape(-1), y.reshape(-1)
    for start in range(0, both.size, BLOCK):
        part = both[start : start + BLOCK]
        numbers.add(sums, x[part], y[part], start)
    for extreme in (sums.max_abs, sums.max_rel):
        if extreme.position >= 0:
            extreme.position = int(both[extreme.position // sums.reals]) * sums.reals
    shown = None if both.size == total else (int(both.size), total)
    return finish(sums, tuple(has_x.shape), tolerance, task.ulp, shown)


def _spread(locator: Locator) -> tuple[Array, Array]:
    """A record at full shape, and which of its elements the dump shows."""
    if locator.count > _MOST_PARTIAL:
        raise RecordError(f"{locator.count} elements are too many to compare with a partial record")
    if not _is_partial(locator):
        with Source(locator) as source:
            whole = source.opened().load()
        return whole, np.ones(whole.shape, np.bool_)
    loaded = load_any(locator)
    if not isinstance(loaded, PartialValues):
        return loaded, np.ones(loaded.shape, np.bool_)
    count = prod(loaded.shape)
    if count > _MOST_PARTIAL:
        raise RecordError(f"a partial record of {count} elements is too large to lay out")
    values = np.zeros(count, loaded.values.dtype)
    shown = np.zeros(count, np.bool_)
    values[loaded.positions] = loaded.values
    shown[loaded.positions] = True
    return values.reshape(loaded.shape), shown.reshape(loaded.shape)


def finish(
    sums: Sums, shape: tuple[int, ...], tolerance: Tolerance, ulp: bool = False,
    partial: tuple[int, int] | None = None,
) -> Measurement:  # fmt: skip
    """The numbers that the sums of all blocks give; what cannot be computed has a reason.

    `ulp` says that this number was asked for.
    """
    numbers, reasons = _derived(sums, tolerance)
    if not ulp:
        reasons["ulp"] = "not asked for (--metric ulp)"
    at_abs, at_rel = (_place(e, sums.reals, shape) for e in (sums.max_abs, sums.max_rel))
    sides = {"reference": sums.reference, "candidate": sums.candidate}
    for side, found in sides.items():
        reasons.update(_absent_statistics(side, found))
    return Measurement(
        shape=shape,
        count=sums.count,
        compared=sums.compared,
        identical=sums.equal,
        max_abs_index=at_abs,
        max_abs_values=sums.max_abs.values if at_abs is not None else None,
        max_rel_index=at_rel,
        max_rel_values=sums.max_rel.values if at_rel is not None else None,
        mismatched=sums.mismatched,
        nonfinite_mismatch=sums.nonfinite_mismatch,
        rtol=tolerance.rtol,
        atol=tolerance.atol,
        partial=partial,
        reference=_side(sums.reference),
        candidate=_side(sums.candidate),
        reasons=reasons,
        **numbers,
    )


_FROM_PLACES = ("max_abs_index", "max_abs_values", "max_rel_index", "max_rel_values")


def _derived(sums: Sums, tolerance: Tolerance) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every number that may be absent, and why those that are absent are."""
    n = sums.moments.n
    numbers: dict[str, float | None] = dict.fromkeys(_NUMBERS)
    if n:
        numbers.update(_computed(sums, tolerance))
    numbers["mismatched_fraction"] = sums.mismatched / sums.count if sums.count else None
    reasons: dict[str, str] = {}
    for name, value in numbers.items():
        if value is None or not math.isfinite(value):
            numbers[name] = None
            reasons[name] = _why_absent(name, sums)
    if n == 0:
        reasons.update(dict.fromkeys(_FROM_PLACES, _why_absent("", sums)))
    return numbers, reasons


_NUMBERS = (
    "mse", "rmse", "nmse", "relative_l2", "cosine", "pearson", "sqnr_db", "mean_abs", "max_abs",
    "max_rel", "ulp", "scale", "scale_se", "offset", "fit_residual",
)  # fmt: skip


def _computed(sums: Sums, tolerance: Tolerance) -> dict[str, float | None]:
    m, n = sums.moments, sums.moments.n
    xx, yy = m.xx + n * m.mean_x * m.mean_x, m.yy + n * m.mean_y * m.mean_y
    dd = m.dd + n * m.mean_d * m.mean_d
    xy, xd = m.xy + n * m.mean_x * m.mean_y, m.xd + n * m.mean_x * m.mean_d
    if dd == 0 and sums.max_abs.value > 0:
        dd = math.nan  # the squares are below the smallest number: not zero, and not known
    nmse = dd / xx if xx > 0 else None
    return {
        "mse": dd / n,
        "rmse": math.sqrt(dd / n),
        "nmse": nmse,
        "relative_l2": None if nmse is None else math.sqrt(nmse),
        "cosine": _cosine(xx, yy, dd, xy, xd),
        "pearson": _cosine(m.xx, m.yy, m.dd, m.xy, m.xd),
        "sqnr_db": 10 * math.log10(xx / dd) if 0 < xx < math.inf and 0 < dd < math.inf else None,
        "mean_abs": sums.sum_abs / n,
        "max_abs": sums.max_abs.value,
        "max_rel": sums.max_rel.value,
        "ulp": sums.max_ulp if tolerance.ulp_dtype else None,
        **_fit(m, xx),
    }


def _why_absent(name: str, sums: Sums) -> str:
    m, ref, cand = sums.moments, sums.reference, sums.candidate
    if sums.count == 0:
        return "no elements"
    if m.n == 0:
        return "no element is finite on both sides"
    if name == "ulp":
        return "only real floating-point numbers have units in the last place"
    if name == "sqnr_db" and sums.max_abs.value == 0:
        return "no difference: infinite"
    if name in _OF_REFERENCE and ref.low == ref.high == 0:
        return "the reference is all zeros"
    if name == "cosine" and cand.low == cand.high == 0:
        return "the candidate is all zeros"
    if name in _OF_VARIATION and m.xx == 0:
        return "the reference is constant"
    if name == "pearson" and m.yy == 0:
        return "the candidate is constant"
    if name == "scale_se" and m.n <= 2:
        return "too few elements"
    return "the squares leave the range of float64"


_OF_VARIATION = frozenset({"pearson", "scale", "scale_se", "offset", "fit_residual"})
_OF_REFERENCE = _OF_VARIATION | {"nmse", "relative_l2", "sqnr_db", "cosine"}


def _cosine(xx: float, yy: float, dd: float, xy: float, xd: float) -> float | None:
    """Cosine of x and y = x + d. Near 1 from sin^2, so that what is missing to 1 keeps its
    digits; the determinant |x|^2 |y|^2 - <x, y>^2 is the same with d for y.
    """
    if not (0 < xx < math.inf and 0 < yy < math.inf):
        return None
    along = xy / math.sqrt(xx) / math.sqrt(yy)
    if along * along < 0.5:
        return along
    if dd < yy:
        sine2 = (dd / xx - (xd / xx) ** 2) * (xx / yy)
    else:
        sine2 = 1.0 - along * along
    return math.copysign(math.sqrt(1.0 - min(1.0, max(0.0, sine2))), along)


def _fit(m: Moments, xx: float) -> dict[str, float | None]:
    """Least squares of y = scale x + offset, from centred sums; `xx` is |x|^2."""
    if not 0 < m.xx < math.inf:
        return dict.fromkeys(("scale", "scale_se", "offset", "fit_residual"))
    scale, slope = m.xy / m.xx, m.xd / m.xx
    rest = max(0.0, m.dd - m.xd * slope if m.dd < m.yy else m.yy - m.xy * scale)
    return {
        "scale": scale,
        "scale_se": math.sqrt(rest / (m.n - 2) / m.xx) if m.n > 2 else None,
        "offset": m.mean_y - scale * m.mean_x,
        "fit_residual": math.sqrt(rest / xx),
    }


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
    mean = _finite(side.mean)
    l2 = _finite(math.sqrt(max(0.0, side.squares + side.n * side.mean * side.mean)))
    std = _finite(math.sqrt(max(0.0, side.squares) / side.n))
    if l2 == 0 and (side.low or side.high):
        l2 = std = None
    return SideStatistics(side.low, side.high, mean, std, l2, side.nan, side.inf, side.zeros)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _absent_statistics(name: str, side: SideSums) -> dict[str, str]:
    """Why statistics of a side are absent, under `reference.std` and the like."""
    why = "no finite element" if side.n == 0 else "the squares leave the range of float64"
    found = _side(side)
    names = ("min", "max", "mean", "std", "l2")
    return {f"{name}.{part}": why for part in names if getattr(found, part) is None}
