"""The few lines that make a capture in each engine: `snippet(engine)` gives them as text.

They are files beside this one, to be pasted as they are; tests run them.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CaptureError

ENGINES = ("torch", "vllm", "sglang", "jax", "onnx", "max", "cpp")


def snippet(engine: str) -> str:
    """The lines for one of `ENGINES`, with what to know of them. Raises `CaptureError`."""
    if engine not in ENGINES:
        raise CaptureError(f"no snippet for {engine!r}: there are {', '.join(ENGINES)}")
    return (Path(__file__).parent / f"{engine}.txt").read_text(encoding="utf-8")
