"""What a pass over blocks must share with numpy's arithmetic, and the numbers to try it on.

Counts, extremes and places are the same to the last digit, sums to one part in a million of what
float64 has.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import Array, upcast
from layertui.compare.measuring.sums import Sums, Tolerance

FLOATS = [name for name, kind in DTYPES.items() if kind.kind == "float"]
TOLERANCE = Tolerance(1.3e-6, 1e-5)
TOLERANCES = [(1e-3, 0.0), (0.0, 1e-3), (0.0, 0.0), (0.5, 1.0), (math.nan, 0.0), (0.0, math.nan),
              (-1.0, 0.0), (0.0, 1e300)]  # fmt: skip

ODD = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 1e-8, 1e-15, 65504.0, 1e15, 3e38, -3e38, math.inf,
       -math.inf, math.nan]  # fmt: skip
ANY = st.floats(width=32) | st.floats(-100, 100, width=32) | st.sampled_from(ODD)
SCENES = {
    "noise": lambda x, r: x * (1 + 1e-6 * r.standard_normal(x.size)),
    "coarse noise": lambda x, r: x * (1 + 4e-3 * r.standard_normal(x.size)),
    "equal": lambda x, r: x.copy(),
    "offset": lambda x, r: x + 0.5,
    "far offset": lambda x, r: x + 1000,
    "scaled": lambda x, r: x * 1.1,
    "much smaller": lambda x, r: x * 1e-4,
    "zeros": lambda x, r: np.zeros_like(x),
    "constant": lambda x, r: np.full_like(x, 0.1),
    "unrelated": lambda x, r: r.standard_normal(x.size),
    "one element": lambda x, r: np.where(np.arange(x.size) == x.size // 2, x + 3, x),
    "nan": lambda x, r: np.where(r.random(x.size) < 0.01, np.nan, x),
    "inf": lambda x, r: np.where(r.random(x.size) < 0.01, -np.inf, 1.001 * x),
}  # fmt: skip


def in_scene(scene: str, length: int, seed: int, mean: float) -> tuple[Array, Array]:
    """Numbers about a mean, and what one of `SCENES` makes of them."""
    rng = np.random.default_rng(seed)
    x = mean + rng.standard_normal(length)
    return x, SCENES[scene](x, rng)


def near_tolerances(odd: bool = False) -> tuple[Array, Array]:
    """Pairs on both sides of a tolerance of a thousandth, and as near to it as they can be; `odd`
    has a NaN and an infinity, too.
    """
    rng = np.random.default_rng(9)
    x = rng.standard_normal(5000)
    steps = rng.choice([-1, 1, 0.5, 1.0000001, 0.9999999, 2], x.size)
    y = x + (1e-3 + 1e-3 * np.abs(x)) * steps
    if odd:
        x[7], y[8] = np.nan, np.inf
    return x, y


def encoded(values: Array, dtype: str) -> Array:
    """Raw elements of `dtype` near `values`; not rounded to nearest, which is no matter here."""
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        if DTYPES[dtype].itemsize > 1:
            return values.astype(np.dtype(DTYPES[dtype].storage))
        table = upcast(np.arange(256, dtype=np.uint8), dtype).astype(np.float64)
        order = np.argsort(table, kind="stable")
        places = np.searchsorted(table[order], values).clip(0, 255)
        return order[places].astype(np.uint8)


def assert_held(
    found: Sums, x: Array, y: Array, dtypes: tuple[str, str], tolerance: Tolerance = TOLERANCE
) -> None:
    """The sums of raw elements are those that numpy's arithmetic gives."""
    with np.errstate(all="ignore"):
        left, right = upcast(x, dtypes[0]), upcast(y, dtypes[1])
        plain, exact = Sums(tolerance), Sums(tolerance)
        plain.add_by_numpy(left, right, 0)
        wide = left.astype(np.float64), right.astype(np.float64)
        exact.add_by_numpy(*wide, 0)
    for name in ("count", "compared", "equal", "mismatched", "nonfinite_mismatch"):
        assert getattr(found, name) == getattr(plain, name), name
    for side in ("reference", "candidate"):
        own, want = getattr(found, side), getattr(exact, side)
        for name in ("n", "low", "high", "nan", "inf", "zeros"):
            assert getattr(own, name) == getattr(want, name), (side, name)
        size = math.sqrt(want.squares / max(1, want.n)) + abs(want.mean)
        assert own.squares == pytest.approx(want.squares, rel=1e-6, abs=1e-300), side
        assert own.mean == pytest.approx(want.mean, rel=1e-6, abs=1e-6 * size), side
    assert_moments(found, exact)
    assert_extremes(found, plain, *wide)


def assert_moments(fused: Sums, exact: Sums) -> None:
    found, want = fused.moments, exact.moments
    assert found.n == want.n
    least = 1e-300  # squares there have no digits
    x, y, d = ((squares, want.n * (1e-15 * mean) ** 2) for squares, mean in (
        (want.xx, want.mean_x), (want.yy, want.mean_y), (want.dd, want.mean_d),
    ))  # fmt: skip
    for name, one, other in (
        ("xx", x, x), ("yy", y, y), ("dd", d, d), ("xy", x, y), ("xd", x, d),
    ):  # fmt: skip
        room = 1e-6 * math.sqrt(one[0]) * math.sqrt(other[0]) + least
        for (squares, lost), (others, others_lost) in ((one, other), (other, one)):
            # what float64 loses of a variance beside such a mean
            room += math.sqrt(squares + lost) * math.sqrt(others_lost) + math.sqrt(lost * others)
        assert getattr(found, name) == pytest.approx(getattr(want, name), rel=0, abs=room), name
    for name, squares in (("mean_x", want.xx), ("mean_y", want.yy), ("mean_d", want.dd)):
        size = math.sqrt(squares / max(1, want.n)) + abs(getattr(want, name))
        assert getattr(found, name) == pytest.approx(getattr(want, name), abs=1e-6 * size), name
    assert fused.sum_abs == pytest.approx(exact.sum_abs, rel=1e-6)


def assert_extremes(fused: Sums, plain: Sums, x: Array, y: Array) -> None:
    """The values are those at the place, and as great as numpy's; the first, where it is exact."""
    for name in ("max_abs", "max_rel"):
        found, want = getattr(fused, name), getattr(plain, name)
        assert (found.position < 0) == (want.position < 0)
        if found.position < 0:
            continue
        assert found.values == (x[found.position], y[found.position])
        assert found.value == pytest.approx(want.value, rel=3e-7)
        if found.value == want.value and name == "max_abs":
            assert found.position == want.position
        d = abs(y[found.position] - x[found.position])
        size = max(abs(x[found.position]), 1e-8) if name == "max_rel" else 1.0
        assert found.value == pytest.approx(d / size, rel=1e-15)
