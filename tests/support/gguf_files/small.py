"""GGUF files written by hand: the package `gguf` is not installed everywhere."""

from __future__ import annotations

import struct
from pathlib import Path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def small_gguf(path: Path, metadata: dict[str, int | float | str] | None = None) -> Path:
    """A file with one tensor, `output_norm.weight` of 8 ones, and metadata besides."""
    entries = {"general.architecture": "llama", **(metadata or {})}
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries))
    for key, value in entries.items():
        header += _text(key)
        if isinstance(value, str):
            header += struct.pack("<I", 8) + _text(value)
        elif isinstance(value, float):
            header += struct.pack("<If", 6, value)
        else:
            header += struct.pack("<II", 4, value)
    header += _text("output_norm.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    header += bytes(-len(header) % 32)
    path.write_bytes(header + struct.pack("<8f", *[1.0] * 8))
    return path
