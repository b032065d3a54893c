"""JSON files, parsed within bounds, and kept for a while: their values are asked for one by one."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any

from ...errors import RecordError
from ...storage import open_file, storage_of

MOST_BYTES = 256 << 20  # of a file; parsing takes some ten times as much memory


def parsed(path: str, lines: bool = False) -> Any:
    """What a JSON file holds, or with `lines` a list of what each of its lines does. Not to be
    changed: it is shared. Raises `RecordError`, `OSError`.
    """
    status = storage_of(path).status(path)
    if status is None:
        raise FileNotFoundError(2, os.strerror(2), path)
    if status.size > MOST_BYTES:
        raise RecordError(
            f"{status.size >> 20} MiB of JSON, {MOST_BYTES >> 20} are the limit: write an .npz"
        )
    return _parsed(path, status.identity or (status.size,), lines)


@lru_cache(maxsize=2)  # one a side
def _parsed(path: str, identity: object, lines: bool) -> Any:
    with open_file(path) as file:
        text = file.read_at(0, file.size)
    try:
        if not lines:
            return json.loads(text)
        return [json.loads(line) for line in text.split(b"\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        said = "truncated or damaged" if isinstance(error, ValueError) else "nested too deep"
        raise RecordError(f"not JSON: {said}") from error


def plain_text(value: Any, most: int = 400) -> str:
    """A text of a file as part of a name: no half characters, no line breaks, not too long."""
    text = str(value)[:most].encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in text)
