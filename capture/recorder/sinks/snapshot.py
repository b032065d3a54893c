"""Copies of tensors on the host, made at once: what happens to the tensor later is not seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes

from ...dtypes import DTYPES
from .pool import Bytes, Pool

if TYPE_CHECKING:
    from .device_summary import Summary

_MOST_DIMENSIONS = 32  # of the reader
_PLAIN_DISPATCH = (
    getattr(torch._C, "_disabled_torch_dispatch_impl", None),
    getattr(torch.Tensor, "__torch_dispatch__", None),
)
# What functional collectives give until somebody looks at it (RowwiseParallel's output).
_SUM_ON_ITS_WAY = "AsyncCollectiveTensor"
_FUNCTORCH: Any = getattr(torch._C, "_functorch")  # noqa: B009


class UnreadableError(Exception):
    """A tensor without plain values; the message says what it is."""


@dataclass(slots=True)
class Held:
    """A copy of a tensor on its device; whoever has done with it calls `let_go`."""

    values: torch.Tensor
    let_go: Callable[[], None]


@dataclass(slots=True)
class Snapshot:
    """The bytes of one tensor in C order, or `problem` why there are none.

    `event` must have happened before `raw` may be looked at (copies from a GPU); `memory` goes
    back to the pool when the bytes are on disk. With a `summary` the bytes are `held` on the device
    until somebody asks for them, or not kept at all.
    """

    shape: tuple[int, ...]
    dtype: str
    device: str
    nbytes: int = 0
    memory: Bytes | None = None
    pooled: bool = False
    event: Any = None
    problem: str | None = None
    summary: Summary | None = None
    held: Held | None = None

    @property
    def reserved(self) -> int:
        """Bytes that it counts for until it is given back."""
        return self.nbytes + (0 if self.summary is None else self.summary.nbytes)

    def raw(self) -> Bytes:
        """The bytes, waiting for the device where they come from one."""
        if self.held is not None:
            self._fetch(self.held.values)
        if self.event is not None:
            self.event.synchronize()
            self.event = None
        if self.memory is None:
            raise ValueError("no bytes: given back, or a problem")
        return self.memory[: self.nbytes]

    def tensor(self) -> torch.Tensor:
        """The bytes as a torch tensor, valid until they are given back."""
        raw = torch.from_numpy(self.raw())
        return raw.view(getattr(torch, self.dtype)).view(self.shape)

    def _fetch(self, values: torch.Tensor) -> None:
        """What is held on the device, on a stream of its own: behind nothing the model queued."""
        assert self.summary is not None
        self.summary.wait()  # made behind the copy that is held
        aside: Any = contextlib.nullcontext()
        if values.device.type == "cuda":
            aside = torch.cuda.stream(torch.cuda.Stream(values.device))
        with aside:
            target, event = to_host(values)
        if event is not None:
            event.synchronize()
        self.memory = _bytes_of(target)
        self.let_go()

    def let_go(self) -> None:
        """Of the copy on the device, where there is one."""
        held, self.held = self.held, None
        if held is not None:
            held.let_go()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Copying is nobody's business: no dispatch mode, no torch function sees it, no graph."""
    with contextlib.ExitStack() as stack:
        if torch._C._len_torch_dispatch_stack():
            stack.enter_context(_disable_current_modes())
        stack.enter_context(torch._C.DisableTorchFunction())
        yield


def describe(tensor: torch.Tensor) -> Snapshot:
    """Shape, dtype and device of `tensor`, with no bytes."""
    try:
        shape = tuple(int(size) for size in tensor.shape)
    except RuntimeError:  # a nested tensor has no one shape
        shape = ()
    return Snapshot(shape, str(tensor.dtype).removeprefix("torch."), str(tensor.device))


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` without a graph, dense, of a dtype that can be stored. Raises `UnreadableError`.

    Complex128, which safetensors has no code for, becomes pairs of float64.
    """
    if _FUNCTORCH.is_functorch_wrapped_tensor(tensor):
        raise UnreadableError("inside a functorch transform: no plain values")
    local = getattr(tensor, "_local_tensor", None)
    if isinstance(local, torch.Tensor):  # a DTensor: this process has its part
        tensor = local
    if type(tensor).__name__ == _SUM_ON_ITS_WAY:
        tensor = tensor.trigger_wait()  # type: ignore[attr-defined]
    if getattr(type(tensor), "__torch_dispatch__", None) not in _PLAIN_DISPATCH:
        raise UnreadableError(f"a {type(tensor).__name__}: its values are not plain elements")
    if tensor.is_nested or tensor.is_quantized:
        raise UnreadableError("a nested tensor" if tensor.is_nested else "a quantized tensor")
    if tensor.is_meta:
        raise UnreadableError("on device meta: has no values")
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype is torch.complex128:
        tensor = torch.view_as_real(tensor.resolve_conj())
    known = DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if known is None or known.safetensors is None:
        raise UnreadableError(f"{tensor.dtype} has no code in safetensors")
    if tensor.dim() > _MOST_DIMENSIONS:
        raise UnreadableError(f"{tensor.dim()} dimensions: no more than {_MOST_DIMENSIONS}")
    return tensor


def copy_to_host(tensor: torch.Tensor, pool: Pool) -> Snapshot:
    """Copy a tensor that came from `plain`; a GPU's copy is ordered behind the work before it."""
    taken = describe(tensor)
    taken.nbytes = tensor.numel() * tensor.element_size()
    if tensor.device.type == "cuda":
        _copy_from_gpu(tensor, taken)
        return taken
    taken.memory, taken.pooled = pool.take(taken.nbytes), True
    target = torch.from_numpy(taken.memory[: taken.nbytes])
    target.view(tensor.dtype).view(taken.shape).copy_(tensor)
    return taken


def _copy_from_gpu(tensor: torch.Tensor, taken: Snapshot) -> None:
    """On the stream that computes, without waiting."""
    if is_capturing(tensor):
        taken.problem, taken.nbytes = "a CUDA graph is being captured: no values yet", 0
        return
    target, taken.event = to_host(tensor)
    taken.memory = _bytes_of(target)


def is_capturing(tensor: torch.Tensor) -> bool:
    """Whether what is done with a tensor now would become part of a CUDA graph."""
    return tensor.device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def to_host(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """A tensor of a GPU in pinned memory (torch pools it), and the event behind which it is there;
    any other tensor itself, and None.
    """
    if tensor.device.type != "cuda":
        return tensor, None
    target = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    with torch.cuda.device(tensor.device):
        target.copy_(tensor, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
    return target, event


def _bytes_of(tensor: torch.Tensor) -> Bytes:
    """The elements of a contiguous tensor on the host, not copied."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def as_tensor(array: Any) -> torch.Tensor:
    """A tensor with the values of a numpy array (ml_dtypes' types too), number or list of them.

    Raises `UnreadableError` for objects and texts.
    """
    if isinstance(array, torch.Tensor):
        return array
    try:
        values = np.asarray(array)
    except ValueError as error:  # lists of unequal lengths
        raise UnreadableError(str(error)) from error
    name = values.dtype.name
    kind = getattr(torch, name, None)
    if name not in DTYPES or not isinstance(kind, torch.dtype):
        raise UnreadableError(f"numpy dtype {name} cannot be stored")
    shape = values.shape
    ordered = values.astype(values.dtype.newbyteorder("<"), order="C", copy=True)
    return torch.from_numpy(ordered.reshape(-1).view(np.uint8)).view(kind).view(shape)
