"""What a capture says of its run besides its tensors: model, config, versions, hashes."""

from __future__ import annotations

import os
from typing import Any

from ..errors import CaptureError, RecordError
from ..formats.native import MANIFEST, read_manifest
from ..run_metadata import read_all
from ..storage import is_file, is_folder

_MOST = 2000  # entries
_MOST_TEXT = 200


def run_details(path: str) -> dict[str, str]:
    """The header of a manifest or the fields of `layertui.json`, nested keys joined by dots, values
    as short texts; empty where the capture says nothing.
    """
    found: dict[str, Any] = {}
    manifest = path if os.path.basename(path) == MANIFEST else os.path.join(path, MANIFEST)
    try:
        if is_file(manifest):
            found = read_manifest(manifest).header
        elif is_folder(path):
            found = read_all(path)
    except (OSError, RecordError, CaptureError):
        return {}
    flat: dict[str, str] = {}
    _flatten("", found, flat, 0)
    return flat


def _flatten(prefix: str, value: Any, into: dict[str, str], depth: int) -> None:
    if len(into) >= _MOST:
        return
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), inner, into, depth + 1)
    elif value is not None:
        into[prefix[:_MOST_TEXT]] = str(value)[:_MOST_TEXT]
