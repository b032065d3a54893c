"""Which tokens of a tensor are recorded, where not all of them are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import CaptureError

_MOST_AXES, _MOST_TOKENS = 32, 1 << 40
_RANGE = re.compile(r"(\d{0,9}):(\d{0,9})")
_COUNTED = re.compile(r"(last|every):(\d{1,9})")


@dataclass(frozen=True, slots=True)
class TokenPart:
    """Which tokens of a step are recorded, as a slice of them."""

    text: str
    start: int | None
    stop: int | None
    stride: int = 1

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> TokenPart:
        """Raises `CaptureError`."""
        counted, part = _COUNTED.fullmatch(text), _RANGE.fullmatch(text)
        if counted is not None and int(counted[2]) > 0:
            number = int(counted[2])
            if counted[1] == "last":
                return TokenPart(text, -number, None)
            return TokenPart(text, None, None, number)
        if part is not None and text != ":":
            start, stop = (int(end) if end else None for end in part.groups())
            if stop is None or stop > (start or 0):
                return TokenPart(text, start, stop)
        raise CaptureError(f'tokens={text!r}: such as "last:64", "0:128" or "every:16"')

    def of(self, count: int) -> range:
        """The places of the tokens that are kept, of so many."""
        return range(count)[self.start : self.stop : self.stride]


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """Places `first`, `first + stride`, ... before `end` of `count` tokens, along `axis`."""

    axis: int
    first: int
    end: int
    stride: int
    count: int

    @property
    def places(self) -> range:
        return range(self.first, self.end, self.stride)

    @property
    def has_last(self) -> bool:
        """Whether the last of all tokens is among them."""
        return self.count - 1 in self.places

    def line(self) -> list[int]:
        """As a manifest has it."""
        return [self.axis, self.first, self.end, self.stride, self.count]

    @staticmethod
    def read(found: object) -> TokenPlaces | None:
        """From a line of a manifest, which is not trusted; None where it says nothing usable."""
        if type(found) is not list or len(found) != 5 or any(type(n) is not int for n in found):
            return None
        axis, first, end, stride, count = found
        whole = 0 <= first <= end <= count <= _MOST_TOKENS and stride > 0
        return TokenPlaces(*found) if whole and 0 <= axis < _MOST_AXES else None
