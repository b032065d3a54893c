"""What a template makes of a place: arrays for the data file, and the code of the law."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...capture.values import Array
from ..laws.law import Case
from .place import NothingToReproduceError, Place

MOST_BYTES = 256 << 20  # of parameters; a test that is sent around should not be larger
MOST_ELEMENTS = 1 << 22  # of one weight matrix, above which output channels are sampled
MOST_TABLE = 1 << 20  # of an output, above which its channels are sampled
MOST_CHANNELS = 1024  # that are taken then
_WORST = 8  # one of so many sampled channels is among those with the greatest error


@dataclass(frozen=True)
class Material:
    """`shared` are parameters, `sided` what each side has (reference, candidate): arrays by name.
    `code` are lines of torch that define `expected(side)`; they read arrays by `tensor(name)` and
    `tensor(f"{side}_{name}")`. `channels` are those of the output that were kept, None for all.
    """

    code: str
    shared: Mapping[str, Array] = field(default_factory=dict)
    sided: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    channels: Array | None = None

    @property
    def size(self) -> int:
        """Bytes of the parameters."""
        return sum(values.nbytes for values in self.shared.values())


@dataclass(frozen=True)
class Subject:
    """A place as templates look at it."""

    place: Place

    @property
    def cases(self) -> tuple[Case, Case]:
        return self.place.cases

    def inputs(self, name: str, channels: Array | None = None) -> tuple[Array, Array]:
        """An input of both sides, of some channels."""
        left, right = (case.inputs[name] for case in self.cases)
        return (left, right) if channels is None else (left[:, channels], right[:, channels])

    @cached_property
    def by_size(self) -> Array | None:
        """The channels to keep where the law works element by element; None for all."""
        rows, width = self.cases[1].output.shape
        return None if rows * width <= MOST_TABLE else self.sampled(MOST_TABLE // rows)

    def of_weight(self, shape: Iterable[int]) -> Array | None:
        """The output channels to keep of a weight [out, in]; None for all."""
        out, width = shape
        if out * width <= MOST_ELEMENTS:
            return None
        return self.sampled(min(MOST_CHANNELS, max(64, MOST_ELEMENTS // width)))

    def sampled(self, count: int) -> Array | None:
        """Channels in order: some with the candidate's greatest errors, others evenly spread."""
        width = self.cases[1].output.shape[1]
        if width <= count:
            return None
        case, prediction = self.cases[1], self.place.predictions[1]
        spread = np.broadcast_to(prediction.spread, case.output.shape)
        with np.errstate(all="ignore"):
            left = np.square(case.output - prediction.value).sum(0) / np.square(spread).sum(0)
        left = np.where(np.isfinite(left), left, np.inf)
        worst = np.argsort(-left, kind="stable")[: max(1, count // _WORST)]
        spread_out = np.linspace(0, width - 1, count - len(worst)).astype(np.int64)
        return np.unique(np.concatenate([worst, spread_out]))


def packed(values: Array) -> Array:
    """Float32 where that loses nothing, as it does not for what was recorded."""
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values, equal_nan=True) else values


def check_size(label: str, material: Material) -> None:
    """Raises `NothingToReproduceError` for parameters that are too large to be kept."""
    if material.size > MOST_BYTES:
        raise NothingToReproduceError(
            f"{label}: its parameters have {material.size >> 20} MB, more than "
            f"{MOST_BYTES >> 20} MB, which is too much for a test"
        )
