"""Tensors that were just recorded and have not changed since: they need no second copy.

A tensor is the same when it is the same memory, still held by the tensor that was recorded, with
the same version and the same words at 64 places. The places are looked at because kernels may
write through a pointer without counting a version; such writes as fill a few slots only are made
to caches, which are always copied. Only for plain memory of the host: a GPU would have to be waited
for.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch

from . import dedup

_MOST = 256  # entries; a tensor is used again soon or not at all
_SMALL = 1 << 14  # bytes below which a copy is as cheap


@dataclass(slots=True)
class _Entry:
    owner: weakref.ref[torch.Tensor]
    version: int
    step: int
    words: dedup.Key
    seq: int


@dataclass(slots=True)
class Candidate:
    """A tensor that can be recognised, and the seq of the record that it is the same as."""

    place: tuple[Any, ...]
    version: int
    words: dedup.Key
    seq: int | None


class Recent:
    """The tensors recorded last. Not for several threads: the recorder holds its lock."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Any, ...], _Entry] = {}

    def look(self, tensor: torch.Tensor, step: int) -> Candidate | None:
        """What is known of a plain tensor; None for one that cannot be recognised."""
        if tensor.device.type != "cpu" or tensor.is_inference() or not tensor.is_contiguous():
            return None
        if tensor.numel() * tensor.element_size() < _SMALL or tensor.is_conj() or tensor.is_neg():
            return None
        raw = tensor.reshape(-1).view(torch.uint8).numpy()
        words = dedup.key_of(str(tensor.dtype), raw)
        place = (tensor.data_ptr(), tensor.shape, tensor.dtype)
        found = self._entries.get(place)
        same = (
            found is not None
            and _alive_at(found.owner(), tensor.data_ptr())
            and (found.version, found.step, found.words) == (tensor._version, step, words)
        )
        return Candidate(place, tensor._version, words, found.seq if same and found else None)

    def remember(self, candidate: Candidate, tensor: torch.Tensor, step: int, seq: int) -> None:
        """`tensor`, which the model holds, was recorded as `seq`."""
        self._entries.pop(candidate.place, None)
        self._entries[candidate.place] = _Entry(
            weakref.ref(tensor), candidate.version, step, candidate.words, seq
        )
        if len(self._entries) > _MOST:
            del self._entries[next(iter(self._entries))]

    def clear(self) -> None:
        self._entries.clear()


def _alive_at(owner: torch.Tensor | None, pointer: int) -> bool:
    """True while the memory cannot have gone to another tensor."""
    return owner is not None and owner.data_ptr() == pointer
