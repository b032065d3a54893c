"""What a torch process says of how it computes: precision of products, deterministic algorithms,
attention, quantisation, versions, devices; and the settings of the model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch

from ..environment import loaded_versions, set_variables
from .parameters import config_of
from .wrappers import unwrapped

_NAMES = ("id2label", "label2id")  # of classes: thousands of words without any number


def environment_of(model: torch.nn.Module | None) -> dict[str, Any]:
    """`environment`, `config` and `generation` of a header, as JSON has them."""
    said: dict[str, Any] = {
        "environment": {
            "versions": {**loaded_versions(), **_torch_versions()},
            "numerics": _numerics(),
            "hardware": _hardware(),
            "variables": set_variables(),
        }
    }
    if model is None:
        return said
    inner = unwrapped(model)
    attention = getattr(getattr(inner, "config", None), "_attn_implementation", None)
    if isinstance(attention, str):
        said["environment"]["numerics"]["attention"] = attention
    config = {key: value for key, value in config_of(model).items() if key not in _NAMES}
    if config:
        said["config"] = plain_json(config)
    generation = getattr(inner, "generation_config", None)
    to_dict = getattr(generation, "to_dict", None)
    found = to_dict() if callable(to_dict) else None
    if isinstance(found, dict):
        said["generation"] = plain_json({k: v for k, v in found.items() if v is not None})
    return said


def call_modes() -> dict[str, Any]:
    """What is switched on around a call: `autocast`, by device."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    names = {kind: str(torch.get_autocast_dtype(kind)) for kind in kinds}
    return {"autocast": {kind: name.removeprefix("torch.") for kind, name in names.items()}}


def plain_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them; what it cannot hold becomes text, all of it nothing at worst."""
    try:
        text = json.dumps(dict(settings), default=str).encode("utf-8", "replace").decode()
        return json.loads(text, parse_constant=str)
    except (TypeError, ValueError, RecursionError):
        return {}


def _torch_versions() -> dict[str, str]:
    found = {"cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None)}
    if torch.cuda.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
    return {name: version for name, version in found.items() if version}


def _numerics() -> dict[str, Any]:
    """Switches of torch that change how numbers are rounded, or in which order they are added."""
    backends = torch.backends
    matmul, cuda = backends.cuda.matmul, torch.cuda.is_available()
    found: dict[str, Any] = {
        "float32_matmul_precision": _of(torch.get_float32_matmul_precision),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": bool(backends.mkldnn.is_available() and _of(lambda: backends.mkldnn.enabled)),
        "batch_invariant": _batch_invariant(),
    }  # fmt: skip
    if cuda:
        found |= {
            "cudnn_tf32": _of(lambda: backends.cudnn.allow_tf32),
            "cudnn_deterministic": backends.cudnn.deterministic,
            "cudnn_benchmark": backends.cudnn.benchmark,
            "fp16_reduced_precision": _of(lambda: matmul.allow_fp16_reduced_precision_reduction),
            "bf16_reduced_precision": _of(lambda: matmul.allow_bf16_reduced_precision_reduction),
            "fp16_accumulation": _of(lambda: matmul.allow_fp16_accumulation),
            "preferred_blas": _of(lambda: backends.cuda.preferred_blas_library()),
            "attention_kernels": _attention_kernels(),
        }  # fmt: skip
    return {
        name: value if isinstance(value, (bool, int, float)) else str(value)
        for name, value in found.items()
        if value is not None
    }


def _attention_kernels() -> str:
    cuda = torch.backends.cuda
    enabled = {
        "flash": cuda.flash_sdp_enabled(), "efficient": cuda.mem_efficient_sdp_enabled(),
        "math": cuda.math_sdp_enabled(), "cudnn": _of(cuda.cudnn_sdp_enabled),
    }  # fmt: skip
    return " ".join(name for name, on in enabled.items() if on)


def _batch_invariant() -> bool | None:
    """Whether the package `batch_invariant_ops` has replaced torch's kernels; None without it."""
    package = sys.modules.get("batch_invariant_ops")
    asked = getattr(package, "is_batch_invariant_mode_enabled", None)
    return bool(asked()) if callable(asked) else None


def _hardware() -> dict[str, Any]:
    found: dict[str, Any] = {"cpu": _of(torch.backends.cpu.get_cpu_capability)}
    if torch.cuda.is_available():
        found["gpus"] = ", ".join(
            dict.fromkeys(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
        )
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
    return {name: value for name, value in found.items() if value is not None}


def _of(read: Any) -> Any:
    """What a switch says; None where this version of torch does not have it."""
    try:
        return read()
    except (AttributeError, RuntimeError):
        return None
