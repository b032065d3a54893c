"""Some of the layers: `--layers 0:5`."""

from __future__ import annotations

from dataclasses import dataclass

_MOST = 1 << 20  # no model has so many layers


@dataclass(frozen=True, slots=True)
class LayerRange:
    """Layers `first` to `end` - 1, counted from 0; `end` is None where there is no end."""

    first: int
    end: int | None

    @staticmethod
    def parse(text: str) -> LayerRange:
        """`0:5`, `3:`, `:5`, or one layer as `4`. Raises `ValueError`."""
        first, colon, end = text.strip().partition(":")
        start = _number(first) if first or not colon else 0
        if not colon:
            return LayerRange(start, start + 1)
        found = LayerRange(start, _number(end) if end else None)
        if found.end is not None and found.end <= found.first:
            raise ValueError(f"{text!r} contains no layer")
        return found

    def __str__(self) -> str:
        return f"{self.first}:{'' if self.end is None else self.end}"

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.end is None or number < self.end)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST:
        raise ValueError(f"{text!r} is not the number of a layer")
    return int(text)
