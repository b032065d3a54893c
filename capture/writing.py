"""Writing files of a capture whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_whole(path: str, start: bytes, rest: Iterable[Any] = ()) -> None:
    """Write bytes and what follows them beside `path`, then put all in its place.

    Raises `OSError`; then `path` is as it was.
    """
    place = Path(path)
    partial = place.with_name(f".{place.name}.layertui-partial")
    try:
        with open(partial, "wb") as file:
            file.write(start)
            for part in rest:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
