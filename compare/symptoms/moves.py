"""Right numbers at wrong places: permuted heads, channels or rows, and shifts by tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...capture.values import Array
from ..model import Symptom
from .fit import Pair, left_words

_MOST_GROUPS = 1024  # channels or heads that are matched all with all
_SHIFTS = (1, -1, 2, -2, 3, -3)
_HEADS = (256, 128, 96, 80, 64, 32, 16, 8, 4)


def shifted(pair: Pair) -> Iterator[Symptom]:
    """y at one token is x at another, a fixed way off."""
    x, y = pair.x, pair.y
    if len(x) < 4 or len(pair.shape) < 2:
        return
    best: tuple[float, int, bool] | None = None
    for way in _SHIFTS:
        moved = np.roll(x, way, axis=0)
        apart = np.roll(pair.rows, way) != pair.rows - way
        inside = ~apart
        if inside.sum() < 3:
            continue
        whole, d = y[inside] - moved[inside], pair.d[inside]
        score = 1.0 - float(np.vdot(whole, whole)) / max(float(np.vdot(d, d)), 1e-300)
        if best is None or score > best[0]:
            around = y[apart] - moved[apart]
            size = max(float(np.vdot(y[apart], y[apart])), 1e-300)
            best = score, way, float(np.vdot(around, around)) < 0.1 * size
    if best is not None and best[0] > 0:
        score, way, rolled = best
        where = "before" if way > 0 else "after"
        words = f"every token has the values of the token {abs(way)} {where} it"
        words += ", with the ends swapped (a roll)" if rolled else ""
        yield Symptom("shifted", min(1.0, score), words)


@dataclass(frozen=True, slots=True)
class Order:
    """The reference in another order: `fitted` is the reference in it, `words` name the order, and
    `recipe` are the steps that bring the candidate's view back into the reference's order.
    """

    fitted: Array
    words: str
    recipe: str


def permuted(pair: Pair) -> Iterator[Symptom]:
    """Heads, channels or rows in another order, whichever is the simplest that explains it."""
    for order in orders(pair):
        left = pair.left(order.fitted)
        words = f"{order.words}; {left_words(pair, left)}"
        yield Symptom("permuted", pair.score(left), words)


def orders(pair: Pair) -> Iterator[Order]:
    """Orders that explain (some of) the difference, the simplest first."""
    yield from _halves(pair)
    for head in _HEADS:
        if pair.x.shape[1] % head == 0 and 1 < pair.x.shape[1] // head <= _MOST_GROUPS:
            if not _adjacent(pair.channels):
                break
            order = _match(_groups(pair.x, head), _groups(pair.y, head))
            if order is not None:
                fitted = pair.x.reshape(len(pair.x), -1, head)[:, order].reshape(pair.x.shape)
                words = f"heads of {head} in the order {_shown(order)}"
                yield Order(fitted, words, _heads_back(pair.shape, head, order))
                break
    if pair.x.shape[1] <= _MOST_GROUPS and len(pair.x) >= 4:
        order = _match(pair.x.T, pair.y.T)
        if order is not None:
            words = f"channels in the order {_shown(order)}"
            yield Order(pair.x[:, order], words, f"index_select(-1, {_inverse(order)})")
    if 1 < len(pair.x) <= _MOST_GROUPS:
        order = _match(pair.x, pair.y)
        if order is not None:
            back = f"index_select(-2, {_inverse(order)})"
            one_axis = len(pair.x) == (pair.shape[-2] if len(pair.shape) > 1 else 0)
            words = f"rows in the order {_shown(order)}"
            yield Order(pair.x[order], words, back if one_axis else "")


def _inverse(order: Array) -> str:
    return "[" + ", ".join(map(str, np.argsort(order).tolist())) + "]"


def _heads_back(shape: tuple[int, ...], head: int, order: Array) -> str:
    """The steps that put heads back: apart, in order, together again."""
    outer = ", ".join(map(str, shape[:-1]))
    outer += ", " if outer else ""
    apart = f"reshape({outer}{shape[-1] // head}, {head})"
    return f"{apart} | index_select(-2, {_inverse(order)}) | reshape({outer}{shape[-1]})"


def _adjacent(channels: Array) -> bool:
    return int(channels[-1]) - int(channels[0]) + 1 == len(channels)


def _groups(values: Array, head: int) -> Array:
    """`[heads, rows x head]`"""
    return values.reshape(len(values), -1, head).transpose(1, 0, 2).reshape(
        values.shape[1] // head, -1
    )  # fmt: skip


def _halves(pair: Pair) -> Iterator[Order]:
    """The two layouts of rotary embeddings: halves of a head, or neighbours."""
    width = pair.x.shape[1]
    if not _adjacent(pair.channels):
        return
    best: tuple[float, Order] | None = None
    axes = " ".join(f"a{axis}" for axis in range(len(pair.shape) - 1))
    for head in _HEADS:
        if width % head:
            continue
        parts = pair.x.reshape(len(pair.x), -1, head)
        turned = parts.reshape(*parts.shape[:2], 2, -1).swapaxes(-1, -2).reshape(pair.x.shape)
        back = parts.reshape(*parts.shape[:2], -1, 2).swapaxes(-1, -2).reshape(pair.x.shape)
        for fitted, words, there, here in (
            (turned, "halves interleaved", "d two", "two d"),
            (back, "neighbours separated", "two d", "d two"),
        ):
            score = pair.score(pair.left(fitted))
            if best is not None and score <= best[0]:
                continue
            pattern = f"{axes} (h {there}) -> {axes} (h {here})".strip().replace("->  ", "-> ")
            recipe = f'rearrange("{pattern}", two=2, d={head // 2})'
            words = f"heads of {head}, {words} (rotary layouts)"
            best = score, Order(fitted, words, recipe)
    if best is not None and best[0] > 0.5:
        yield best[1]


def _match(x: Array, y: Array) -> Array | None:
    """For every group of `y` the group of `x` that is nearest, when that is a permutation and not
    the one that changes nothing. Groups are rows.
    """
    xx = np.einsum("ij,ij->i", x, x)
    distance = xx[None, :] - 2 * (y @ x.T)  # less |y|^2, which is the same for all
    order = distance.argmin(axis=1)
    here = np.arange(len(x))
    # A group stays where it is unless another one is much nearer.
    apart = distance[here, order] + np.einsum("ij,ij->i", y, y)
    own = distance[here, here] + np.einsum("ij,ij->i", y, y)
    order = np.where(apart < 0.25 * own, order, here)
    if (order == here).all() or len(np.unique(order)) != len(order):
        return None
    return order


def _shown(order: Array) -> str:
    moved = np.flatnonzero(order != np.arange(len(order)))
    if len(order) <= 16:
        return " ".join(map(str, order.tolist()))
    first = ", ".join(f"{int(order[i])} at {int(i)}" for i in moved[:4])
    return f"{first} ... ({len(moved)} of {len(order)} moved)"
