"""The entry point of the group `vllm.general_plugins`, which vLLM calls in every process.

Without `LAYERTUI_CAPTURE` it does nothing and imports nothing.
"""

from __future__ import annotations

import os

from .recorder.vllm_variable import VARIABLE


def register() -> None:
    """Have every worker of vLLM write a capture to `$LAYERTUI_CAPTURE/rank<N>`."""
    if os.environ.get(VARIABLE):
        from .recorder.vllm_workers import install

        install()
