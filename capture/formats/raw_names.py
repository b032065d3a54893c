"""Raw files whose names say what they hold: `q_1x8x64_f32.bin`, `q.f32.1x8x64.bin`,
`q_1_8_64_float32.raw`, `q_1x8x64.f32`.

Where numbers are joined by `_`, the first may belong to the name (`layer_1_8_64_f32`): what fits
the sizes of most files in the directory counts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import cast

from ..dtypes import DTYPES, DType, dtype_named
from ..files import FoundFile
from ..storage import storage_of
from .context import Context
from .extents import MOST_DIMENSIONS

_SUFFIXES = (".bin", ".raw", ".dat", ".data", ".buf", ".tensor")
_DTYPE = r"(?:bf16|bfloat16|(?:fp?|float)(?:16|32|64)|u?int(?:8|16|32|64)|[iu](?:8|16|32|64)|bool)"
_BY_SUFFIX = re.compile(rf"\.{_DTYPE}$", re.IGNORECASE)
_GAP = r"[._-]{1,3}"
_SIZES = r"(?:\d{1,12}(?:x\d{1,12}){1,31}|[\[(]\d{1,12}(?:[,x_]\s?\d{1,12}){0,31},?[\])])"
_MARKED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<name>.+?){_GAP}(?P<sizes>{_SIZES})(?:{_GAP}|x)?(?P<dtype>{_DTYPE})",
        rf"(?P<name>.+?){_GAP}(?P<dtype>{_DTYPE}){_GAP}(?P<sizes>{_SIZES})",
        rf"(?P<name>.+?){_GAP}(?P<sizes>\d{{1,12}})x(?P<dtype>{_DTYPE})",
    )
)
_JOINED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<name>.+?)(?P<sizes>(?:_\d{{1,12}}){{1,40}}|(?:-\d{{1,12}}){{1,40}}){_GAP}"
        rf"(?P<dtype>{_DTYPE})",
        rf"(?P<name>.+?){_GAP}(?P<dtype>{_DTYPE})(?P<sizes>(?:_\d{{1,12}}){{1,40}}"
        r"|(?:-\d{1,12}){1,40})",
    )
)
_DIGITS = re.compile(r"\d+")
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Described:
    """What a file's name says: the record's name, dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def described_by_name(found: FoundFile, context: Context) -> Described | None:
    """What the name of a raw file says; None where it does not say both dtype and shape. One whose
    size is another is for the reader to refuse.
    """
    folder, _, base = found.name.rpartition("/")
    readings = _readings(base)
    if not readings:
        return None
    chosen = readings[0]
    if len(readings) > 1 or _marked(base) is None:
        of_folder = _ranks(found.folder, context)
        size = _size(found.path)
        fitting = [reading for reading in readings if reading.nbytes == size]
        usual = max(of_folder, key=lambda rank: (of_folder[rank], rank), default=None)
        fitting = fitting or [each for each in readings if len(each.shape) == usual]
        if not fitting:
            return None
        chosen = max(fitting, key=lambda each: (of_folder[len(each.shape)], len(each.shape)))
    name = f"{folder}/{chosen.name}" if folder else chosen.name
    return Described(name, chosen.dtype, chosen.shape)


def _readings(base: str) -> list[Described]:
    """All ways to read a file's name, the one with the most axes first."""
    text = _text(base)
    marked = _marked(base)
    if text is None or marked is not None:
        return [marked] if marked is not None else []
    for pattern in _JOINED:
        match = pattern.fullmatch(text)
        if match is not None:
            return _of_run(match["name"], match["sizes"], dtype_named(_plain(match["dtype"])))
    return []


def _of_run(name: str, run: str, dtype: DType) -> list[Described]:
    sizes = [int(size) for size in _DIGITS.findall(run)]
    between = run[0]
    return [
        Described(between.join([name, *map(str, sizes[:at])]), dtype.name, tuple(sizes[at:]))
        for at in range(len(sizes))
        if 0 not in sizes[at:] and len(sizes) - at <= MOST_DIMENSIONS
    ]


def _marked(base: str) -> Described | None:
    """The reading of a name whose shape cannot be mistaken: `1x8x64`, `[1,8,64]`."""
    text = _text(base)
    if text is None:
        return None
    for pattern in _MARKED:
        match = pattern.fullmatch(text)
        if match is not None:
            sizes = tuple(int(size) for size in _DIGITS.findall(match["sizes"]))
            return Described(match["name"], dtype_named(_plain(match["dtype"])).name, sizes)
    return None


def _text(base: str) -> str | None:
    """A file's name without what says that it is raw; a dtype as its ending stays."""
    dot = base.rfind(".")
    if dot <= 0 or len(base) > _LONGEST:
        return None
    if base[dot:].lower() in _SUFFIXES:
        return base[:dot]
    return base if _BY_SUFFIX.search(base) else None


def _plain(dtype: str) -> str:
    lower = dtype.lower()
    return f"f{lower[2:]}" if lower.startswith("fp") else lower


def _ranks(folder: str, context: Context) -> Counter[int]:
    """Numbers of axes, and how many files in a directory have just the size for as many."""
    key = f"raw names {folder}"
    if key not in context.worked_out:
        counts: Counter[int] = Counter()
        storage = storage_of(folder)
        for base in storage.names(folder):
            readings = _readings(base)
            if readings:
                size = _size(f"{folder.rstrip('/')}/{base}")
                counts.update({len(each.shape) for each in readings if each.nbytes == size})
        context.worked_out[key] = counts
    return cast("Counter[int]", context.worked_out[key])


def _size(path: str) -> int | None:
    try:
        status = storage_of(path).status(path)
    except OSError:
        return None
    return None if status is None else status.size
