"""Tensors of torch as buffers of MAX, and back."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
from typing import Any

import torch
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import DeviceRef

_TORCH = {
    DType.float16: torch.float16, DType.bfloat16: torch.bfloat16, DType.float32: torch.float32,
    DType.float64: torch.float64, DType.bool: torch.bool, DType.uint8: torch.uint8,
    DType.int8: torch.int8, DType.int16: torch.int16, DType.int32: torch.int32,
    DType.int64: torch.int64, DType.uint16: torch.uint16, DType.uint32: torch.uint32,
    DType.uint64: torch.uint64,
}  # fmt: skip


def torch_dtype(dtype: DType) -> torch.dtype:
    """Raises `ValueError` for dtypes that torch does not compute with."""
    if dtype not in _TORCH:
        raise ValueError(f"torch has no dtype for MAX's {dtype}")
    return _TORCH[dtype]


def buffer_of(tensor: torch.Tensor, device: DeviceRef) -> Buffer:
    """The tensor's elements, in row-major order, on `device`; CPU memory is shared."""
    plain = Buffer.from_dlpack(tensor.detach().cpu().contiguous())
    return plain if device.is_cpu() else plain.to(device.to_device())


def tensor_of(buffer: Any) -> torch.Tensor:
    """A copy of the buffer in the CPU's memory."""
    return torch.from_dlpack(buffer.to(CPU())).clone()
