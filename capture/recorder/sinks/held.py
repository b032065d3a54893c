"""Values that stay on their device until it is known whether anybody wants them, and tensors of
which nothing but a summary is wanted.
"""

from __future__ import annotations

import threading

import torch

from .device_summary import Draws, Summary, summarise, summary_bytes
from .snapshot import Held, Snapshot, describe, is_capturing, to_host

DEVICES = frozenset(("cuda",))  # whose tensors are summarised there
SMALLEST = 1 << 13  # bytes of values that come to the host as quickly as a summary, twice its size
MOST_HELD = 256 << 20  # bytes of copies on devices at a time


class Allowance:
    """A number of bytes that several threads take from and give back to."""

    def __init__(self, most: int) -> None:
        self.left = most
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        with self._lock:
            if nbytes > self.left:
                return False
            self.left -= nbytes
            return True

    def give(self, nbytes: int) -> None:
        with self._lock:
            self.left += nbytes


class NoRoomError(RuntimeError):
    """Copies of too many bytes are on the device already."""


class DeviceSummaries:
    """Summarises tensors on their devices; with `hold`, for when a summary is not enough, each
    keeps a copy of its values there.
    """

    def __init__(self, hold: bool) -> None:
        self.allowance = Allowance(MOST_HELD)
        self._hold = hold
        self._draws = Draws()

    def serves(self, tensor: torch.Tensor) -> bool:
        """Whether a plain tensor is summarised where it is. Whole numbers are not: that they are
        equal is told by their hash, which is made on the host.
        """
        return (
            tensor.device.type in DEVICES
            and tensor.is_floating_point()
            and tensor.numel() * tensor.element_size() > SMALLEST
            and not is_capturing(tensor)
        )

    def clear(self) -> None:
        """Keep nothing on devices that only later tensors would need."""
        self._draws.clear()

    def nbytes(self, tensor: torch.Tensor) -> int:
        """Bytes that a tensor comes to."""
        values = tensor.numel() * tensor.element_size() if self._hold else 0
        return values + summary_bytes(tuple(tensor.shape))

    def take(self, tensor: torch.Tensor) -> Snapshot:
        """Summary, and copy where one is held, of the values as they are after the work that is
        queued by now. Raises `RuntimeError` where the device has no room or lacks an operation.
        """
        taken = describe(tensor)
        if not self._hold:
            taken.summary = self._summary(tensor)
            return taken
        nbytes = tensor.numel() * tensor.element_size()
        if not self.allowance.take(nbytes):
            raise NoRoomError(f"no room for {nbytes} bytes more on {tensor.device}")
        try:
            values = tensor.clone(memory_format=torch.contiguous_format)
            taken.summary = self._summary(values)
        except BaseException:
            self.allowance.give(nbytes)
            raise
        taken.held, taken.nbytes = Held(values, lambda: self.allowance.give(nbytes)), nbytes
        return taken

    def _summary(self, tensor: torch.Tensor) -> Summary:
        numbers, event = to_host(summarise(tensor, self._draws))
        return Summary(tuple(tensor.shape), numbers, event)
