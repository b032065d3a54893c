"""What a process of llama.cpp printed last."""

from __future__ import annotations

import os
from typing import IO

_END = 4096  # bytes of a log that are looked at
_MOST = 300  # characters that are quoted


def last_line(log: IO[bytes]) -> str:
    """The failed assertion near the end, else the last line with anything in it; may be empty."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _END))
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines()]
    said = next((line for line in reversed(lines) if "GGML_ASSERT" in line), "")
    return (said or next((line for line in reversed(lines) if line), ""))[:_MOST]
