"""Makes the demo's models again: what its captures name as their factory.

`model` is the text that `described` writes, so that a capture tells fault, seed and dtype too.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..errors import CaptureError
from .faults import NAMES, Fault, fault_named

if TYPE_CHECKING:
    from torch import nn
    from transformers import LlamaForCausalLM

    from .model import RaggedLlama

DTYPES = ("float32", "bfloat16")
_MOST_SEED = 2**63  # what torch.manual_seed takes


def described(fault: str | None, seed: int, dtype: str) -> str:
    """`fault=attention-scale seed=0 dtype=float32`; the reference has no fault at all."""
    parts = [] if fault is None else [f"fault={fault}"]
    return " ".join([*parts, f"seed={seed}", f"dtype={dtype}"])


def reference(model: str) -> nn.Module:
    """The demo's reference. Raises `CaptureError` for a text that `described` does not write."""
    from .model import build_reference

    _, seed, dtype = _parsed(model)
    return build_reference(seed, dtype)


def candidate(model: str) -> RaggedLlama:
    """The demo's candidate with its fault. Raises `CaptureError` as `reference` does."""
    from .model import build_reference

    fault, seed, dtype = _parsed(model)
    return build_candidate(build_reference(seed, dtype), fault_named(fault))


def build_candidate(reference: LlamaForCausalLM, fault: Fault) -> RaggedLlama:
    """The other implementation with the weights of `reference` and one fault."""
    import torch

    from .model import RaggedLlama

    with torch.no_grad():
        model = RaggedLlama(reference)
        fault.plant(model)
    return model


def _parsed(model: str) -> tuple[str, int, str]:
    try:
        said = dict(word.split("=", 1) for word in shlex.split(model))
        fault, seed, dtype = said.get("fault", "none"), int(said["seed"]), said["dtype"]
    except (KeyError, ValueError):
        fault, seed, dtype = "", 0, ""
    if fault not in NAMES or dtype not in DTYPES or not -_MOST_SEED <= seed < _MOST_SEED:
        raise CaptureError(f"{model!r} names no model of the demo")
    return fault, seed, dtype
