"""What this process computes with: versions of packages, variables that change kernels.

Nothing is imported that is not there already: a package that nobody has loaded takes no part.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Packages that compute, or choose what computes, by the name that they are imported by.
_PACKAGES = (
    "torch", "transformers", "numpy", "accelerate", "peft", "deepspeed", "vllm", "sglang", "jax",
    "jaxlib", "flax", "onnxruntime", "openvino", "llama_cpp", "max", "mlx", "tensorflow", "triton",
    "flash_attn", "flash_attn_interface", "flashinfer", "xformers", "sgl_kernel", "deep_gemm",
    "transformer_engine", "apex", "kernels", "bitsandbytes", "torchao", "compressed_tensors",
    "gptqmodel", "awq", "liger_kernel", "causal_conv1d", "mamba_ssm", "fla", "torch_xla",
    "intel_extension_for_pytorch", "torch_npu",
)  # fmt: skip
# Variables that change which kernels run, or how they round.
_VARIABLES = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
    "NCCL_ALGO", "NCCL_PROTO", "XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64",
    "VLLM_BATCH_INVARIANT", "VLLM_ATTENTION_BACKEND", "VLLM_USE_V1", "VLLM_USE_DEEP_GEMM",
    "VLLM_USE_FLASHINFER_SAMPLER", "SGLANG_ENABLE_DETERMINISTIC_INFERENCE", "ATEN_CPU_CAPABILITY",
    "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR",
    "FLASH_ATTENTION_DETERMINISTIC", "NVTE_ALLOW_NONDETERMINISTIC_ALGO",
)  # fmt: skip
_MOST_TEXT = 200


def usable_cores() -> int:
    """Cores that this process may run on, which containers and batch systems limit."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def loaded_versions() -> dict[str, str]:
    """Versions of the packages in this process that compute."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        module = sys.modules.get(name)
        if module is not None:
            said = getattr(module, "__version__", None)
            version = said if isinstance(said, str) else _installed(name)
            if version:
                found[name] = _text(version)
    return found


def set_variables() -> dict[str, str]:
    """The variables that change kernels and are set."""
    return {name: _text(os.environ[name]) for name in _VARIABLES if os.environ.get(name)}


def plain_environment() -> dict[str, Any]:
    """What a process without torch can say of itself."""
    return {"versions": loaded_versions(), "variables": set_variables(), **_jax()}


def _jax() -> dict[str, Any]:
    """How JAX multiplies, and where, if this process has loaded it."""
    config = getattr(sys.modules.get("jax"), "config", None)
    if config is None:
        return {}
    numerics = {
        "matmul_precision": getattr(config, "jax_default_matmul_precision", None),
        "x64": getattr(config, "jax_enable_x64", None),
    }
    return {"numerics": {name: _text(value) for name, value in numerics.items()
                         if value is not None}}  # fmt: skip


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name.replace("_", "-"))
    except PackageNotFoundError:
        return None


def _text(value: object) -> str:
    """Short, without half characters, which JSON readers refuse."""
    return str(value)[:_MOST_TEXT].encode("utf-8", "replace").decode()
