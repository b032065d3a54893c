"""The rank of a difference of weights, read off the errors of its outputs."""

from __future__ import annotations

import numpy as np
import pytest

from layertui.compare.laws.linear.low_rank import rank_above, rank_of
from layertui.compare.laws.linear.spectrum import COARSE_NOISE, Spectrum, spectrum
from layertui.compare.laws.numerics.rounding import ROUNDED, on_grid

ROWS, INNER, OUT = 54, 576, 192
UNIT = 2.0**-8


def seen(difference: np.ndarray, seed: int = 0) -> Spectrum:
    """What bfloat16 outputs show of a difference of weights, their sums rounded in between."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((ROWS, INNER)) * np.linspace(2, 0.3, INNER)
    x = on_grid(x, UNIT)
    weight = random.standard_normal((OUT, INNER)) / INNER**0.5
    base = x @ weight.T
    y = 0.0
    for part in np.split(np.arange(INNER), 4):
        y = on_grid(y + on_grid(x[:, part] @ (weight + difference)[:, part].T, UNIT), UNIT)
    spread = UNIT * ROUNDED * np.sqrt(np.square(base) + np.square(x) @ np.square(weight).T)
    found = spectrum(y - base, x, spread, COARSE_NOISE)
    assert found is not None
    return found


def adapter(rank: int, share: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(1)
    added = random.standard_normal((OUT, rank)) @ random.standard_normal((rank, INNER))
    return added * (share * OUT**0.5 / np.linalg.norm(added))


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 16])
def test_a_difference_of_low_rank_has_that_rank(rank: int) -> None:
    assert rank_above(seen(adapter(rank)), COARSE_NOISE) == rank


def test_an_uneven_spectrum_of_noise_does_not_hide_the_rank() -> None:
    """The singular values that an adapter of rank 4 had on q_proj of a trained model in bfloat16,
    in both ways of weighing its directions.
    """
    weighed = [119.29, 114.04, 77.8, 73.31, 8.56, 5.4, 4.69, 4.49, 2.97, 2.5, 2.13, 1.91, 1.71]
    plain = np.concatenate([[5801.7, 3536.2, 2502.2, 2219.7], np.linspace(32.8, 8, ROWS - 4)])
    assert rank_of(np.array(weighed + [1.0] * (ROWS - len(weighed))), ROWS, INNER) is None
    random = np.random.default_rng(3)
    u = np.linalg.qr(random.standard_normal((ROWS, ROWS)))[0]
    v = np.linalg.qr(random.standard_normal((OUT, ROWS)))[0]
    found = Spectrum(np.empty((ROWS, OUT)), np.ones(ROWS), (u * plain) @ v.T, np.ones((ROWS, OUT)))
    assert rank_above(found, COARSE_NOISE) == 4


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1, 0.5])
def test_noise_on_every_weight_has_no_rank(share: float) -> None:
    difference = share * np.random.default_rng(2).standard_normal((OUT, INNER)) / INNER**0.5
    assert rank_above(seen(difference), COARSE_NOISE) is None
