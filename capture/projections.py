"""A short summary of a tensor that depends on where its elements stand.

Minima, means and norms stay what they are when elements change places. Two things do not:

- Random projections: in each of `ROWS` rows every element is added to or taken from one of `WIDTH`
  numbers, both drawn by its flat place (C order) alone. The distance of two such summaries
  estimates that of the two tensors, with a standard error of about 1 / sqrt(2 ROWS WIDTH), 3 %
  (the count sketch: Charikar, Chen and Farach-Colton, 2002; its norm: Alon, Matias and Szegedy,
  1996). Records of one size are drawn alike whatever their names, so that captures of different
  engines can be compared.
- Sums along every axis, of at most `BINS` neighbouring parts each: where a difference lies.

What is not finite counts as 0.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .values import Array

ROWS, WIDTH = 8, 64  # one row is right on the average; where few elements differ, several are
BINS = 32
VERSION = 1  # of the places and signs that are drawn
BLOCK = 1 << 18  # elements that are added at a time
# Of splitmix64 (Steele, Lea and Flood, 2014): the step from place to place; then how far a number
# is shifted to be mixed with itself, and by what it is multiplied; the last shift.
GAMMA = 0x9E3779B97F4A7C15
MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
BITS = (2 * WIDTH - 1).bit_length()  # of a mixed place that each row takes
_MOST_AXES = 32  # that are read of a record
MOST_FOR_AXES = 1 << 22  # elements up to which there are sums along axes


def summary_of(values: Array) -> dict[str, Any]:
    """The summary of an array of numbers (complex ones count as two), as JSON has it: `version`,
    `values` and one text for each of the `axes`, little-endian float32 in base64.
    """
    shape = values.shape
    total = Projections()
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        total.add(flat[start : start + BLOCK], start)
    return as_summary(total.sums, axis_sums(values) if prod(shape) <= MOST_FOR_AXES else [])


def as_summary(sums: Array, axes: Iterable[Array]) -> dict[str, Any]:
    """A summary as JSON has it, of the projections and the sums along axes, float64."""
    return {"version": VERSION, "values": _text(sums), "axes": [_text(part) for part in axes]}


class Projections:
    """The projections of a tensor that is added piece by piece: `sums`, float64
    `[ROWS, WIDTH]`.
    """

    def __init__(self) -> None:
        import numpy as np

        self.sums = np.zeros((ROWS, WIDTH))

    def add(self, values: Array, start: int) -> None:
        """Add numbers that stand one behind the other from flat place `start` on."""
        import numpy as np

        values, per = real_numbers(values)
        start *= per
        while values.size:
            number, at = divmod(start, BLOCK)
            part = values[: BLOCK - at]
            for row, places in zip(self.sums, drawn(number), strict=True):
                found = np.bincount(places[at : at + part.size], part, 2 * WIDTH)
                row += found[:WIDTH] - found[WIDTH:]
            values, start = values[part.size :], start + part.size


def real_numbers(values: Array) -> tuple[Array, int]:
    """Flat float64 numbers, zeros for what is not finite, and how many an element counts as."""
    import numpy as np

    flat = np.ascontiguousarray(values).reshape(-1)
    per = 2 if flat.dtype.kind == "c" else 1
    wide = flat.astype(np.complex128).view(np.float64) if per == 2 else flat.astype(np.float64)
    finite = np.isfinite(wide)
    return (wide if finite.all() else np.where(finite, wide, 0.0)), per


@lru_cache(maxsize=8)
def drawn(number: int) -> Array:
    """Of a block of places, `[ROWS, BLOCK]`: which number of a row an element goes to, `WIDTH`
    more where it is taken from it. Places are mixed by splitmix64, and every row takes other bits.
    """
    import numpy as np

    mixed = np.arange(number * BLOCK, (number + 1) * BLOCK, dtype=np.uint64)
    mixed = (mixed + np.uint64(1)) * np.uint64(GAMMA)
    for shift, factor in MIXING:
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(LAST_SHIFT)
    shifts = np.arange(ROWS, dtype=np.uint64)[:, None] * np.uint64(BITS)
    return ((mixed >> shifts) & np.uint64(2 * WIDTH - 1)).astype(np.uint8)


def distance(first: Array, second: Array) -> float:
    """The Euclidean distance of two tensors, estimated by their projections."""
    import numpy as np

    return float(np.linalg.norm(second - first)) / ROWS**0.5


def axis_sums(values: Array) -> list[Array]:
    """Sums over everything but one axis, for each axis, of at most `BINS` parts of it."""
    import numpy as np

    flat, per = real_numbers(values)
    shape = (*values.shape, per) if per > 1 else values.shape
    wide = flat.reshape(shape)
    found: list[Array] = []
    for axis, size in enumerate(values.shape):
        others = tuple(other for other in range(len(shape)) if other != axis)
        sums = wide.sum(axis=others)
        parts = np.zeros(min(size, BINS))
        np.add.at(parts, np.arange(size) * len(parts) // max(size, 1), sums)
        found.append(parts)
    return found


def part_of_axis(part: int, size: int) -> tuple[int, int]:
    """The indices, from and to, that a part of the sums along an axis of `size` covers."""
    parts = min(size, BINS)
    return -(-part * size // parts), -(-(part + 1) * size // parts)


def digest_of(parts: Iterable[Array], dtype: str) -> str:
    """The hash of a tensor's bytes in C order, given piece by piece, with the name of its dtype."""
    import numpy as np

    digest = blake2b(dtype.encode() + b"\0", digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return f"blake2b:{digest.hexdigest()}"


def _text(numbers: Array) -> str:
    import numpy as np

    with np.errstate(over="ignore"):  # infinities are not read
        numbers = numbers.astype("<f4")
    return base64.b64encode(numbers.tobytes()).decode()


def read_summary(found: object) -> tuple[Array, list[Array]] | None:
    """The projections and the sums along axes of a recorded summary; None where there is none, or
    one that was made in another way. What lies in a file is not trusted.
    """
    if not isinstance(found, Mapping) or found.get("version") != VERSION:
        return None
    values, axes = _numbers(found.get("values"), ROWS * WIDTH), found.get("axes")
    if values is None or values.size != ROWS * WIDTH or not isinstance(axes, list):
        return None
    sums: list[Array] = []
    for text in axes[:_MOST_AXES]:
        part = _numbers(text, BINS)
        if part is None:
            return values, []
        sums.append(part)
    return values, sums


def _numbers(text: object, most: int) -> Array | None:
    import numpy as np

    if not isinstance(text, str) or len(text) > 8 * most + 8:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) % 4 or len(raw) > 4 * most:
        return None
    numbers = np.frombuffer(raw, "<f4").astype(np.float64)
    return numbers if np.isfinite(numbers).all() else None
