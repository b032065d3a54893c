"""Patches of MAX 26.7 for what it refuses to do on a CPU, or crashes at. Only on request."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
from typing import Any


def allow_unsupported(cpu: bool) -> list[str]:
    """Patch MAX in this process; returns a sentence for every patch."""
    if not cpu:
        return ["nothing to patch: all patches are for the CPU"]
    return [_allow_bfloat16(), _keep_off_the_accelerator()]


def _allow_bfloat16() -> str:
    from max.pipelines.modeling import config_enums

    config_enums._SUPPORTED_DEVICES["bfloat16"] = ("gpu", "cpu")
    return "patched: bfloat16 is allowed on the CPU"


def _keep_off_the_accelerator() -> str:
    """Tensor-parallel architectures prepare signals between accelerators even where there are
    none, and crash.
    """
    import max.nn.comm.allreduce as allreduce
    from max.driver import CPU
    from max.nn.comm import Signals

    def no_regions(signal_buffers: Any) -> None:
        return None

    Signals._init_lamport_region = staticmethod(no_regions)
    allreduce.Accelerator = lambda id=0: CPU()  # noqa: A006
    return "patched: layers made for several accelerators run on the CPU"
