"""Weights `[rows, columns]` on a coarser grid, as quantisers in use leave them; float32 in and out.

`int8` and `int4` are whole numbers times a scale (of the tensor, a row, or a group of columns),
with or without a zero point. NF4's sixteen values are those of QLoRA (Dettmers and others, 2023,
appendix E). MXFP4 is that of the Open Compute Project: groups of 32 share a power of two, their
values have one bit of mantissa.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NF4 = (-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
        0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568,
        1.0)  # fmt: skip
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_TINY = 1e-12  # in place of the scale of a group of zeros


def rounded_rows(x: Tensor, steps: int) -> Tensor:
    """Whole multiples of a scale for each row, at most `steps` of it."""
    step = x.abs().amax(-1, keepdim=True).clamp(min=_TINY) / steps
    return (x / step).round() * step


def int8_tensor(x: Tensor) -> Tensor:
    return rounded_rows(x.reshape(1, -1), 127).view_as(x)


def int4_groups(x: Tensor, size: int, zero_point: bool = False) -> Tensor:
    groups = x.unflatten(-1, (-1, size))
    if not zero_point:
        return rounded_rows(groups, 7).flatten(-2)
    low = groups.amin(-1, keepdim=True)
    step = ((groups.amax(-1, keepdim=True) - low) / 15).clamp(min=_TINY)
    zero = (-low / step).round()
    return (((groups / step).round() + zero).clamp(0, 15) - zero).mul(step).flatten(-2)


def nf4(x: Tensor, size: int) -> Tensor:
    groups = x.unflatten(-1, (-1, size))
    scale = groups.abs().amax(-1, keepdim=True).clamp(min=_TINY)
    return (_nearest(groups / scale, torch.tensor(_NF4)) * scale).flatten(-2)


def fp8(x: Tensor, by_row: bool = False) -> Tensor:
    """Float8 e4m3, its scale such that the greatest value is the greatest that there is."""
    most = x.abs().amax(-1, keepdim=True) if by_row else x.abs().max()
    scale = most.clamp(min=_TINY) / torch.finfo(torch.float8_e4m3fn).max
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


def mxfp4(x: Tensor) -> Tensor:
    groups = x.unflatten(-1, (-1, 32))
    most = groups.abs().amax(-1, keepdim=True).clamp(min=_TINY)
    scale = torch.exp2(torch.floor(torch.log2(most)) - 2)
    values = torch.tensor((*(-v for v in reversed(_FP4[1:])), *_FP4))
    return (_nearest(groups / scale, values) * scale).flatten(-2)


def _nearest(x: Tensor, values: Tensor) -> Tensor:
    """The nearest of sorted `values`."""
    middles = (values[1:] + values[:-1]) / 2
    return values[torch.bucketize(x.contiguous(), middles)]
