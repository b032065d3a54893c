"""Finding a tensor that was stored before: the input of a layer is the output of the last.

A few words of the bytes, spread evenly, give candidates; all bytes are then compared, so that
nothing is ever called the same by mistake. Version counters are not relied upon: kernels that
write through a raw pointer leave them as they are, and such faults are what captures are for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .pool import Bytes

_SAMPLES = 64
_CANDIDATES = 4  # of one key that are compared, the latest first
_BLOCK = 1 << 20
Key = tuple[str, int, bytes]


@dataclass(slots=True)
class Stored:
    """Where the bytes of a record are: in memory, then in a file."""

    seq: int
    nbytes: int
    raw: Bytes | None
    path: str = ""
    offset: int = 0

    def equals(self, raw: Bytes, scratch: Bytes) -> bool:
        """True when the stored bytes are `raw`; `scratch` is room for a block of them."""
        if self.raw is not None:
            return _equal(self.raw, raw)
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.offset)
                for start in range(0, raw.size, _BLOCK):
                    part = raw[start : start + _BLOCK]
                    block = scratch[: part.size]
                    if file.readinto(block.data) != part.size or not _equal(block, part):
                        return False
        except OSError:  # somebody removed the shard: then nothing is the same
            return False
        return True


class Seen:
    """What has been stored so far."""

    def __init__(self) -> None:
        self._stored: dict[Key, list[Stored]] = {}
        self._scratch = np.empty(_BLOCK, np.uint8)

    def find(self, key: Key | None, raw: Bytes) -> int | None:
        """The seq of an earlier record of the same dtype with exactly the bytes `raw`."""
        for stored in reversed(self._stored.get(key, ()) if key is not None else ()):
            if stored.equals(raw, self._scratch):
                return stored.seq
        return None

    def key(self, dtype: str, raw: Bytes) -> Key | None:
        """What a tensor is filed under, taken while its bytes can be looked at."""
        return key_of(dtype, raw) if raw.size else None

    def add(self, key: Key | None, stored: Stored) -> None:
        """Remember a record."""
        if key is not None:
            group = self._stored.setdefault(key, [])
            group.append(stored)
            del group[:-_CANDIDATES]


def key_of(dtype: str, raw: Bytes) -> Key:
    """Type, size and a few words of the bytes."""
    words = raw[: raw.size // 8 * 8].view(np.uint64)
    if words.size <= _SAMPLES:
        return dtype, raw.size, raw.tobytes()
    step = words.size // _SAMPLES
    return dtype, raw.size, words[::step].tobytes() + raw[-8:].tobytes()


def _equal(a: Bytes, b: Bytes) -> bool:
    """Of one size; block by block, so that a difference early on ends it."""
    for start in range(0, a.size, _BLOCK):
        if not np.array_equal(_words(a[start : start + _BLOCK]), _words(b[start : start + _BLOCK])):
            return False
    return True


def _words(part: Bytes) -> np.ndarray:
    """Eight bytes at a time where they come out even."""
    return part if part.size % 8 else part.view(np.uint64)
