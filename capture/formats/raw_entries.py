"""What a JSON file says of raw files: names, files, shapes, dtypes and places, unchecked but for
their kinds. See `raw_index`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..dtypes import dtype_named
from ..errors import RecordError
from .labelled import NAMES
from .text.json_text import plain_text

# In the first bytes of a JSON file that may describe files: a shape, or a file's.
LOOKS_LIKE_INDEX = re.compile(
    rb'"(?:shape|dims?|sizes?|dimensions)"\s*:|"[^"\n]{1,400}"\s*:\s*\[\s*\d{1,18}\s*[,\]]',
    re.IGNORECASE,
)
_NAMES = tuple(name for name in NAMES if name != "path")
_SHAPES = ("shape", "dims", "dim", "dimensions", "size", "sizes")
_FILES = ("file", "filename", "file_name", "path", "filepath", "file_path", "bin", "bin_file",
          "data_file", "data", "raw", "blob")  # fmt: skip
_DTYPES = ("dtype", "data_type", "datatype", "type", "torch_dtype")
_OFFSETS = ("offset", "byte_offset", "offset_bytes", "start", "begin", "data_offset")
_SPANS = ("offsets", "data_offsets", "byte_range")
_BYTES = ("nbytes", "num_bytes", "byte_size", "size_bytes", "byte_length")
_COUNTS = ("numel", "num_elements", "n_elements", "elements", "count")
_SUFFIXES = ("", ".bin", ".raw", ".dat", ".data", ".buf", ".tensor", ".f32", ".f16", ".bf16")
_DEEPEST = 8
_MOST_ENTRIES = 200_000
_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of one tensor; `problem` where its file must not, or cannot, be looked for."""

    keys: tuple[str, ...]
    file: str
    shape: Any
    dtype: str | None = None
    offset: int | None = None
    nbytes: int | None = None
    count: int | None = None
    step: int | None = None
    problem: str | None = None
    said: str = ""  # the file as it is named, with its directories


def entries_of(root: Any, files: frozenset[str]) -> list[Entry]:
    """The entries in a parsed JSON file, in order; `files` are the raw ones beside it. Raises
    `RecordError` for more than can be meant.
    """
    found: list[Entry] = []
    for entry in _entries((), root, None, files):
        if len(found) == _MOST_ENTRIES:
            raise RecordError(f"describes more than {_MOST_ENTRIES} tensors")
        found.append(entry)
    return _once_named(found)


def _once_named(entries: list[Entry]) -> list[Entry]:
    """Files of one name in several directories are not the one that is here."""
    said: dict[str, set[str]] = {}
    for entry in entries:
        said.setdefault(entry.file, set()).add(entry.said or entry.file)
    several = "refused: files of this name in several directories are named"
    return [
        replace(entry, problem=several)
        if len(said[entry.file]) > 1 and not entry.problem
        else entry
        for entry in entries
    ]


def dtype_of(text: str) -> str:
    """The dtype that a program calls `text`: `float32`, `torch.float32`, `fp32`, `<f4`, `F32`.

    Raises `RecordError` for big-endian elements, and for what nobody here knows.
    """
    plain = text.strip().lower()
    written = re.search(r"(?:numpy|np|torch)\.(\w+)", plain)
    plain = written[1] if written else plain
    code = re.fullmatch(r"([<>=|]?)([fiuc])([1248]|16)", plain)
    if code is not None:
        if code[1] == ">" and code[3] != "1":
            raise RecordError("big-endian elements are not read")
        kind = {"f": "float", "i": "int", "u": "uint", "c": "complex"}[code[2]]
        # `u8` and `i8` without a mark count bits, `<i8` and `f4` bytes.
        if code[1] or code[2] in "fc":
            plain = f"{kind}{8 * int(code[3])}"
    if plain.startswith("fp") and plain[2:].isdecimal():
        plain = f"float{plain[2:]}"
    return dtype_named(plain[:60]).name


