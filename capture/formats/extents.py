"""Shapes and strides that a file's header promises, checked before anything believes them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ..errors import RecordError

MOST_DIMENSIONS = 32  # numpy 1.x has no more; torch has 64, no layer has
_MOST_BYTES = (1 << 63) - 1
_MOST_UNPACKED = 1 << 30
_MOST_TIMES = 100


def checked_shape(sizes: Any, itemsize: int) -> tuple[int, ...]:
    """`sizes` as a shape: a list or tuple of integers >= 0 whose bytes can be counted in 63 bits
    even when another size is 0. Raises `RecordError`.
    """
    if not isinstance(sizes, (list, tuple)):
        raise RecordError("damaged header: the shape is not a list")
    if len(sizes) > MOST_DIMENSIONS:
        raise RecordError(
            f"{len(sizes)} dimensions: no more than {MOST_DIMENSIONS} can be compared"
        )
    for size in sizes:
        if type(size) is not int or size < 0:
            raise RecordError("damaged header: a size in the shape is not a whole number >= 0")
    elements = prod(sizes) or prod(size or 1 for size in sizes)
    if elements * itemsize > _MOST_BYTES:
        raise RecordError("damaged header: the shape is larger than any memory")
    return tuple(sizes)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an array in C order."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def checked_strides(strides: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides in elements that fit `shape`; None when the elements lie in C order.

    The stride of a dimension of size 1 is never used; it becomes that of C order, whatever the
    file says. Raises `RecordError` for negative ones.
    """
    if not isinstance(strides, (list, tuple)) or len(strides) != len(shape):
        raise RecordError("damaged header: the strides do not fit the shape")
    for step in strides:
        if type(step) is not int or step < 0:
            raise RecordError("damaged header: a stride is not a whole number >= 0")
    plain = contiguous_strides(shape)
    if 0 in shape:
        return None
    used = tuple(
        step if size > 1 else usual for step, size, usual in zip(strides, shape, plain, strict=True)
    )
    return None if used == plain else used


def reach(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> int:
    """Number of elements from the first to the last that an array touches, both counted."""
    if 0 in shape:
        return 0
    if strides is None:
        return prod(shape)
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def refuse_bomb(unpacked: int, size: int) -> None:
    """Raise `RecordError` for values that take far more memory than the file they come from.

    Compression, stride 0 and sparse layouts do that for good reasons too, so the first GiB and
    a hundred times the file are allowed.
    """
    if unpacked > max(_MOST_UNPACKED, _MOST_TIMES * size):
        raise RecordError(f"refused: {size} bytes that unpack to {unpacked} bytes")
