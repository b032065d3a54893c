"""Modules of vision models."""

from __future__ import annotations

import torch
from torch import nn


class LayerScale(nn.Module):
    """As DINOv2 has it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.rand(width) + 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.lambda1
