"""`manifest.jsonl` of a native capture: a JSON object a line. The file may not be trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..errors import CaptureError, RecordError
from ..storage import open_stream

MAJOR = 1

_AT_ONCE = 500  # lines that are parsed in one call, for which all other threads wait: 5 ms


@dataclass(slots=True)
class Manifest:
    """The lines of a manifest by kind. `damaged` counts lines that are not what they should be."""

    header: dict[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    damaged: int = 0
    cut: bool = False  # the last line was not written whole


def read_manifest(path: str) -> Manifest:
    """Read `manifest.jsonl`; `meta` lines are merged into the header, later ones win.

    Raises `RecordError` without a header line, `CaptureError` for a newer major version.
    """
    with open_stream(path) as file:
        return _manifest(path, file.read().lstrip())


def _manifest(path: str, text: bytes) -> Manifest:
    first, _, rest = text.partition(b"\n")
    header = _object(first)
    major = None if header is None else header.get("layertui")
    if header is None or type(major) is not int:
        what = "the first line is not the header of a layertui capture" if first else (
            "it is empty: the writer was ended before it began; capture it again"
        )  # fmt: skip
        raise RecordError(f"no manifest: {what}")
    if major > MAJOR or major < 1:
        raise CaptureError(
            f"{path}: written in version {major} of the format, "
            f"this layertui reads version {MAJOR}; install a newer one"
        )
    manifest = Manifest(header)
    entries = _objects(rest)
    if entries and entries[-1] is None and not rest.endswith(b"\n"):
        manifest.cut = True
        entries.pop()
    for entry in entries:
        if entry is not None and "seq" in entry:  # nearly all lines
            manifest.records.append(entry)
        else:
            _take(manifest, entry)
    return manifest


def read_run(path: str) -> dict[str, Any]:
    """The header of `manifest.jsonl` with its `meta` lines merged, without the lines of records.
    Raises as `read_manifest` does.
    """
    with open_stream(path) as file:
        lines = file.read().lstrip().split(b"\n")
    some = (line for line in lines[1:] if b'"meta"' in line)
    return _manifest(path, b"\n".join([*lines[:1], *some, b""])).header


def _objects(text: bytes) -> list[dict[str, Any] | None]:
    """The JSON object on each line that is not blank; None for a line that is something else."""
    lines = text.split(b"\n")
    found: list[dict[str, Any] | None] = []
    for start in range(0, len(lines), _AT_ONCE):
        found += _some_objects([line for line in lines[start : start + _AT_ONCE] if line.strip()])
    return found


def _some_objects(lines: list[bytes]) -> list[dict[str, Any] | None]:
    body = b",".join(lines)
    if body and b"\\ud" not in body and b"\\uD" not in body:  # see `_object`
        try:  # all lines in one call take half the time
            parsed = json.loads(b"[%b]" % body)
        except (ValueError, RecursionError):
            parsed = []
        if len(parsed) == len(lines) and set(map(type, parsed)) == {dict}:
            return parsed
    return [_object(line) for line in lines]


def _object(line: bytes) -> dict[str, Any] | None:
    """None also for text with half characters (`\\ud800`), which could never be printed."""
    try:
        parsed = json.loads(line)
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return parsed if type(parsed) is dict else None


def _take(manifest: Manifest, entry: dict[str, Any] | None) -> None:
    if entry is None:
        manifest.damaged += 1
    elif isinstance(entry.get("call"), dict):
        manifest.calls.append(entry["call"])
    elif isinstance(entry.get("meta"), dict):
        manifest.header.update(entry["meta"])
    elif entry.get("end") is True:
        manifest.end = entry
