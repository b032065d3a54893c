"""What a capture says of its run besides its tensors: model, config, versions, hashes."""

from __future__ import annotations

import os
from typing import Any

from ..errors import CaptureError, RecordError
from ..files import MANIFEST
from ..formats.manifest import read_run
from ..records import Capture
from ..run_metadata import read_all
from ..storage import is_file, is_folder

_MOST = 2000  # entries
_MOST_TEXT = 200


def run_details(path: str) -> dict[str, str]:
    """The header of a manifest or the fields of `layertui.json`, nested keys joined by dots, values
    as short texts; empty where the capture says nothing.
    """
    flat: dict[str, str] = {}
    _flatten("", run_header(path), flat, 0)
    return flat


def run_header(path: str) -> dict[str, Any]:
    """The same with values as they are written. They come from a file that is not trusted."""
    manifest = path if os.path.basename(path) == MANIFEST else os.path.join(path, MANIFEST)
    try:
        if is_file(manifest):
            return read_run(manifest)
        said = read_all(path) if is_folder(path) else {}
        first = os.path.join(path, "rank0", MANIFEST)  # of several processes
        return read_run(first) if not said and is_file(first) else said
    except (OSError, ValueError, RecordError, CaptureError):  # a path may have a null byte
        return {}


def run_config(capture: Capture, header: dict[str, Any]) -> dict[str, Any]:
    """The config of the model that ran: of the capture's `header`, or as it was kept with the
    parameters; empty where neither has one.
    """
    config = header.get("config")
    if isinstance(config, dict) and config:
        return config
    from ..weights.recorded import recorded_config

    try:
        return recorded_config(capture)
    except CaptureError:
        return {}


def _flatten(prefix: str, value: Any, into: dict[str, str], depth: int) -> None:
    if len(into) >= _MOST:
        return
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), inner, into, depth + 1)
    elif value is not None:
        into[prefix[:_MOST_TEXT]] = str(value)[:_MOST_TEXT]
