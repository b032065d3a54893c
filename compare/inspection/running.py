"""Running an analysis over a subject, with progress, until it is done or told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..measuring.blocks import Key
from ..measuring.pair_reader import Block, PairReader
from ..recipes.errors import Shape
from .subject import Subject

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
BLOCK = 1 << 16  # elements: float64 copies of a block stay in the cache, its bookkeeping is small
EVERY = 0.15  # seconds between two reports of progress


class Analysis(Protocol[Result_co]):
    """Takes the blocks of a view; `result` is what is known so far, and never changes later."""

    def add(self, block: Block) -> None: ...

    def result(self) -> Result_co: ...


Make = Callable[[Shape], Analysis[Result]]


class Several:
    """Several analyses in one pass; the result has theirs, in the same order."""

    def __init__(self, *analyses: Analysis[Any]) -> None:
        self._analyses = analyses

    def add(self, block: Block) -> None:
        for analysis in self._analyses:
            analysis.add(block)

    def result(self) -> tuple[Any, ...]:
        return tuple(analysis.result() for analysis in self._analyses)


class Pass(Generic[Result]):
    """One pass over a subject, or over the part of its view that `region` cuts out."""

    def __init__(
        self, make: Make[Result], *, region: Key = (),
        on_progress: Callable[[Result, int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self._make = make
        self._region = region
        self._on_progress = on_progress
        self._cancelled = cancelled

    def over(self, subject: Subject) -> Result:
        """Open the subject and read it. Raises `SideError`, `RecordError` (a record that cannot be
        read), `RecipeError` (sides that do not go together) and `CancelledError`.
        """
        with PairReader(subject.reference, subject.candidate) as reader:
            return self.read(reader)

    def read(self, reader: PairReader) -> Result:
        """Read what is open already."""
        shape = _cut(reader.shape, self._region)
        analysis = self._make(shape)
        done, total = 0, prod(shape)
        told = time.monotonic()
        with np.errstate(all="ignore"):
            for block in reader.blocks(self._region, BLOCK, self._cancelled):
                analysis.add(block)
                done += prod(high - low for low, high in block.ranges)
                now = time.monotonic()
                if self._on_progress is not None and now - told >= EVERY and done < total:
                    self._on_progress(analysis.result(), done, total)
                    told = time.monotonic()
            return analysis.result()


def _cut(shape: Shape, region: Key) -> Shape:
    sizes = list(shape)
    for axis, part in enumerate(region):
        if isinstance(part, slice):
            sizes[axis] = len(range(*part.indices(shape[axis])))
    return tuple(sizes)
