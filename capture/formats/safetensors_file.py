"""safetensors files: 8 bytes header length, a JSON header, then the tensors without gaps.

Format: https://github.com/huggingface/safetensors#format. The `safetensors` package is not
needed: the header names type, shape and bytes of each tensor, and the data are plain
little-endian elements.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, NamedTuple

from ..dtypes import BY_SAFETENSORS
from ..errors import RecordError
from ..files import FoundFile
from ..records import Locator, Record
from ..storage import open_file
from .context import Context
from .extents import checked_shape
from .members import belongs_to_layer, named_member, named_record, says_where

_MOST_OVERLAPS = 1000  # tensors that are told one by one that their bytes overlap
_PIECE = 1 << 19  # bytes of JSON that take some milliseconds to parse
_BETWEEN = (b'},"', b'}, "')  # one tensor and the next, as writers have it
_MOST_HEADER = 100_000_000  # the limit of the reference implementation


class Header(NamedTuple):
    """A parsed header: `tensors` as the JSON has them, the first data byte, the file's size."""

    path: str
    tensors: dict[str, Any]
    data: int
    size: int


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """All tensors, complete with locators, in the file's order.

    Keys are the names; a key without a module path (`x`) gets the file's name before it where
    the capture has more files. Raises `RecordError` when the header cannot be read.
    """
    located = locate_all(read_file_header(found.path))
    if not located:
        raise RecordError("holds no tensor")
    plain = named_record(found, found.stem)
    alone, single = context.alone, len(located) == 1
    records: list[Record] = []
    for key, place in located.items():
        locator = place if type(place) is Locator else None
        bare = alone or (says_where(key) and not belongs_to_layer(plain.name, key))
        record = named_member(plain, key, locator, alone=bare, single=single)
        if locator is None:
            record.error = str(place)
        records.append(record)
    return records


def read_header(record: Record) -> list[Record]:
    """Nothing is left to do: `list_records` gives complete records."""
    return [record]


def read_file_header(path: str) -> Header:
    """Read and check the header as a whole; raises `RecordError`, `OSError`."""
    with open_file(path) as file:
        size = file.size
        start = file.read_at(0, 8)
        if len(start) < 8:
            raise RecordError(f"truncated: {size} bytes are less than a safetensors header")
        length = int.from_bytes(start, "little")
        if length > _MOST_HEADER:
            raise RecordError(f"not a safetensors file: header of {length} bytes")
        if 8 + length > size:
            raise RecordError(f"truncated: header of {length} bytes in a file of {size} bytes")
        text = file.read_at(8, length)
    try:
        parsed = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise RecordError("damaged safetensors header: not JSON") from error
    if not isinstance(parsed, dict):
        raise RecordError("damaged safetensors header: not a JSON object")
    parsed.pop("__metadata__", None)
    try:
        "".join(parsed).encode()
    except UnicodeEncodeError as error:  # half characters, which could never be printed
        raise RecordError("damaged safetensors header: a key is not text") from error
    return Header(path, parsed, 8 + length, size)


def _parsed(text: bytes) -> Any:
    """The JSON of a header; raises `RecordError` for a key that occurs twice, ValueError.

    Python's parser keeps the second of two equal keys. Watching it takes several times as long
    as parsing, so that is done only where the number of tensors shows that something is off.
    """
    parsed = _in_pieces(text) if len(text) > _PIECE else json.loads(text)
    if isinstance(parsed, dict):
        tensors = len(parsed) - ("__metadata__" in parsed)
        if any(text.count(word) != tensors for word in (b'"dtype"', b'"shape"', b'"data_offsets"')):
            return json.loads(text, object_pairs_hook=_no_duplicates)
    return parsed


def _in_pieces(text: bytes) -> Any:
    """What `json.loads` gives; a long object is parsed some members at a time, so that other
    threads have a turn. A cut that is not between members leaves no object on either side.
    """
    found: dict[str, Any] = {}
    start = 0
    between = next((each for each in _BETWEEN if each in text[:_PIECE]), _BETWEEN[0])
    try:
        while start < len(text):
            at = text.find(between, start + _PIECE)
            end = len(text) if at < 0 else at + 1
            piece = text[start:end] + (b"" if at < 0 else b"}")
            found.update(json.loads(piece if start == 0 else b"{" + piece))
            start = end + (at >= 0)  # without the comma
    except (ValueError, TypeError):
        return json.loads(text)
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RecordError("damaged safetensors header: a key occurs twice")
    return found


def locate_all(header: Header) -> dict[str, Locator | RecordError]:
    """Where each tensor lies, or how the header contradicts itself or the file about it."""
    located: dict[str, Locator | RecordError] = {}
    spans: list[tuple[int, int, str]] = []
    for key, entry in header.tensors.items():
        try:
            begin, end, locator = _locate(header, entry)
        except RecordError as error:
            located[key] = error
            continue
        located[key] = locator
        if begin < end:
            spans.append((begin, end, key))
    overlapping = _overlapping(spans)
    if len(overlapping) > _MOST_OVERLAPS:
        raise RecordError(
            f"damaged header: the bytes of {len(overlapping)} of {len(located)} tensors overlap"
        )
    for key in overlapping:
        located[key] = RecordError("damaged header: the bytes of two tensors overlap")
    return located


def _locate(header: Header, entry: Any) -> tuple[int, int, Locator]:
    try:
        code, sizes, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise RecordError("damaged safetensors header: an entry is not complete") from error
    dtype = BY_SAFETENSORS.get(code) if type(code) is str else None
    if dtype is None:
        raise RecordError(f"unknown safetensors dtype {str(code)[:40]!r}")
    shape = checked_shape(sizes, dtype.itemsize)
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        raise RecordError("damaged header: data_offsets are not two rising whole numbers")
    need = prod(shape) * dtype.itemsize
    if end - begin != need:
        raise RecordError(f"damaged header: {end - begin} bytes promised, the shape takes {need}")
    if header.data + end > header.size:
        raise RecordError(
            f"truncated: data up to byte {header.data + end} promised, "
            f"the file has {header.size} bytes"
        )
    return begin, end, Locator(header.path, dtype.name, shape, header.data + begin)


def _overlapping(spans: list[tuple[int, int, str]]) -> set[str]:
    """Keys of tensors that share bytes, which the format forbids."""
    spans.sort()
    crossing: set[str] = set()
    last_end, last_key = 0, ""
    for begin, end, key in spans:
        if begin < last_end:
            crossing |= {last_key, key}
        if end > last_end:
            last_end, last_key = end, key
    return crossing
