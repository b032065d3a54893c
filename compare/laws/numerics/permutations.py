"""Orders of channels that loaders are known to mix up: as index arrays, `new = old[order]`.

rotary       a head's rows as halves (x_i with x_{i + d/2}) or in turns (x_{2i} with x_{2i+1})
transposed   [heads, size] read as [size, heads]
parts        several matrices joined one after the other, or by head, by group, or by shard
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array

_HEAD_SIZES = (128, 64, 96, 80, 256, 32, 16)  # tried where the config does not tell
_SHARDS = (2, 4, 8)


@dataclass(frozen=True)
class Order:
    """A permutation with words for it; `name` is the cause that it is."""

    name: str
    words: str
    order: Array


def head_sizes(width: int, heads: int) -> list[int]:
    """The size of a head, or all that are usual where the number of heads is not known."""
    if heads > 1 and width % heads == 0:
        return [width // heads]
    return [size for size in _HEAD_SIZES if width % size == 0]


def of_outputs(width: int, heads: int, shared: int, rotary: Sequence[int] = ()) -> Iterator[Order]:
    """Orders of a projection's output channels. `heads` and `shared` (of keys and values) are 1
    where they are not known; `rotary` are sizes of a head's rotated part where it is not all.
    """
    for size in head_sizes(width, heads):
        for part in dict.fromkeys((*rotary, size)):
            if part % 2 == 0 and 2 < part <= size:
                yield from _rotary("row-order", width, size, part)
    yield from of_heads("head-order", width, heads, shared)
    yield from _halves("row-order", width, "output channels")


def of_inputs(width: int, heads: int, shared: int) -> Iterator[Order]:
    """Orders of a projection's input channels (`o_proj` has its heads there)."""
    yield from of_heads("column-order", width, heads, shared)
    size = width // heads
    if heads > 1 and width % heads == 0 and size % 2 == 0 and size > 2:
        yield from _rotary("column-order", width, size, size)
    yield from _halves("column-order", width, "input channels")


def of_heads(name: str, width: int, heads: int, shared: int) -> Iterator[Order]:
    """Whole heads in another order, and heads mixed up with what is inside them."""
    if heads < 2 or width % heads:
        return
    size = width // heads
    grid = np.arange(width).reshape(heads, size)
    if 1 < shared < heads and heads % shared == 0:
        by_group = grid.reshape(shared, heads // shared, size).transpose(1, 0, 2).reshape(-1)
        yield Order(
            "head-order", "heads interleaved across groups instead of group by group", by_group
        )
        back = grid.reshape(heads // shared, shared, size).transpose(1, 0, 2).reshape(-1)
        yield Order("head-order", "heads group by group instead of interleaved across groups", back)
    yield Order("head-order", "heads in reverse order", grid[::-1].reshape(-1))
    words = f"[{heads} heads, {size}] read as [{size}, {heads}]"
    yield Order(name if name != "head-order" else "row-order", words, grid.T.reshape(-1))
    words = f"[{size}, {heads} heads] read as [{heads}, {size}]"
    back = np.arange(width).reshape(size, heads).T.reshape(-1)
    yield Order(name if name != "head-order" else "row-order", words, back)


def _rotary(name: str, width: int, size: int, part: int) -> Iterator[Order]:
    """Halves into turns and back, of the first `part` channels of every head."""
    rest = np.arange(part, size)
    turns = np.arange(part).reshape(2, -1).T.reshape(-1)
    halves = np.arange(part).reshape(-1, 2).T.reshape(-1)
    where = f"each head of {size}" if part == size else f"the first {part} of each head of {size}"
    what = f"the {'rows' if name == 'row-order' else 'input channels'} of {where} are"
    for inside, words in (
        (turns, f"{what} interleaved (rotary pairs side by side), not in halves"),
        (halves, f"{what} in halves, not interleaved (rotary pairs side by side)"),
    ):
        within = np.concatenate([inside, rest])
        order = (np.arange(0, width, size)[:, None] + within).reshape(-1)
        yield Order(name, words, order)


def _halves(name: str, width: int, what: str) -> Iterator[Order]:
    """Both halves exchanged, in turns, or back; and all in reverse."""
    plain = np.arange(width)
    yield Order(name, f"the {what} are in reverse order", plain[::-1].copy())
    if width % 2:
        return
    yield Order(name, f"both halves of the {what} are swapped", np.roll(plain, width // 2))
    yield Order(
        name, f"both halves of the {what} are interleaved", plain.reshape(2, -1).T.reshape(-1)
    )
    words = f"even and odd {what} are separated"
    yield Order(name, words, plain.reshape(-1, 2).T.reshape(-1))


def of_parts(widths: Sequence[int], names: Sequence[str], heads: Sequence[int]) -> Iterator[Order]:
    """Parts of a joined projection mixed up: by head, group or shard, or in another order.
    `heads` are those of each part.
    """
    ends = np.cumsum([0, *widths])
    spans = [np.arange(ends[i], ends[i + 1]) for i in range(len(widths))]
    joined = np.concatenate(spans)
    called = " and ".join([", ".join(names[:-1]), names[-1]])
    common = [count for count in dict.fromkeys((*heads, *_SHARDS)) if count > 1]
    for count in sorted(common, reverse=True):
        if any(width % count for width in widths):
            continue
        pieces = [span.reshape(count, -1) for span in spans]
        mixed = np.concatenate(pieces, axis=1).reshape(-1)
        yield Order("row-order", f"{called} are interleaved in {count} groups", mixed)
        words = f"{called} are read as interleaved in {count} groups, though each is contiguous"
        yield Order("row-order", words, np.argsort(mixed))
    if len(widths) == 3 and widths[1] == widths[2]:
        words = f"{names[1]} and {names[2]} are swapped"
        yield Order("swapped", words, np.concatenate([spans[0], spans[2], spans[1]]))
    if len(set(widths)) == 1:
        yield Order("swapped", f"{called} are in reverse order", np.concatenate(spans[::-1]))
        turns = np.stack(spans, axis=1).reshape(-1)
        yield Order("row-order", f"{called} alternate row by row", turns)
        back = joined.reshape(-1, len(widths)).T.reshape(-1)
        yield Order("row-order", f"{called} are read as alternating rows", back)
