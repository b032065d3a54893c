"""Histograms, and error against magnitude, as text."""

from __future__ import annotations

import math

import numpy as np

from ...capture.values import Array
from .profile import HIGHEST, LOWEST, Distribution, Profile
from .text import Row, table


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
        lines.append(f"  NaN {found.nan}, Inf {found.inf}, on one side only {profile.odd}")
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
