"""How many bytes lie on the disk, and how they are written."""

from __future__ import annotations

import os


def size_of(path: str) -> int:
    """Bytes of the files below `path`; what vanishes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def byte_text(size: float) -> str:
    """`12.3 MB`: bytes in units of 1000, as the letters mean."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
