"""The benchmark's models and faults, for tests of a few of them."""

from __future__ import annotations

import faults
import torch

from small_models import fault_list, fault_models

torch.set_num_threads(1)  # the models are tiny: threads only wait for one another

__all__ = ["fault_list", "fault_models", "faults"]
