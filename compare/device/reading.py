"""Two places in files, read a block at a time and brought to torch's device.

While the device computes with a block the next one is read, each side by a thread of its own.
Memory is that of two blocks a side, pinned where the device is a GPU, whatever the size of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import torch

from ...capture.dtypes import DTYPES
from ..measuring.fused import Place
from .torch_sums import numbers


@dataclass(frozen=True, slots=True)
class _Side:
    """One side: where it lies, and two buffers in turn."""

    place: Place
    buffers: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, place: Place, block: int, pinned: bool) -> _Side:
        size = block * DTYPES[place.dtype].itemsize
        first, second = (torch.empty(size, dtype=torch.uint8, pin_memory=pinned) for _ in range(2))
        return cls(place, (first, second))

    def read(self, turn: int, start: int, count: int) -> torch.Tensor:
        """`count` elements from `start` on, as raw bytes. Raises `OSError` and `EOFError`."""
        place = self.place.after(start)
        found = self.buffers[turn % 2][: count * DTYPES[place.dtype].itemsize]
        left, offset = memoryview(cast(Any, found.numpy())), place.offset
        while left:
            got = os.preadv(place.descriptor, [left], offset)
            if got == 0:
                raise EOFError("the file became shorter while it was read")
            left, offset = left[got:], offset + got
        return found


def check_size(place: Place, count: int) -> None:
    """Raises `EOFError` where the file does not hold so many elements."""
    size = os.fstat(place.descriptor).st_size
    if not 0 <= place.offset <= size - count * DTYPES[place.dtype].itemsize:
        raise EOFError("the file is shorter than its elements")


def blocks_of(
    places: tuple[Place, Place], count: int, block: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Both sides as numbers on the device, `block` elements of `count` at a time. Whoever takes a
    block must have its sums before asking for the next: its buffers are used again then.

    Raises `EOFError` and `OSError`.
    """
    for place in places:
        check_size(place, count)
    block, pinned = min(block, count), device.type == "cuda"
    sides = [_Side.of(place, block, pinned) for place in places]
    with ThreadPoolExecutor(len(sides), "layertui-read") as pool:

        def coming(turn: int) -> list[Future[torch.Tensor]]:
            start = turn * block
            size = min(block, count - start)
            return [pool.submit(side.read, turn, start, size) for side in sides if size > 0]

        ahead = coming(0)
        for turn in range(-(-count // block)):
            x, y = (future.result() for future in ahead)
            ahead = coming(turn + 1)
            yield _on(device, x, places[0].dtype), _on(device, y, places[1].dtype)


def _on(device: torch.device, raw: torch.Tensor, dtype: str) -> torch.Tensor:
    return numbers(raw.to(device, non_blocking=True), dtype)
