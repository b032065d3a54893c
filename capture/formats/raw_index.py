"""Raw files that a JSON file beside them describes:

    {"layers.0.mlp": {"file": "0.bin", "shape": [1, 8, 32], "dtype": "float32"}, ...}
    [{"name": "layers.0.mlp", "file": "all.bin", "offset": 4096, "shape": [1, 8, 32]}, ...]
    {"layers.0.mlp.bin": [1, 8, 32], ...}

Files are those of the same directory. One without an offset must be as long as its shape needs;
the parts of one with offsets must end where it ends, so that offsets in other units show. Without
a dtype, elements are float32, where that gives the size.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import cast

from ..dtypes import DTYPES
from ..errors import RecordError
from ..files import FoundFile
from ..names import NOT_TENSORS
from ..records import Locator, Record
from ..storage import first_bytes, size_of, storage_of
from .context import Context
from .extents import checked_shape
from .members import named_member, named_record, place_members
from .raw_entries import LOOKS_LIKE_INDEX, Entry, dtype_of, entries_of
from .registry import named_by_file
from .text.json_text import parsed

_JSON = (".json", ".jsonl", ".ndjson")
_PEEK = 1 << 16
_MOST_INDEXES = 16  # JSON files of a directory that are looked into
_MOST_BYTES = 64 << 20  # of each


def recognise(found: FoundFile, context: Context) -> bool:
    """A JSON file that describes raw files beside it, and these."""
    if found.problem is not None:
        return False
    folder = _folder(found.folder, context)
    base = os.path.basename(found.path)
    if found.suffix in _JSON:
        return base in folder.entries
    return base in folder.described


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """Complete records in the order of the JSON file; none for the files that it describes.

    Raises `RecordError`, `OSError`.
    """
    entries = _folder(found.folder, context).entries.get(os.path.basename(found.path))
    if entries is None:
        return []
    placed = place_members([entry.keys for entry in entries], [entry.step for entry in entries])
    parent, _, _ = found.name.rpartition("/")
    plain = named_record(found, parent)
    problems = _misplaced(found.folder, entries)
    records: list[Record] = []
    for index, (entry, (key, step)) in enumerate(zip(entries, placed, strict=True)):
        record = named_member(plain, key, None, alone=not parent, single=False, step=step)
        record.key = key or str(index)
        try:
            if entry.file in problems:
                raise RecordError(problems[entry.file])
            record = _located(record, found.folder, entry)
        except RecordError as error:
            record.error = str(error)
        records.append(record)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


@dataclass(frozen=True, slots=True)
class _Folder:
    """The JSON files of a directory that describe raw files, with their entries, and these."""

    entries: dict[str, list[Entry]]
    described: frozenset[str]


def _folder(path: str, context: Context) -> _Folder:
    key = f"raw index {path}"
    if key not in context.worked_out:
        context.worked_out[key] = _looked_through(path)
    return cast("_Folder", context.worked_out[key])


def _looked_through(path: str) -> _Folder:
    try:
        names = sorted(storage_of(path).names(path))
    except OSError:
        names = []
    raw = frozenset(name for name in names if _may_be_raw(name))
    indexes = [name for name in names if name.lower().endswith(_JSON) and name[:1] != "."]
    found: list[tuple[int, str, list[Entry]]] = []
    for name in indexes[:_MOST_INDEXES] if raw else []:
        entries = _read(os.path.join(path, name), raw)
        count = sum(1 for entry in entries if entry.file in raw)
        if count:
            found.append((count, name, entries))
    chosen: dict[str, list[Entry]] = {}
    described: set[str] = set()
    for _, name, entries in sorted(found, key=lambda each: -each[0]):
        files = {entry.file for entry in entries if entry.file in raw}
        if described.isdisjoint(files):  # one that says the same again is not needed
            chosen[name] = entries
            described |= files
    return _Folder(chosen, frozenset(described))


def _may_be_raw(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return name[:1] != "." and suffix not in NOT_TENSORS and suffix not in named_by_file()


def _read(path: str, raw: frozenset[str]) -> list[Entry]:
    """The entries of a JSON file; none where it is no JSON, or seems to be of another kind."""
    try:
        if storage_of(path).is_link(path) or size_of(path) > _MOST_BYTES:
            return []
        if LOOKS_LIKE_INDEX.search(first_bytes(path, _PEEK)) is None:
            return []
        return entries_of(parsed(path, not path.lower().endswith(".json")), raw)
    except (RecordError, OSError):
        return []


def _located(record: Record, folder: str, entry: Entry) -> Record:
    """The record with dtype, shape and place. Raises `RecordError`."""
    if entry.problem is not None:
        raise RecordError(entry.problem)
    path = os.path.join(folder, entry.file)
    status = storage_of(path).status(path)
    if status is None or not status.is_file or storage_of(path).is_link(path):
        raise RecordError(f"{entry.file[-80:]} is missing")
    shape = checked_shape(entry.shape, 1)
    if entry.dtype is None:
        if prod(shape) * 4 != status.size or entry.offset is not None:
            raise RecordError("the JSON file does not say its dtype")
        dtype = "float32"
    else:
        dtype = dtype_of(entry.dtype)
    shape = checked_shape(shape, DTYPES[dtype].itemsize)
    if entry.count is not None and entry.count != prod(shape):
        raise RecordError(f"{entry.count} elements, the shape {list(shape)} has {prod(shape)}")
    need = prod(shape) * DTYPES[dtype].itemsize
    if entry.nbytes is not None and entry.nbytes != need:
        raise RecordError(f"{entry.nbytes} bytes said, the shape and dtype need {need}")
    text = "x".join([*map(str, shape), dtype])
    end = (entry.offset or 0) + need
    if end > status.size:
        raise RecordError(f"truncated: {text} needs {end} bytes, the file has {status.size}")
    if entry.offset is None and end < status.size:
        raise RecordError(f"holds {status.size} bytes, {text} needs {need}")
    locator = Locator(path, dtype, shape, entry.offset or 0)
    return replace(record, locator=locator, shape=shape, dtype=dtype)


def _misplaced(folder: str, entries: list[Entry]) -> dict[str, str]:
    """Files whose parts overlap, or do not end where the file does: their offsets are in doubt."""
    parts: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for entry in entries:
        if entry.offset is None or entry.problem is not None or entry.dtype is None:
            continue
        try:
            shape = checked_shape(entry.shape, 1)
            need = prod(shape) * DTYPES[dtype_of(entry.dtype)].itemsize
        except RecordError:
            continue
        if need:
            parts[entry.file].add((entry.offset, entry.offset + need))
    problems: dict[str, str] = {}
    for file, spans in parts.items():
        ordered = sorted(spans)
        size = _size(os.path.join(folder, file))
        if any(end > start for (_, end), (start, _) in pairwise(ordered)):
            problems[file] = "the parts of the file overlap: are its offsets in bytes?"
        elif size is not None and max(end for _, end in ordered) < size:
            last = max(end for _, end in ordered)
            problems[file] = f"the last part ends at {last}, the file at {size}: are offsets bytes?"
    return problems


def _size(path: str) -> int | None:
    status = storage_of(path).status(path)
    return None if status is None else status.size
