"""`layertui.json`: what MAX's own files do not tell of a run, beside them.

{"schema": "layertui.capture/1", "framework": "max", "framework_version", "model", "device",
 "prompt", "input_ids", "complete", "notes", "run"}
"""

from __future__ import annotations

import json
import os
from typing import Any

from .storage import is_file, open_stream, size_of, storage_of
from .writing import write_whole

METADATA = "layertui.json"
SCHEMA = "layertui.capture/1"
_TEXTS = ("framework", "framework_version", "model", "device", "prompt")
_MOST_BYTES = 16 << 20


def write_metadata(folder: str, fields: dict[str, Any]) -> None:
    """Write `layertui.json`, whole or not at all. Raises `OSError`."""
    text = json.dumps({"schema": SCHEMA, **fields}, allow_nan=False, indent=1)
    write_whole(os.path.join(folder, METADATA), (text + "\n").encode())


def read_metadata(folder: str) -> tuple[dict[str, object], list[str]]:
    """Fields of `Capture` with plain values, and sentences for the user; both empty without a
    `layertui.json` of this schema.
    """
    content = _content(folder)
    if content is None:
        return {}, []
    fields: dict[str, object] = {
        key: value for key in _TEXTS if isinstance(value := content.get(key), str)
    }
    if isinstance(ids := content.get("input_ids"), list):
        fields["input_ids"] = ids
    if isinstance(run := content.get("run"), dict):
        fields["run"] = run
    notes = [text[:500] for text in _list(content.get("notes"))[:20] if isinstance(text, str)]
    complete = content.get("complete")
    if isinstance(complete, bool):
        fields["complete"] = complete
        if not complete:
            notes.append("incomplete: the run did not finish")
    return fields, notes


def read_all(folder: str) -> dict[str, Any]:
    """Every field of a `layertui.json` of this schema; empty without one."""
    return _content(folder) or {}


def is_ours(folder: str) -> bool:
    """True when a `layertui.json` of this schema lies in `folder`."""
    return _content(folder) is not None


def _content(folder: str) -> dict[str, Any] | None:
    path = os.path.join(folder, METADATA)
    try:
        if storage_of(path).is_link(path) or not is_file(path) or size_of(path) > _MOST_BYTES:
            return None
        with open_stream(path) as file:
            content = json.loads(file.read().decode())
        json.dumps(content, ensure_ascii=False).encode()  # half characters cannot be printed
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
