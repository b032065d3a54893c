"""What a fit is measured by, and the fits that need nothing but the pair itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..limits import FEW_ROWS, OWN_BY_CHANNEL, OWN_BY_ROW, STANDARD_ERRORS
from ..model import Symptom


@dataclass(slots=True)
class Pair:
    """A pair's sample, finite numbers only, and the squares of the difference that a clean run
    would have too (`noise`). `channels` and `rows` are flat places in the view.
    """

    x: Array
    y: Array
    rows: Array
    channels: Array
    shape: tuple[int, ...]
    noise: float

    @property
    def d(self) -> Array:
        return self.y - self.x

    @property
    def squares(self) -> float:
        """|y - x|^2"""
        return float(np.vdot(self.d, self.d))

    def score(self, left: float) -> float:
        """The share of the error that is explained when `left` squares remain: of what is beyond
        noise, or of all where the two are alike.
        """
        explained = self.squares - left
        if explained <= 0:
            return 0.0
        return min(1.0, explained / max(self.squares - self.noise, explained))

    def left(self, y: Array) -> float:
        """|y - fitted|^2 as a share of |y - x|^2, for words."""
        rest = self.y - y
        return float(np.vdot(rest, rest))


def left_words(pair: Pair, left: float) -> str:
    """`3 % of the error remains`."""
    share = 100 * left / max(pair.squares, 1e-300)
    return f"{share:.{2 if share < 99.5 else 3}g} % of the squared error remains"


def constant(pair: Pair) -> Iterator[Symptom]:
    """The candidate has one value, the reference many."""
    x, y = pair.x, pair.y
    if x.size > 1 and float(y.min()) == float(y.max()) and float(x.min()) < float(x.max()):
        value = float(y.flat[0])
        words = "all zeros" if value == 0 else f"{value:.6g} everywhere"
        yield Symptom("constant", 1.0, f"the candidate is {words}, the reference varies")


def scale(pair: Pair) -> Iterator[Symptom]:
    """y = s x; a factor of -1 is a sign."""
    x, y = pair.x, pair.y
    xx = float(np.vdot(x, x))
    if xx == 0 or x.size < 8:
        return
    slope = float(np.vdot(x, y)) / xx
    left = pair.left(slope * x)
    error = (left / (x.size - 1) / xx) ** 0.5
    if abs(slope - 1) <= STANDARD_ERRORS * error:
        return
    if left > 0.5 * float(np.vdot(y, y)):
        return  # the two are not alike: any factor that makes x small explains half
    name = "sign" if abs(slope + 1) < 0.05 else "scale"
    words = f"x{slope:.4f} +- {error:.1g}; {left_words(pair, left)}"
    yield Symptom(name, pair.score(left), words)


def sign_of_channels(pair: Pair) -> Iterator[Symptom]:
    """Some channels, not all, have the other sign."""
    x, y = pair.x, pair.y
    total, product = np.einsum("ij,ij->j", x, x), np.einsum("ij,ij->j", x, y)
    wrong = product < -0.8 * total
    wrong &= total > 0
    if not wrong.any() or wrong.all():
        return
    left = pair.left(np.where(wrong, -x, x))
    places = ", ".join(map(str, pair.channels[wrong][:8].tolist()))
    words = f"channels {places} have the opposite sign; {left_words(pair, left)}"
    yield Symptom("sign", pair.score(left), words)


def offset(pair: Pair) -> Iterator[Symptom]:
    """y = x + a, one number, or one a channel."""
    d = pair.d
    mean = float(d.mean())
    spread = float(d.std()) / d.size**0.5
    if abs(mean) > STANDARD_ERRORS * spread:
        left = pair.left(pair.x + mean)
        words = f"{mean:+.4g} everywhere; {left_words(pair, left)}"
        yield Symptom("offset", pair.score(left), words)
    count = d.shape[0]
    if count < 4:
        return
    means = d.mean(0)
    rest = d - means
    # What means of pure noise would take away comes back.
    left = float(np.vdot(rest, rest)) * count / (count - 1)
    # Rows that are all alike make any difference look like an offset.
    unlike = 1.0 - max(_common(pair.x), _common(pair.y))
    if left > OWN_BY_CHANNEL * unlike * pair.squares:
        return
    sizes = np.abs(means)
    top = int(sizes.argmax())
    words = (
        f"one value per channel, the same for all {count} rows, {float(sizes.mean()):.3g} on "
        f"average, {float(means[top]):+.4g} in channel {int(pair.channels[top])}: a bias, missing "
        f"or wrong; {left_words(pair, left)}"
    )
    yield Symptom("offset", pair.score(left), words)


def by_row(pair: Pair) -> Iterator[Symptom]:
    """Every row has a factor, or a constant, of its own."""
    x, d = pair.x, pair.d
    count = x.shape[1]
    if len(x) < 2 or count < 8:
        return
    xx, xd = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", x, d)
    factors = np.divide(xd, xx, out=np.zeros_like(xd), where=xx > 0)
    # What a fit of pure noise would take away comes back.
    left = pair.left(x + factors[:, None] * x) * count / (count - 1)
    alike = left <= 0.5 * float(np.vdot(pair.y, pair.y))
    alike = alike and _of_all_channels(x, d, factors[:, None] * x)
    if alike and of_many(factors) and left <= OWN_BY_ROW * pair.squares:
        words = (
            f"each row has a factor of its own, x{1 + float(factors.min()):.4f} to "
            f"x{1 + float(factors.max()):.4f}; {left_words(pair, left)}"
        )
        yield Symptom("scale", pair.score(left), words)
    means = d.mean(1)
    left = pair.left(x + means[:, None]) * count / (count - 1)
    if of_many(means) and left <= OWN_BY_ROW * pair.squares:
        words = (
            f"each row has a constant of its own, {float(means.min()):+.4g} to "
            f"{float(means.max()):+.4g}; {left_words(pair, left)}"
        )
        yield Symptom("offset", pair.score(left), words)


def _of_all_channels(x: Array, d: Array, fitted: Array) -> bool:
    """Whether a fit holds without the greatest value of every row too: alone it makes a factor."""
    greatest = np.abs(x).argmax(1)[:, None]
    rest = d - fitted
    np.put_along_axis(rest, greatest, 0.0, 1)
    whole = float(np.vdot(d, d)) - float((np.take_along_axis(d, greatest, 1) ** 2).sum())
    return float(np.vdot(rest, rest)) <= OWN_BY_ROW * whole


def of_many(values: Array) -> bool:
    """Whether more than a few rows have a part in it: few are described by their place."""
    size = np.abs(values)
    return bool(np.count_nonzero(size > 0.1 * size.max()) > FEW_ROWS * len(size))


def _common(values: Array) -> float:
    """The share of the squares that the means of the channels hold: 1 where all rows are equal."""
    total = float(np.vdot(values, values))
    means = values.mean(0)
    return float(np.vdot(means, means)) * values.shape[0] / total if total else 0.0
