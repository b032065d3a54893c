"""The first record names of a capture, in a few milliseconds, for a screen that paints at once.

Names to look at while `open_capture` does the work: nothing is checked, no file of a directory is
opened but the one that lists the others, and what cannot be told quickly is left out. Imports no
reader, since most of the time before the first paint goes into imports.
"""

from __future__ import annotations

import json
import os
import re
from itertools import islice

from .files import MANIFEST
from .names import NOT_TENSORS, natural_key
from .storage import first_bytes, is_file, is_folder, open_text, storage_of

_LINES = 1 << 16  # bytes of a manifest or names file that are looked at
_KEY = re.compile(r'("(?:[^"\\]|\\.)+")\s*:\s*\{\s*"dtype"')  # in a safetensors header


def first_names(path: str, most: int = 200) -> list[str]:
    """Up to `most` record names of the capture `path`, roughly in order; empty when in doubt."""
    try:
        if path.endswith(".safetensors"):
            return _of_safetensors(path, most)
        if not is_folder(path):
            return []
        if is_file(os.path.join(path, MANIFEST)):
            return _of_manifest(os.path.join(path, MANIFEST), most)
        return _of_directory(path, most)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _of_manifest(path: str, most: int) -> list[str]:
    names: list[str] = []
    for line in _first_lines(path):
        if line.startswith('{"seq"'):
            entry = json.loads(line)
            call = f"({entry['call']})" if entry.get("call", 1) > 1 else ""
            names.append(f"{entry['module']}{call}-{entry['slot']}")
            if len(names) == most:
                break
    return names


def _of_safetensors(path: str, most: int) -> list[str]:
    start = first_bytes(path, 8 + _LINES)
    length = int.from_bytes(start[:8], "little")
    text = start[8 : 8 + min(length, _LINES)].decode("utf-8", "replace")
    keys = (json.loads(match[1]) for match in _KEY.finditer(text))
    return list(islice(keys, most))


def _of_directory(path: str, most: int) -> list[str]:
    """From the names file of the capture or of its first step, else from the files' names."""
    storage = storage_of(path)
    entries = storage.names(path)
    steps = sorted((name for name in entries if name.isdecimal()), key=int)
    folder = path
    if "tensor_names.txt" not in entries and steps:
        folder = os.path.join(path, steps[0])
    listed = os.path.join(folder, "tensor_names.txt")
    if is_file(listed):
        return _first_lines(listed)[:most]
    from .formats.registry import named_by_file, named_by_file_elsewhere

    names = storage.names(folder) if folder != path else entries
    stems = _stems(names, named_by_file())
    if not stems and not all(name.endswith(NOT_TENSORS) for name in names):
        stems = _stems(names, named_by_file_elsewhere())
    return sorted(stems, key=natural_key)[:most]


def _stems(names: list[str], suffixes: tuple[str, ...]) -> list[str]:
    return [name.rpartition(".")[0] for name in names if name.endswith(suffixes)]


def _first_lines(path: str) -> list[str]:
    """The whole lines at the start of a text file."""
    with open_text(path) as file:
        text = file.read(_LINES)
    lines = text.splitlines()
    if len(text) == _LINES and lines and not text.endswith("\n"):
        lines.pop()
    return [line for line in lines if line.strip()]