def _entries(
    keys: tuple[str, ...], node: Any, dtype: str | None, files: frozenset[str], depth: int = 0
) -> Iterator[Entry]:
    if depth > _DEEPEST:
        return
    if isinstance(node, dict):
        described = _described(keys, node, dtype, files)
        if described is not None:
            yield described
            return
        dtype = _text(node, _DTYPES) or dtype
        for key, value in node.items():
            name = plain_text(key)
            if _is_shape(value) and (file := _file_of(name, files)):
                yield Entry((*keys, _stem(name) if name == file else name), file, value, dtype)
            elif isinstance(value, (dict, list)) and not _is_shape(value):
                inner = keys if isinstance(value, list) else (*keys, name)
                yield from _entries(inner, value, dtype, files, depth + 1)
    elif isinstance(node, list):
        for value in node:
            if isinstance(value, (dict, list)):
                yield from _entries(keys, value, dtype, files, depth + 1)


def _described(
    keys: tuple[str, ...], node: dict[str, Any], dtype: str | None, files: frozenset[str]
) -> Entry | None:
    """The entry that a dictionary with a shape is; None for any other."""
    shape = next((sizes for key in _SHAPES if (sizes := _sizes(node.get(key))) is not None), None)
    if shape is None:
        return None
    said, name = _text(node, _FILES), _text(node, _NAMES)
    if said is None:
        known = name or (keys[-1] if keys else "")
        file = _file_of(known, files)
        said = file or ""
        if not file and not _text(node, _DTYPES):
            return None  # statistics, or a tensor with its values
    problem = None
    base = os.path.basename(said.replace("\\", "/"))
    if ".." in said.replace("\\", "/").split("/") or base.startswith("."):
        problem = "refused: the JSON file names a file outside its directory"
    elif not base:
        problem = "no file of its name is there"
    step = _number(node, ("step",))
    named = (*keys, plain_text(name)) if name else keys or (_stem(plain_text(base)),)
    if not name and named[-1:] == (base,):
        named = (*named[:-1], _stem(base))
    return Entry(
        named, base, shape, _text(node, _DTYPES) or dtype, _place(node), _number(node, _BYTES),
        _number(node, _COUNTS), step if step is not None and step < 1 << 31 else None, problem,
        said,
    )  # fmt: skip


def _text(node: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((node[key] for key in keys if isinstance(node.get(key), str) and node[key]), None)


def _number(node: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((node[key] for key in keys if _whole(node.get(key))), None)


def _place(node: dict[str, Any]) -> int | None:
    """Where a tensor begins in its file, in bytes."""
    for key in _SPANS:
        span = node.get(key)
        if isinstance(span, list) and len(span) == 2 and _whole(span[0]):
            return span[0]
    return _number(node, _OFFSETS)


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LIMIT


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 32 and all(map(_whole, value))


def _sizes(value: Any) -> Any:
    """A shape as a list, or as text: `1x8x32`, `(1, 8, 32)`, `torch.Size([1, 8, 32])`."""
    if isinstance(value, list):
        return value if all(isinstance(size, (int, float)) for size in value) else None
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z.]{0,12}[\[(\s]*\d[\dx,\s]{0,400}[\])\s]*",
                                               value):  # fmt: skip
        return [int(size) for size in re.findall(r"\d{1,18}", value)]
    return None


def _file_of(name: str, files: frozenset[str]) -> str | None:
    """The only raw file that goes by a record's name."""
    spellings = (name, re.sub(r"[./ ]", "_", name), name.replace("/", "."), name.replace("/", "_"))
    found = {
        each + suffix for each in spellings for suffix in _SUFFIXES if each + suffix in files
    }  # fmt: skip
    return found.pop() if name and len(found) == 1 else None


def _stem(file: str) -> str:
    stem, suffix = os.path.splitext(file)
    return stem if suffix.lower() in _SUFFIXES else file
