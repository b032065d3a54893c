"""The arithmetic against plain sums in extended precision, over every kind of number."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layertui.compare.measuring.sums import Sums, Tolerance
from layertui.compare.model import Measurement
from support.plain_numbers import measured, plain, side

pytestmark = pytest.mark.filterwarnings("error")

F32 = np.finfo(np.float32)


def assert_right(x: np.ndarray, y: np.ndarray, block: int = 1 << 16) -> Measurement:
    """Everything that is measured of a pair, against the definitions."""
    m = measured(x, y, block=block)
    with np.errstate(all="ignore"):
        want = plain(x, y)
        left, right = side(x), side(y)
    coarse = x.dtype == np.float32 and y.dtype == np.float32
    digits = 2e-5 if coarse else 1e-9
    # What squares about the fitted line keep: differences of sums of this relative accuracy.
    blur = math.sqrt(2e-6 if coarse else 1e-13)
    error = want["relative_l2"] or 0.0
    for name, value in want.items():
        got = getattr(m, name)
        if value is None:
            assert got is None, (name, got)
            assert name in m.reasons
            continue
        slack = {
            "cosine": 1e-6 * min(1.0, error**2) if coarse else 1e-13,
            "sqnr_db": 1e-4 if coarse else 1e-9,
            "scale": 2e-6 * right["std"] / max(left["std"], 1e-45) if coarse else 0.0,
            "pearson": 3e-6 if coarse else 1e-12,
            "fit_residual": blur * max(error, 1e-9),
            "scale_se": blur * max(error, 1e-9),
            "offset": 1e-5 * (abs(left["mean"]) + left["std"] + right["std"]) if coarse else 1e-9,
        }.get(name, 0.0)
        assert got == pytest.approx(value, rel=digits, abs=float(slack)), name
    for record, numbers in ((m.reference, left), (m.candidate, right)):
        assert record is not None
        for name, value in numbers.items():
            room = 2e-6 * numbers["l2"] / math.sqrt(x.size) if coarse else 0
            assert getattr(record, name) == pytest.approx(float(value), rel=digits, abs=float(room))
    return m


MAGNITUDES = [1.0, 1e-20, 1e-14, 1e14, 1e16, 1e30, 3e38 / 8, 1e-38, 1e-44]


@pytest.mark.parametrize("size", MAGNITUDES)
@pytest.mark.parametrize("error", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 1000, 70_001])
def test_random_float32_of_any_magnitude(size: float, error: float, n: int) -> None:
    rng = np.random.default_rng(n)
    x = (size * rng.standard_normal(n)).astype(np.float32)
    y = (x + size * error * rng.standard_normal(n)).astype(np.float32)
    assert_right(x, y)


@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64"),
                                    ("int64", "float32"), ("uint8", "int32"), ("bool", "bool"),
                                    ("bool", "float32"), ("float16", "float32")])  # fmt: skip
def test_other_types(dtypes: tuple[str, str]) -> None:
    rng = np.random.default_rng(5)
    for n in (1, 5, 66_000):
        x, y = ((rng.standard_normal(n) * 40 % 100).astype(dtype) for dtype in dtypes)
        x, y = (a.astype(np.float32) if a.dtype == np.float16 else a for a in (x, y))
        assert_right(x, y)
        assert_right(x, x.astype(dtypes[1]) if "bool" not in dtypes else x)


SCENES = {
    "equal": lambda x, r: x.copy(),
    "offset": lambda x, r: x + np.float32(0.5),
    "far offset": lambda x, r: x + np.float32(1000),
    "scaled": lambda x, r: x * np.float32(1.1),
    "much smaller": lambda x, r: x * np.float32(1e-4),
    "much larger": lambda x, r: x * np.float32(1e4),
    "negated": lambda x, r: -x,
    "zeros": lambda x, r: np.zeros_like(x),
    "constant": lambda x, r: np.full_like(x, 0.1),
    "nearly constant": lambda x, r: (5 + 1e-4 * r.standard_normal(x.size)).astype(np.float32),
    "unrelated": lambda x, r: r.standard_normal(x.size).astype(np.float32),
    "permuted": lambda x, r: r.permutation(x),
    "one element": lambda x, r: np.where(np.arange(x.size) == x.size // 2, x + 3, x),
    "rounded": lambda x, r: x.astype(np.float16).astype(np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("mean", [0.0, 3.0, 1e4])
def test_faults_as_they_occur(name: str, mean: float) -> None:
    rng = np.random.default_rng(2)
    x = (mean + rng.standard_normal(70_001)).astype(np.float32)
    y = SCENES[name](x, rng).astype(np.float32)
    assert_right(x, y)
    assert_right(y, x)


def test_a_large_mean_does_not_eat_a_tiny_variance() -> None:
    rng = np.random.default_rng(3)
    x = (1e4 + 1e-2 * rng.standard_normal(100_003)).astype(np.float32)
    y = (1e4 + 1e-2 * rng.standard_normal(100_003)).astype(np.float32)
    m = assert_right(x, y)
    assert m.reference is not None
    assert m.reference.std == pytest.approx(float(x.astype(np.float64).std()), rel=1e-6)
    drifting = np.linspace(0, 1e4, 300_007).astype(np.float32)
    assert_right(drifting, drifting + np.float32(0.25))


def test_what_is_missing_to_a_cosine_of_one_keeps_its_digits() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(200_000).astype(np.float32)
    for error in (1e-2, 1e-3, 1e-4, 1e-5):
        y = (x + error * rng.standard_normal(x.size)).astype(np.float32)
        m = measured(x, y)
        a, b = x.astype(np.longdouble), y.astype(np.longdouble)
        missing = 1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        assert m.cosine is not None
        assert m.pearson is not None
        assert 1 - m.cosine == pytest.approx(float(missing), rel=1e-3)
        assert 1 - m.pearson == pytest.approx(float(missing), rel=2e-2)


def test_cosines_far_from_one() -> None:
    rng = np.random.default_rng(6)
    x, z = rng.standard_normal((2, 50_000)).astype(np.float32)
    for part in (0.0, 1e-5, 1e-3, 0.5, 2.0):
        y = (z + part * x).astype(np.float32)
        for left, right in ((x, y), (x, -y), (x, y * np.float32(1e-6)), (y * np.float32(1e6), x)):
            want = plain(left, right)
            m = measured(left, right)
            assert m.cosine == pytest.approx(want["cosine"], abs=2e-7, rel=1e-5)
            assert m.pearson == pytest.approx(want["pearson"], abs=2e-7, rel=1e-5)


def test_the_fit_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal(5000).astype(np.float32)
    y = (1.25 * x - 0.75 + 0.01 * rng.standard_normal(5000)).astype(np.float32)
    design = np.stack([x, np.ones_like(x)], 1).astype(np.float64)
    (scale, offset), rest, _, _ = np.linalg.lstsq(design, y.astype(np.float64))
    m = measured(x, y)
    assert (m.scale, m.offset) == (pytest.approx(scale, rel=1e-6), pytest.approx(offset, rel=1e-6))
    length = math.sqrt(float((design[:, 0] ** 2).sum()))
    assert m.fit_residual == pytest.approx(math.sqrt(rest[0]) / length, rel=1e-3)
    spread = math.sqrt(float(((design[:, 0] - design[:, 0].mean()) ** 2).sum()))
    assert m.scale_se == pytest.approx(math.sqrt(rest[0] / 4998) / spread, rel=1e-3)


# NaN and Inf


def test_nan_and_inf_are_counted_and_left_out() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal(70_000).astype(np.float32)
    y = (x + 1e-3 * rng.standard_normal(x.size)).astype(np.float32)
    x[[3, 40, 60_000]] = np.nan, np.inf, -np.inf
    y[[3, 40, 60_000]] = np.nan, np.inf, -np.inf
    m = assert_right(x, y)
    assert (m.nonfinite_mismatch, m.compared, m.count, m.identical) == (0, 69_997, 70_000, False)
    before = m.mismatched
    y[[40, 69_999]], x[100] = np.nan, -np.inf
    m = assert_right(x, y)
    assert m.nonfinite_mismatch == 3
    assert before < m.mismatched <= before + 3
    assert m.candidate is not None
    assert (m.candidate.nan, m.candidate.inf) == (3, 1)


def test_opposite_infinities_differ() -> None:
    x, y = np.array([np.inf, 1.0], np.float32), np.array([-np.inf, 1.0], np.float32)
    m = measured(x, y)
    assert (m.nonfinite_mismatch, m.mismatched, m.identical, m.mse) == (1, 1, False, 0.0)


def test_any_bits_of_nan_are_nan() -> None:
    bits = np.array([0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0x3F800000], np.uint32).view(np.float32)
    m = measured(bits, bits[[1, 2, 0, 3]])
    assert m.identical
    assert m.reference is not None
    assert m.reference.nan == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_finite_gives_no_numbers_but_reasons(dtype: type) -> None:
    x = np.full(10, np.nan, dtype)
    m = measured(x, x.copy())
    assert m.identical
    assert_absent_with_reasons(m)
    assert m.reasons["mse"] == "no element is finite on both sides"
    assert m.reasons["reference.std"] == "no finite element"
    assert (m.mismatched, m.mismatched_fraction) == (0, 0.0)


def test_empty_tensors() -> None:
    m = measured(np.empty(0, np.float32), np.empty(0, np.float32))
    assert (m.count, m.compared, m.identical) == (0, 0, True)
    assert_absent_with_reasons(m)
    assert m.reasons["mismatched_fraction"] == "no elements"


OPTIONAL = {"structure", "partial", "totals", "ulp"}


def assert_absent_with_reasons(m: Measurement) -> None:
    """Whatever is None has a reason, and nothing has both a value and a reason."""
    flat = asdict(m)
    for name in ("reference", "candidate"):
        flat.update({f"{name}.{key}": value for key, value in flat.pop(name).items()})
    absent = {name for name, value in flat.items() if value is None} - OPTIONAL
    assert absent == set(m.reasons) - {"ulp"}
    for value in flat.values():
        assert not isinstance(value, float) or math.isfinite(value)


NUMBERS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, 1e-45, float(F32.max)])


PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float32, n, elements=NUMBERS)] * 2)
)


@given(PAIRS, st.sampled_from(["float32", "float64"]))
@settings(max_examples=300, deadline=None)
def test_any_numbers_at_all(pair: tuple[np.ndarray, np.ndarray], dtype: str) -> None:
    x, y = pair[0], pair[1].astype(dtype)
    m = measured(x, y)
    assert_absent_with_reasons(m)
    assert m.identical == bool(np.array_equal(x, y, equal_nan=True))
    if m.identical:
        assert (m.mismatched, m.nonfinite_mismatch) == (0, 0)
        assert m.max_abs in (0.0, None)
    with np.errstate(all="ignore"):
        want = plain(x, y)
    for name in ("mse", "relative_l2", "max_abs", "max_rel", "mean_abs"):
        if want and getattr(m, name) is not None:
            assert getattr(m, name) == pytest.approx(want[name], rel=1e-4)
    for name in ("cosine", "pearson"):
        value = getattr(m, name)
        assert value is None or -1 - 1e-6 <= value <= 1 + 1e-6


# Equality and counting


def test_zeros_of_both_signs_are_equal() -> None:
    x = np.array([0.0, -0.0, 1.0], np.float32)
    m = measured(x, np.array([-0.0, 0.0, 1.0], np.float32))
    assert m.identical
    assert m.reference is not None
    assert m.reference.zeros == 2


def test_the_smallest_difference_is_no_identity() -> None:
    x = np.zeros(100_000, np.float32)
    y = x.copy()
    y[77_777] = 1e-45
    m = measured(x, y)
    assert not m.identical
    assert m.max_abs == pytest.approx(1.4e-45, rel=1e-2)
    assert m.max_abs_index == (77_777,)
    assert m.mse is not None
    assert m.mse > 0
    assert m.relative_l2 is None
    assert m.reasons["relative_l2"] == "the reference is all zeros"


WIDE = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**62 + 1, 2**63 - 1, -(2**63)]
UNSIGNED = [0, 1, 2**53, 2**53 + 1, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 2]


@pytest.mark.parametrize("swap", [False, True])
def test_whole_numbers_are_compared_exactly_whatever_their_types(swap: bool) -> None:
    everything = [(a, "int64") for a in WIDE] + [(a, "uint64") for a in UNSIGNED]
    for a, kind_a in everything:
        for b, kind_b in everything:
            x, y = np.array([a], kind_a), np.array([b], kind_b)
            m = measured(y, x) if swap else measured(x, y)
            assert m.identical == (a == b), (a, b)
            assert m.mismatched == (a != b)
            assert m.max_abs == pytest.approx(abs(a - b), rel=1e-15)
            assert m.mse == pytest.approx(float((a - b) ** 2), rel=1e-15)


def test_whole_numbers_against_floats_are_exact() -> None:
    x = np.array([2**53 + 1, 2**53, 7], np.int64)
    m = measured(x, x.astype(np.float64))
    assert (m.identical, m.max_abs, m.max_abs_index) == (False, 1.0, (0,))
    assert measured(x[1:], x[1:].astype(np.float64)).identical


def test_no_tolerance_for_whole_numbers() -> None:
    x = np.arange(100_000)
    y = x.copy()
    y[[5, 99_999]] += 1
    m = measured(x, y, Tolerance(0.1, 10.0))
    assert (m.mismatched, m.max_abs, m.max_abs_index, m.max_abs_values) == (
        2,
        1.0,
        (5,),
        (5.0, 6.0),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "tolerance", [(1.3e-6, 1e-5), (1e-3, 0.0), (0.0, 1e-3), (0.0, 0.0), (0.5, 1)]
)
@pytest.mark.parametrize("planted", [False, True])
def test_mismatches_are_those_that_numpy_counts(
    dtype: str, tolerance: tuple[float, float], planted: bool
) -> None:
    rng = np.random.default_rng(9)
    rtol, atol = tolerance
    x = rng.standard_normal(70_000).astype(dtype)
    bound = atol + rtol * np.abs(x)
    y = (x + bound * rng.choice([-1, 1, 0.5, 1.0000001, 0.9999999, 2], x.size)).astype(dtype)
    if planted:  # the block takes another path, the other elements must not notice
        x[7], y[[8, 9]], x[9] = np.nan, np.inf, np.inf
    want = np.count_nonzero(~np.isclose(y, x, rtol, atol, equal_nan=True))
    m = measured(x, y, Tolerance(rtol, atol))
    assert m.mismatched == want
    assert m.mismatched_fraction == want / 70_000


def test_a_tolerance_that_is_no_number_lets_nothing_pass() -> None:
    x = np.ones(10, np.float32)
    y = x + np.float32(1e-3)
    for rtol, atol in ((math.nan, 0.0), (0.0, math.nan), (-1.0, 0.0)):
        assert measured(x, y, Tolerance(rtol, atol)).mismatched == 10
        assert measured(x.astype(float), y, Tolerance(rtol, atol)).mismatched == 10
    assert measured(x, y, Tolerance(math.inf, 0.0)).mismatched == 0
    assert measured(x, y, Tolerance(0.0, 1e300)).mismatched == 0


def test_the_greatest_differences_are_the_first_of_equals() -> None:
    x = np.zeros(200_000, np.float32)
    y = x.copy()
    y[[70_000, 70_001, 150_000]] = 2.0, -2.0, 2.0
    m = measured(x, y)
    assert (m.max_abs, m.max_abs_index, m.max_abs_values) == (2.0, (70_000,), (0.0, 2.0))
    x[90_000], y[90_000] = 1e-6, -1e-6
    m = measured(x + np.float32(10), y + np.float32(10))
    assert m.max_rel_index == (70_000,)
    assert m.max_rel == pytest.approx(0.2)


def test_without_a_difference_the_first_compared_element_stands_for_it() -> None:
    x = np.array([np.nan, 4.0, 5.0], np.float32)
    m = measured(x, x.copy())
    assert (m.max_abs, m.max_abs_index, m.max_abs_values) == (0.0, (1,), (4.0, 4.0))
    assert m.reasons["sqnr_db"] == "no difference: infinite"


# Numbers that do not exist


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_against_zeros_have_no_relative_error(dtype: str) -> None:
    x = np.zeros(1000, dtype)
    m = measured(x, x.copy())
    assert_absent_with_reasons(m)
    for name in ("nmse", "relative_l2", "cosine", "pearson", "scale"):
        assert m.reasons[name] == "the reference is all zeros"
    assert (m.mse, m.max_abs, m.max_rel, m.identical) == (0.0, 0.0, 0.0, True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e30])
def test_constants_have_no_variation(dtype: str, value: float) -> None:
    rng = np.random.default_rng(10)
    constant, other = np.full(70_003, value, dtype), rng.standard_normal(70_003).astype(dtype)
    m = measured(other, constant)
    assert_absent_with_reasons(m)
    assert m.pearson is None
    assert m.candidate is not None
    assert m.candidate.std == 0.0
    assert m.candidate.mean == float(constant[0])
    assert (m.cosine is None) == (value == 0)
    m = measured(constant, other)
    assert_absent_with_reasons(m)
    assert (m.scale, m.offset, m.fit_residual, m.pearson) == (None, None, None, None)


def test_squares_beyond_float64_are_absent() -> None:
    for values in ([1e300, -1e300, 1.0], [1.7e308, -1.7e308, 2.0], [np.finfo(float).min] * 3):
        x = np.array(values)
        m = measured(x, x * -1)
        assert_absent_with_reasons(m)
        assert (m.mse, m.relative_l2, m.cosine) == (None, None, None)
        assert "range" in m.reasons["mse"]
        same = measured(x, x.copy())
        assert_absent_with_reasons(same)
        assert same.identical
        assert same.max_abs == 0.0
    x = np.array([1e-200, 3e-200])
    m = measured(x, 2 * x)
    assert_absent_with_reasons(m)
    assert (m.mse, m.relative_l2, m.cosine) == (None, None, None)
    assert m.max_abs == 3e-200


def test_masks_of_the_lowest_number() -> None:
    rng = np.random.default_rng(11)
    x = np.where(rng.random(70_000) < 0.5, F32.min, 0).astype(np.float32)
    m = assert_right(x, x.copy())
    assert m.cosine == pytest.approx(1.0)
    assert m.reference is not None
    assert m.reference.std == pytest.approx(float(x.astype(np.longdouble).std()))
    assert_right(x, np.where(x < 0, -1e4, 0).astype(np.float32))


# Units in the last place


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_in_the_last_place(dtype: str) -> None:
    kind = np.dtype(dtype).type
    tolerance = Tolerance(0, 0, dtype)
    for value in (1.0, 1.5, 0.3, 1e10, -7.0, float(np.finfo(kind).tiny)):
        x = np.full(70_000, value, kind)
        y = x.copy()
        for _ in range(3):
            y[66_000:] = np.nextafter(y[66_000:], kind(np.inf) * np.sign(kind(value)))
        assert measured(x, y, tolerance).ulp == 3.0
    denormal = np.array([0.0, 0.0], kind)
    assert measured(denormal, np.nextafter(denormal, kind(1)), tolerance).ulp == 1.0
    assert measured(denormal, denormal, tolerance).ulp == 0.0
    assert measured(denormal, denormal).ulp is None


# Blocks and threads


@pytest.mark.parametrize("kind", ["plain", "offset", "scaled", "nan", "mean", "int"])
def test_results_do_not_depend_on_the_blocks(kind: str) -> None:
    rng = np.random.default_rng(12)
    x = rng.standard_normal(100_003).astype(np.float32)
    y = (x + 1e-3 * rng.standard_normal(x.size)).astype(np.float32)
    if kind == "offset":
        y = y + np.float32(7)
    elif kind == "scaled":
        y[50_000:] *= np.float32(1e-3)
    elif kind == "nan":
        x[60_000], y[70_000] = np.nan, np.inf
    elif kind == "mean":
        x, y = x + np.float32(1e4), y + np.float32(1e4)
    elif kind == "int":
        x, y = (1e6 * x).astype(np.int64), (1e6 * y).astype(np.int64)
    results = [measured(x, y, block=size) for size in (1 << 16, 100_003, 4096, 999)]
    exact = ("identical", "compared", "count", "mismatched", "nonfinite_mismatch", "max_abs",
             "max_abs_index", "max_abs_values", "max_rel_index")  # fmt: skip
    for other in results[1:]:
        for name in exact:
            assert getattr(other, name) == getattr(results[0], name), name
        for name in ("mse", "relative_l2", "cosine", "pearson", "scale", "sqnr_db", "mean_abs"):
            assert getattr(other, name) == pytest.approx(getattr(results[0], name), rel=2e-5), name
        assert other.reference is not None
        assert results[0].reference is not None
        assert other.reference.std == pytest.approx(results[0].reference.std, rel=2e-5)


def test_results_do_not_depend_on_the_thread() -> None:
    rng = np.random.default_rng(13)
    pairs = [rng.standard_normal((2, n)).astype(np.float32) for n in (70_000, 10, 65_536, 3)] * 3
    wanted = [measured(x, y) for x, y in pairs]
    found: list[list[Measurement]] = [[] for _ in range(4)]

    def work(out: list[Measurement]) -> None:
        out.extend(measured(x, y) for x, y in pairs)

    threads = [threading.Thread(target=work, args=(out,)) for out in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(out == wanted for out in found)


def test_complex_blocks_must_come_as_reals() -> None:
    with pytest.raises(TypeError, match="pairs of reals"):
        Sums(Tolerance(0, 0)).add(np.zeros(2, np.complex64), np.zeros(2, np.complex64), 0)


def test_measurements_are_plain_numbers() -> None:
    m = measured(np.arange(9, dtype=np.float32), np.ones(9, np.float32), Tolerance(0, 0, "float32"))
    for value in (*asdict(m).values(), *asdict(m)["reference"].values()):
        for part in value if isinstance(value, tuple) else (value,):
            assert type(part) in (int, float, bool, dict, type(None)), part
    assert replace(m) == m


def test_no_spread_is_made_up_where_squares_leave_float64() -> None:
    x = np.sort(np.tile([1.7e308, -1.6e308], 8))
    for block in (1, 3, 16):
        found = measured(x, x, block=block)
        assert found.reference is not None
        assert (found.reference.std, found.reference.l2) == (None, None)
        assert found.reasons["reference.std"] == "the squares leave the range of float64"
    constant = measured(np.full(4, 1e200), np.full(4, 1e200), block=2).reference
    assert constant is not None and (constant.std, constant.l2) == (0.0, None)
