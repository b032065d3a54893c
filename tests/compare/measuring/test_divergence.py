"""Rows of logits: compiled, and in numpy's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.dtypes import DTYPES
from layertui.capture.values import Array, upcast
from layertui.compare.measuring.divergence import (
    Divergence,
    divergence_by_numpy,
    divergence_of,
)
from layertui.compare.measuring.kernel import NO_KERNEL, instruction_sets

FLOATS = [name for name, kind in DTYPES.items() if kind.kind == "float"]
ODD = [np.nan, np.inf, -np.inf, 1e300, -1e300, -740.0, -720.0, 5e-324, 0.0]
needs_kernel = pytest.mark.skipif(not instruction_sets(), reason="installed without a compiler")


def assert_alike(found: Divergence, expected: Divergence) -> None:
    np.testing.assert_allclose(found.kl, expected.kl, 1e-9, 1e-13)
    np.testing.assert_array_equal(found.agree, expected.agree)
    np.testing.assert_array_equal(found.margin, expected.margin)


def of_float64(x: Array, y: Array, instructions: str | None = None) -> Divergence:
    return divergence_of(x, y, ("float64", "float64"), x.shape[1], instructions)


@needs_kernel
@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6),
    st.one_of(st.integers(1, 40), st.integers(1000, 2100)),
    st.sampled_from([1e-6, 0.1, 10.0, 400.0, 1e6]),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 99), st.sampled_from(ODD)), max_size=4),
    st.booleans(),
)  # fmt: skip
def test_compiled_rows_are_those_of_numpy(
    seed: int, rows: int, width: int, scale: float, odd: list[tuple[int, int, float]], ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((rows, width))
    y = x + 0.1 * scale * rng.standard_normal(x.shape)
    if ties:
        x, y = np.round(x), np.round(y)
    for side, at, value in odd:
        (x, y)[side].flat[at * x.size // 100] = value
    expected = divergence_by_numpy(x, y)
    for instructions in instruction_sets():
        assert_alike(of_float64(x, y, instructions), expected)


@needs_kernel
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("other", ["float32", "bfloat16"])
def test_every_dtype_beside_another(dtype: str, other: str) -> None:
    rng = np.random.default_rng(3)
    sides = []
    for name in (dtype, other):
        kind = DTYPES[name]
        if kind.itemsize >= 4:
            raw = rng.standard_normal((5, 301)).astype(name)
        else:
            raw = rng.integers(0, 1 << (8 * kind.itemsize), (5, 301)).astype(f"u{kind.itemsize}")
            if name == "float16":
                raw = raw.view(np.float16)
        sides.append(raw)
    with np.errstate(all="ignore"):
        wide = [upcast(r, n).astype(np.float64) for r, n in zip(sides, (dtype, other), strict=True)]
    expected = divergence_by_numpy(wide[0], wide[1])
    for instructions in instruction_sets():
        assert_alike(divergence_of(sides[0], sides[1], (dtype, other), 301, instructions), expected)


def test_without_the_compiled_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 7, 33))
    found = of_float64(x, y)
    monkeypatch.setenv(NO_KERNEL, "1")
    assert_alike(of_float64(x, y), found)


@pytest.mark.parametrize("kernel", [True, False])
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0, 100), st.integers(1, 40), st.integers(2, 50))
def test_never_negative_and_nothing_for_a_common_shift(
    kernel: bool, seed: int, shift: float, tokens: int, width: int
) -> None:
    """A constant added to all logits of a token changes nothing that softmax gives."""
    look = of_float64 if kernel else divergence_by_numpy
    rng = np.random.default_rng(seed)
    x = 4 * rng.standard_normal((tokens, width)).astype(np.float32).astype(np.float64)
    found = look(x, x + shift)
    assert found.agree.all()
    assert (found.kl >= 0).all() and found.kl.max() < 1e-9
    y = x + rng.standard_normal(x.shape)
    assert (look(x, y).kl >= 0).all()


@needs_kernel
def test_sizes_that_do_not_go_together() -> None:
    from layertui.compare.measuring.kernel import compiled_module

    module = compiled_module()
    assert module is not None
    x, table = np.zeros(12), np.empty(0, np.float32)
    for count, rows, room in ((12, 5, 15), (12, 0, 0), (12, -1, 3), (11, 3, 9), (12, 3, 8)):
        with pytest.raises(ValueError):
            module.divergence(
                x, "float64", table, x[:count], "float64", table, rows, np.zeros(room), None
            )
