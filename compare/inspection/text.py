"""The results of inspections as text: for `layertui show`, exports, and beside every picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...capture.values import Array
from ..recipes.errors import Shape
from .axes import AxisRanking
from .heat import QUANTITY_WORDS, HeatMap, distance_from_rest
from .profile import HIGHEST, LOWEST, PERCENTILES, Distribution, Profile
from .top import Difference, Number, Top
from .window import Form, Window, bits_text, element_text, region_text

Row = tuple[str, ...]
RAMP = " .:-=+*#%@"


def value_text(value: float | None, digits: int = 6) -> str:
    """A number to read and compare; `-` where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.{digits}g}"


def share_text(count: int, total: int) -> str:
    """`12 (0.3 %)`."""
    if not total:
        return str(count)
    percent = 100.0 * count / total
    shown = f"{percent:.3g}" if count in (0, total) or 0.01 <= percent <= 99.99 else (
        "<0.01" if percent < 1 else ">99.99"
    )  # fmt: skip
    return f"{count} ({shown} %)"


def index_text(index: tuple[int, ...] | None) -> str:
    """`[0, 7, 12]`; `-` where there is none."""
    return "-" if index is None else f"[{', '.join(map(str, index))}]"


# Stats


def stats_rows(profile: Profile) -> list[Row]:
    """Label and one column a distribution: reference, candidate, difference."""
    sides = [found for _, found in profile.sides]
    rows: list[Row] = [("", *(name for name, _ in profile.sides))]

    def add(label: str, *texts: str) -> None:
        rows.append((label, *texts))

    add("count", *(str(d.count) for d in sides))
    for name in ("min", "max", "mean", "std"):
        add(name, *(value_text(getattr(d, name)) for d in sides))
    add("L1", *(value_text(d.l1) for d in sides))
    add("L2", *(value_text(d.l2) for d in sides))
    for at, share in enumerate(PERCENTILES):
        about = "" if all(d.exact for d in sides) else "~"
        add(f"{about}{share:g} %", *(value_text(d.percentiles[at]) for d in sides))
    add("zeros", *(share_text(d.zeros, d.count) for d in sides))
    add("NaN", *(str(d.nan) for d in sides))
    add("Inf", *(str(d.inf) for d in sides))
    add("denormals", *("-" if d.denormals is None else str(d.denormals) for d in sides))
    add("unique", *(_unique(d) for d in sides))
    return rows


def _unique(found: Distribution) -> str:
    return f">{found.unique}" if found.unique_capped else str(found.unique)


def likeness_rows(profile: Profile) -> list[Row]:
    """What compares the sides: label and text."""
    if profile.difference is None:
        return []
    total = profile.compared
    rows: list[Row] = [("equal", share_text(profile.equal, _count(profile)))]
    if profile.odd:
        rows.append(("not finite", f"{profile.odd} elements have NaN or Inf on one side only"))
    if profile.sign_disagreements is not None:
        rows.append(("signs differ", share_text(profile.sign_disagreements, total)))
    ulp = profile.ulp
    if ulp is not None:
        rows.append(("ULP", f"max {value_text(ulp.max)}, mean {value_text(ulp.mean, 4)} steps of "
                            f"{ulp.dtype}"))  # fmt: skip
        rows.append(
            ("ULP shares", f"equal {ulp.exact:.2%}, at most 1 {ulp.one:.2%}, at most 4 "
                           f"{ulp.four:.2%}")
        )  # fmt: skip
    return rows


def ladder_rows(profile: Profile) -> list[Row]:
    """Tolerance (rtol = atol) and how many elements are outside of it, then the grade."""
    if not profile.ladder:
        return []
    if profile.grade is None:
        return [("level", "nothing could be compared")]
    total = _count(profile)
    rows: list[Row] = [
        (f"{limit:.0e}", "all match" if count == 0 else f"{share_text(count, total)} outside")
        for limit, count in profile.ladder
    ]
    rows.append(("level", profile.grade))
    return rows


def _count(profile: Profile) -> int:
    """All elements of a pair, those included that are not finite."""
    return profile.reference.count if profile.reference is not None else 0


def stats_text(profile: Profile) -> list[str]:
    """The whole view as lines."""
    lines = table(stats_rows(profile))
    likeness = likeness_rows(profile)
    if likeness:
        lines += ["", *table(likeness)]
    ladder = ladder_rows(profile)
    if ladder:
        lines += ["", "matches within rtol = atol =", *table(ladder)]
    return lines


