"""Each quantiser of the laws: what it is held to, and that none is taken for another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from layertui.compare.laws.linear.quantisers import (
    Affine,
    Quantiser,
    Symmetric,
    activation_quantisers,
    float8,
    table,
    weight_quantisers,
    with_scale_unit,
)
from support.laws.linear_faults import fp8, int_groups, mxfp4, nf4, rounded_rows

ALL = (*weight_quantisers(), *activation_quantisers())
ROWS, INNER = 32, 512
# Bits of a mantissa (the hidden one too) of kinds whose steps grow with the numbers.
FLOATS = {"fp8 e4m3": 4, "fp8 e5m2": 3}


def weights(seed: int = 0, tails: bool = False) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = random.standard_t(4, (ROWS, INNER)) if tails else random.standard_normal((ROWS, INNER))
    return drawn * np.linspace(0.01, 0.05, ROWS)[:, None] * random.uniform(0.5, 2, INNER)


def named(kind: str, size: int, more: str = "") -> Quantiser:
    return next(q for q in ALL if (q.kind, q.size, q.more) == (kind, size, more))


def groups(quantiser: Quantiser, values: np.ndarray) -> np.ndarray:
    """The elements that share a scale: `[..., size]`."""
    if quantiser.size > 0:
        return values.reshape(len(values), -1, quantiser.size)
    return values if quantiser.size == 0 else values.reshape(1, -1)


def relative(values: np.ndarray, done: np.ndarray) -> float:
    return float(np.sqrt(np.square(done - values).sum() / np.square(values).sum()))


@pytest.mark.parametrize("quantiser", ALL, ids=lambda q: q.words.replace(" ", "-"))
def test_rounding_twice_is_rounding_once(quantiser: Quantiser) -> None:
    """What lies on the grid stays there, but for scales that are made anew of rounded numbers."""
    values = weights()
    once = quantiser(values)
    twice = quantiser(once)
    share = float(np.mean(np.abs(twice - once) > 1e-9 * np.abs(values).max()))
    if quantiser.more in ("with zero points", "with offsets", "over the full range") or (
        quantiser.more.startswith("as q")
    ):
        # Neither end of such a range need be a number of the grid: the next scale may differ.
        assert relative(once, twice) <= relative(values, once) + 1e-12
    else:
        assert share <= 0.002, share


@pytest.mark.parametrize("quantiser", ALL, ids=lambda q: q.words.replace(" ", "-"))
def test_no_error_is_larger_than_a_step(quantiser: Quantiser) -> None:
    values = weights()
    error = np.abs(groups(quantiser, quantiser(values) - values))
    sizes = np.abs(groups(quantiser, values))
    spans = sizes.max(-1, keepdims=True)
    if quantiser.kind in FLOATS:
        unit = 2.0 ** -FLOATS[quantiser.kind]
        least = spans * 2.0**-15 if quantiser.more != "without a scale" else 2.0**-9
        assert (error <= np.maximum(unit * sizes * 1.001, least)).all()
    elif quantiser.kind.startswith("int"):
        whole = (
            spans
            if "zero" not in quantiser.more and "offsets" not in quantiser.more
            else (np.ptp(groups(quantiser, values), axis=-1, keepdims=True) / 2)
        )
        step = 2 * whole / (2.0**quantiser.bits - 2)
        most = 1.02 if quantiser.more in ("over the full range", "with zero points") else 0.52
        most = 1.02 if quantiser.more.startswith("as q") else most
        assert (error <= most * step + 1e-15).all()
    else:
        assert (error <= spans / 3).all()  # the widest gap of a table of 16 numbers


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_there_are_no_more_numbers_than_bits_allow(bits: int) -> None:
    for quantiser in ALL:
        if quantiser.bits == bits and quantiser.size == 0 and not quantiser.kind.startswith("fp8"):
            done = quantiser(weights())
            assert all(len(np.unique(row)) <= 2**bits for row in done), quantiser.words


@pytest.mark.parametrize("quantiser", ALL, ids=lambda q: q.words.replace(" ", "-"))
def test_zeros_and_tiny_numbers_make_no_harm(quantiser: Quantiser) -> None:
    values = weights()
    values[3] = 0.0
    values[4, :256] = 0.0
    values[5] = 1e-40
    with np.errstate(all="raise"):
        done = quantiser(values)
    assert (np.isfinite(done).all() and not done[3].any()) or quantiser.size < 0
    assert np.isfinite(quantiser(np.zeros((2, INNER)))).all()


@pytest.mark.parametrize("quantiser", ALL, ids=lambda q: q.words.replace(" ", "-"))
def test_a_part_of_a_tensor_needs_its_span(quantiser: Quantiser) -> None:
    """Rows by themselves give what they give in the whole matrix."""
    values = weights()
    span = np.array([values.min(), values.max()])
    if quantiser.kind == "nvfp4":
        pytest.skip("a second scale that is made of all groups")
    np.testing.assert_allclose(quantiser(values[4:9], span), quantiser(values)[4:9], atol=1e-15)


# Against others' code


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (named("int8", 0), lambda w: rounded_rows(w, 127)),
        (named("int4", 64), lambda w: int_groups(w, 4, 64)),
        (named("int4", 128, "with zero points"), lambda w: int_groups(w, 4, 128, zero=True)),
        (named("nf4", 64), lambda w: nf4(w, 64)),
        (named("fp8 e4m3", 0), lambda w: fp8(w, by_row=True)),
        (named("fp8 e4m3", -1), fp8),
        (named("mxfp4", 32), mxfp4),
    ],
)
@pytest.mark.parametrize("tails", [False, True])
def test_the_same_as_torch_gives(ours: Quantiser, theirs: object, tails: bool) -> None:
    values = weights(1, tails).astype(np.float32)
    wanted = theirs(torch.from_numpy(values)).double().numpy()  # type: ignore[operator]
    found = ours(values.astype(np.float64))
    differ = np.abs(found - wanted) > 1e-5 * np.abs(values).max()
    # Of two codes that are as near, float32 may take the other one; so may a zero point.
    whole = 0.02 if "zero" in ours.more else 5e-4
    assert differ.mean() <= whole


@pytest.mark.parametrize(
    ("kind", "dtype"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)]
)
@settings(max_examples=100, deadline=None)
@given(values=arrays.arrays(np.float32, 16, elements=st.floats(-500, 500, width=32)))
def test_float8_is_that_of_torch(kind: str, dtype: torch.dtype, values: np.ndarray) -> None:
    if kind == "e4m3":
        values = np.clip(values, -448, 448)
    wanted = torch.from_numpy(values).to(dtype).double().numpy()
    np.testing.assert_array_equal(float8(values.astype(np.float64), kind), wanted)


def test_float8_cuts_off_what_is_beyond_it() -> None:
    assert float8(np.array([1e4, -1e4]), "e4m3").tolist() == [448.0, -448.0]
    assert float8(np.array([1e9, -1e9]), "e5m2").tolist() == [57344.0, -57344.0]


# Recognised by what they leave


FAMILIES = [
    named("int8", 0), named("int8", -1), named("int8", 128), named("int4", 0), named("int4", 32),
    named("int4", 128), named("int4", 64, "with zero points"), named("int3", 64), named("nf4", 64),
    named("fp8 e4m3", 0), named("fp8 e4m3", -1), named("fp8 e5m2", 0), named("mxfp4", 32),
    named("nvfp4", 16), named("fp4 e2m1", 32), named("int4", 32, "as q4_0"),
    named("int4", 32, "as q4_1"), named("int8", 32, "as q8_0"),
]  # fmt: skip


@pytest.mark.parametrize("true", FAMILIES, ids=lambda q: q.words.replace(" ", "-"))
def test_the_right_kind_is_the_nearest(true: Quantiser) -> None:
    """Of all kinds the one that was used reproduces it; every other one leaves much of the error,
    or is the same rounding by another name.
    """
    values = weights(2)
    done = true(values)
    size = relative(values, done)
    for other in weight_quantisers():
        if other.fits(INNER):
            left = relative(done, other(values)) / size
            assert left <= 1e-9 if other is true else left > 0.15 or _same(true, other), other.words


def _same(one: Quantiser, other: Quantiser) -> bool:
    """Kinds that differ in how their scales are rounded only: `q8_0` has float16's."""
    return (one.kind, one.size) == (other.kind, other.size)


def test_scales_may_be_rounded() -> None:
    half = with_scale_unit(Symmetric(4, 7), 2.0**-11)
    assert half == Symmetric(4, 7, 2.0**-11)
    assert with_scale_unit(Affine(4, True, True), 2.0**-8) == Affine(4, True, True, 2.0**-8)
    assert with_scale_unit(table((-1.0, 0.0, 1.0)), 2.0**-8) is None


def test_groups_that_do_not_fit_are_not_tried() -> None:
    quantiser = named("int4", 64)
    assert quantiser.fits(128) and not quantiser.fits(64) and not quantiser.fits(96)
    assert named("int4", 0).fits(7) and named("int8", -1).fits(7)


def test_words_name_the_group() -> None:
    assert named("int4", 64, "with zero points").words == "int4 in groups of 64 with zero points"
    assert named("int8", -1).words == "int8 by tensor"