def table(rows: Sequence[Row], right: bool = False) -> list[str]:
    """Columns as wide as they need; the first, and with `right` no other, to the left."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if right and at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


# Greatest differences

TOP_HEADING: Row = ("#", "index", "reference index", "candidate index", "reference", "candidate",
                    "abs", "rel", "ULP")  # fmt: skip


def top_row(rank: int, found: Difference) -> Row:
    """One difference as cells; an index that equals the view's is not repeated."""
    ours, theirs = (
        "same" if own == found.index else index_text(own)
        for own in (found.reference_index, found.candidate_index)
    )
    return (
        str(rank), index_text(found.index), ours, theirs, number_text(found.reference),
        number_text(found.candidate), _error(found.abs), _error(found.rel),
        "-" if found.ulp is None else f"{found.ulp:.6g}",
    )  # fmt: skip


def number_text(value: Number) -> str:
    """A value of either side, with the digits to tell it from the other."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, complex):
        return f"{value.real:.6g}{value.imag:+.6g}j"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Inf" if value > 0 else "-Inf")
    return f"{value:.8g}"


def _error(value: float) -> str:
    return "not finite" if math.isinf(value) else f"{value:.4g}"


def top_text(top: Top) -> list[str]:
    """The whole list as lines."""
    return [top_summary(top), *table([TOP_HEADING, *_numbered(top)])] if top.differences else [
        top_summary(top)
    ]  # fmt: skip


def _numbered(top: Top) -> Iterator[Row]:
    return (top_row(rank, found) for rank, found in enumerate(top.differences, 1))


def top_summary(top: Top) -> str:
    """How many differ, and which are listed."""
    if top.compared == 0:
        return "no element to compare"
    if not top.differences:
        return f"all {top.compared} elements are equal"
    word = {"abs": "absolute", "rel": "relative", "ulp": "ULP"}[top.order]
    return (
        f"{share_text(top.differing, top.compared)} elements differ; the {len(top.differences)} "
        f"greatest by {word} difference"
    )


def axis_rows(ranking: AxisRanking, most: int) -> list[Row]:
    """The worst places of an axis: place, RMS of the difference, a bar."""
    top = max(ranking.rms, default=0.0)
    rows: list[Row] = []
    for place in ranking.order[:most]:
        value, odd = ranking.rms[place], ranking.odd[place]
        share = (value == top) if math.isinf(top) else value / top if top > 0 else 0.0
        bar = "#" * round(20 * share)
        text = f"{odd} not finite" if odd else bar
        rows.append((ranking.label(place), f"{value:.3e}", text))
    return rows


def axes_text(rankings: Sequence[AxisRanking], most: int = 10) -> list[str]:
    """Every axis with its worst places."""
    lines: list[str] = []
    for ranking in rankings:
        found = ranking.concentration
        share = f": {found[1]:.0%} of the squared difference at {ranking.label(found[0])}" if (
            found and ranking.size > 1
        ) else ""  # fmt: skip
        lines += [f"RMS of the difference along {ranking.title}{share}"]
        lines += table([("place", "RMS", ""), *axis_rows(ranking, most)])
    return lines


# Histograms


def exponent_rows(found: Distribution) -> list[tuple[str, int, int]]:
    """Decades of magnitude, smallest first: label, negative and positive numbers in it."""
    positive, negative = found.sketch.by_exponent(LOWEST, HIGHEST)
    decades: dict[int, list[int]] = {}
    for at in range(LOWEST, HIGHEST + 1):
        counts = int(negative[at - LOWEST]), int(positive[at - LOWEST])
        if any(counts):
            decade = math.floor(at * math.log10(2))
            bucket = decades.setdefault(decade, [0, 0])
            bucket[0] += counts[0]
            bucket[1] += counts[1]
    if not decades:
        return []
    return [
        (f"1e{decade:+03d}", *decades.get(decade, [0, 0]))
        for decade in range(min(decades), max(decades) + 1)
    ]  # type: ignore[misc]


def histogram_text(profile: Profile, width: int = 40) -> list[str]:
    """Sizes of the difference (or of the values of a lone side) by decades, bars of log count."""
    name, found = profile.sides[-1] if profile.sides else ("", None)
    if found is None:
        return ["no values"]
    rows = exponent_rows(found)
    greatest = max((a + b for _, a, b in rows), default=0)
    lines = [f"sizes of the {name} by decade: elements below zero, above zero, log of their sum"]
    if found.zeros:
        lines.append(f"  {'0':>6}  {found.zeros} elements")
    for label, below, above in rows:
        count = below + above
        bar = "#" * max(1, round(width * math.log10(count + 1) / math.log10(greatest + 1))) if (
            count
        ) else ""  # fmt: skip
        lines.append(f"  {label:>6}  {below:>10}  {above:>10}  {bar}".rstrip())
    if found.nan or found.inf or profile.odd:
        lines.append(f"  NaN {found.nan}, Inf {found.inf}, not finite alike {profile.odd}")
    return lines


def decade_table(profile: Profile) -> tuple[list[str], list[str], Array]:
    """Elements by decade of |difference| (rows, greatest first) and of |reference| (columns,
    smallest first); `0` is a decade of its own.
    """
    table = profile.magnitudes
    if table is None or not table.any():
        return [], [], np.zeros((0, 0), np.int64)
    names = [_decade(at) for at in range(table.shape[0])]
    order = list(dict.fromkeys(names))  # smallest first
    at = np.array([order.index(name) for name in names])
    grouped = np.zeros((len(order), len(order)), np.int64)
    rows, columns = np.nonzero(table)
    np.add.at(grouped, (at[columns], at[rows]), table[rows, columns])
    shown, across = (_used(np.asarray(grouped.any(axis=axis))) for axis in (1, 0))
    shown.reverse()
    return [order[i] for i in shown], [order[i] for i in across], grouped[np.ix_(shown, across)]


def _used(used: Array) -> list[int]:
    """Places from the first to the last in use; `0` (the first) is no neighbour of the others."""
    places = np.flatnonzero(used).tolist()
    zero = [0] if places[0] == 0 else []
    rest = places[len(zero) :]
    return zero + (list(range(rest[0], rest[-1] + 1)) if rest else [])


def _decade(column: int) -> str:
    """The decade of a row or column of the table of magnitudes."""
    if column == 0:
        return "0"
    return f"1e{math.floor((LOWEST + column) * math.log10(2)):+03d}"


def magnitude_bands(profile: Profile) -> list[tuple[str, int, float, float]]:
    """Error against magnitude: for every decade of |reference| its elements, and the median and
    greatest |difference| in it (to a factor of two).
    """
    if profile.magnitudes is None:
        return []
    bands: dict[str, Array] = {}
    for at in range(profile.magnitudes.shape[0]):
        row = profile.magnitudes[at]
        if row.any():
            label = _decade(at)
            bands[label] = bands.get(label, np.zeros_like(row)) + row
    found: list[tuple[str, int, float, float]] = []
    for label, row in bands.items():
        total = int(row.sum())
        middle = int(np.searchsorted(np.cumsum(row), total / 2))
        last = int(np.flatnonzero(row)[-1])
        found.append((label, total, _size(middle), _size(last)))
    return found


def _size(column: int) -> float:
    """The middle of the sizes that a column of the table stands for."""
    return 0.0 if column == 0 else 1.5 * 2.0 ** (LOWEST + column)


def magnitude_text(profile: Profile) -> list[str]:
    """The same as a table; relative errors lie where the reference is small."""
    bands = magnitude_bands(profile)
    if not bands:
        return []
    rows: list[Row] = [("|reference|", "elements", "median |d|", "greatest |d|")]
    rows += [(label, str(count), f"{mid:.1e}", f"{top:.1e}") for label, count, mid, top in bands]
    return ["error against magnitude (to a factor of two)", *table(rows, right=True)]


# Heat map


def heat_text(heat: HeatMap, shape: Shape) -> list[str]:
    """The map in ASCII with its scale, and where it peaks."""
    lines = heat_legend(heat, shape)
    if heat.values.size == 0:
        return lines
    levels = heat_levels(heat, len(RAMP))
    for row in range(heat.shape[0]):
        cells = "".join(
            "!" if heat.odd[row, c] else RAMP[level] if heat.filled[row, c] else "?"
            for c, level in enumerate(levels[row])
        )
        (low, high), _ = heat.cell(row, 0)
        lines.append(f"  {_range_text((low, high)):>11} |{cells}|")
    return lines


def heat_legend(heat: HeatMap, shape: Shape) -> list[str]:
    """What is drawn, its range, and the cell that stands out."""
    plan = heat.plan
    axes = ", ".join(
        f"{name} axis {axis} ({shape[axis]})"
        for name, axis in (("rows", plan.rows), ("columns", plan.columns))
        if axis is not None
    )
    lines = [f"{QUANTITY_WORDS[plan.quantity]} over [{region_text(plan.region, shape)}]"
             + (f": {axes}" if axes else "")]  # fmt: skip
    peak = heat.peak
    if peak is None:
        return [*lines, "no elements"]
    low, high = heat_range(heat)
    rows, columns = heat.cell(*peak)
    value = "not finite" if heat.odd[peak] else f"{heat.values[peak]:.4g}"
    place = ", ".join(
        f"{name} {_range_text(part)}"
        for name, axis, part in (("row", plan.rows, rows), ("column", plan.columns, columns))
        if axis is not None
    )
    at = f" at {place}" if place else ""
    lines.append(f"{low:.3g} to {high:.3g}, log scale; extreme {value}{at}")
    if heat.odd.any():
        lines.append(f"{int(heat.odd.sum())} cells hold elements that are not finite alike (!)")
    return lines


def _range_text(part: tuple[int, int]) -> str:
    """`7`, or `512:1024`."""
    return str(part[0]) if part[1] == part[0] + 1 else f"{part[0]}:{part[1]}"


def heat_range(heat: HeatMap) -> tuple[float, float]:
    """The smallest (above zero) and the greatest size that is drawn."""
    size = distance_from_rest(heat.values, heat.plan.quantity)[heat.filled & ~heat.odd]
    size = size[size > 0]
    return (float(size.min()), float(size.max())) if size.size else (0.0, 0.0)


def heat_levels(heat: HeatMap, count: int) -> Array:
    """0 to `count` - 1 a cell: 0 for nothing, then the logarithm of the size, in equal steps over
    at most eight decades below the greatest.
    """
    size = distance_from_rest(heat.values, heat.plan.quantity)
    low, high = heat_range(heat)
    levels = np.zeros(size.shape, np.int64)
    if high <= 0:
        return levels
    low = max(low, high * 1e-8)
    span = math.log(high / low) if high > low else 0.0
    some = size > 0
    with np.errstate(all="ignore"):
        share = (np.log(np.maximum(size, low) / low) / span) if span > 0 else np.ones(size.shape)
    levels[some] = 1 + np.minimum((share[some] * (count - 1)).astype(np.int64), count - 2)
    return levels


# Values


def values_text(window: Window, dtypes: tuple[str, str], form: Form) -> list[str]:
    """Reference, candidate and difference of a region of at most two axes longer than 1."""
    if any(low == high for low, high in window.region):
        return ["no elements"]
    lines: list[str] = []
    alone = window.difference is None
    parts = (
        ("" if alone else "reference", window.reference, window.reference_bits, dtypes[0]),
        ("candidate", window.candidate, window.candidate_bits, dtypes[1]),
        ("difference", window.difference, None, ""),
    )
    for name, values, bits, dtype in parts:
        if values is None:
            continue
        lines += [name] if name else []
        lines += table([*_grid(values, bits, dtype, form, window)], right=True)
    return lines


def _grid(
    values: Array, bits: Array | None, dtype: str, form: Form, window: Window
) -> Iterator[Row]:
    long = [axis for axis, size in enumerate(values.shape) if size > 1][-2:]
    columns = values.shape[long[-1]] if long else 1
    flat = values.reshape(-1, columns)
    raw = None if bits is None or form != "bits" else bits.reshape(-1, columns)
    shown = None if window.shown is None else window.shown.reshape(-1, columns)
    first_row = window.region[long[0]][0] if len(long) == 2 else 0
    first_column = window.region[long[-1]][0] if long else 0
    yield ("", *(str(first_column + at) for at in range(columns)))
    for at in range(flat.shape[0]):
        cells = (
            "..." if shown is not None and not shown[at, c]  # a partial dump does not have it
            else bits_text(raw[at, c], dtype) if raw is not None
            else element_text(flat[at, c], form)
            for c in range(columns)
        )  # fmt: skip
        yield (str(first_row + at), *cells)
