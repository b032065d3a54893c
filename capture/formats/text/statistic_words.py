"""What people call statistics of tensors, and records made of them where there are no values.

Digits that were printed are a floor, as with printed values: `printed_decimals` and
`printed_significant` of a record's statistics, worked out over the whole file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ...records import Record
from ..extents import checked_shape
from ..raw_entries import dtype_of
from .tensor_print import number

_WORDS: dict[str, tuple[str, ...]] = {
    "mean": ("mean", "avg", "average", "mu"),
    "std": ("std", "stdev", "stddev", "standarddeviation", "sigma"),
    "var": ("var", "variance"),
    "min": ("min", "minimum", "minval", "minvalue"),
    "max": ("max", "maximum", "maxval", "maxvalue"),
    "l2": ("norm", "l2", "l2norm", "norm2", "fro", "frobenius", "frobeniusnorm", "normval"),
    "rms": ("rms",),
    "sum": ("sum", "total"),
    "absmax": ("absmax", "maxabs", "absmean", "meanabs", "l1", "l1norm", "median"),
    "nan": ("nan", "nans", "nancount", "numnan", "numnans", "nnan", "nannum", "hasnan", "anynan"),
    "inf": ("inf", "infs", "infcount", "numinf", "numinfs", "ninf", "hasinf", "anyinf"),
    "zeros": ("zeros", "zero", "nzeros", "numzeros", "zerocount"),
    "count": ("numel", "numelements", "nelements", "elements", "count", "n", "nelem"),
    "shape": ("shape", "dims", "dimensions", "size", "tensorshape", "outputshape"),
    "dtype": ("dtype", "datatype", "type"),
}
_CALLED = {spelling: word for word, spellings in _WORDS.items() for spelling in spellings}
# One of these makes a description one of statistics.
TELLING = frozenset({"mean", "std", "var", "min", "max", "l2", "rms", "sum", "absmax"})
MOST_RECORDS = 200_000  # of a file
_COMPARED = ("min", "max", "mean", "std", "l2")
_COUNTS = ("nan", "inf", "zeros")
_PRECISE = 6  # significant digits from which a deviation is worked out of a variance
_EXACT = 15  # digits of a double: nothing was rounded
_NUMBER = re.compile(r"[+-]?(?:(\d{0,400})(?:\.(\d{0,400}))?)(e[+-]?\d{1,9})?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """The statistics of one tensor as they are written: by word, with what says where it belongs.

    `problem` says why they cannot be read.
    """

    keys: tuple[str, ...]
    said: Mapping[str, Any]
    step: int | None = None
    problem: str | None = None


def word_of(key: str) -> str | None:
    """`mean`, `l2`, `shape` ... for what a file calls it; None for what is no statistic."""
    return _CALLED.get(re.sub(r"[\s_.\-]", "", key[:40]).lower())


def text_of(value: Any) -> str | None:
    """A number as it is written; None for what is no number. `null` is what is not finite."""
    if value is None:
        return "nan"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)  # JSON has none of more than 4300 digits
    if isinstance(value, float):
        return repr(value)
    return value.strip() if isinstance(value, str) and len(value) < 400 else None


def rounding_of(described: Iterable[Described]) -> dict[str, int]:
    """How far the numbers of a file were rounded; empty where nothing was."""
    decimals: set[int] = set()
    significant: set[int] = set()
    powers = False
    for each in described:
        for word in TELLING & each.said.keys():
            match = _NUMBER.match(text_of(each.said[word]) or "")
            if match is None or (not match[2] and not match[3]):
                continue
            powers = powers or match[3] is not None
            significant.add(len(((match[1] or "") + (match[2] or "")).lstrip("0")))
            if match[3] is None:
                decimals.add(len(match[2] or ""))
    digits = max(significant, default=_EXACT)
    if digits >= _EXACT:
        return {}
    found = {"printed_decimals": max(decimals)} if decimals else {}
    if len(decimals) != 1 or powers:
        found["printed_significant"] = max(digits, 1)
    return found


def record_of(record: Record, described: Described, rounding: Mapping[str, int]) -> Record:
    """`record` with the statistics; with an `error` where they cannot be read."""
    try:
        return _complete(record, described, rounding)
    except RecordError as error:
        return replace(record, error=str(error))


def _complete(record: Record, described: Described, rounding: Mapping[str, int]) -> Record:
    if described.problem is not None:
        raise RecordError(described.problem)
    said = described.said
    dtype = dtype_of(str(said["dtype"])) if said.get("dtype") else "float32"
    shape = _shape(said.get("shape"), DTYPES[dtype].itemsize)
    count = _count(said.get("count"))
    if shape is not None:
        if count is not None and count != prod(shape):
            raise RecordError(f"{count} elements, the shape {list(shape)} has {prod(shape)}")
        count = prod(shape)
    stats: dict[str, Any] = {}
    for word in (*_COMPARED, *_COUNTS, "var", "sum", "rms", "absmax"):
        if word in said and (value := _value(word, said[word])) is not None:
            stats[word] = value
    _work_out(stats, said, count)
    for flag, spoiled in (("nan", math.nan), ("inf", math.inf)):
        if isinstance(said.get(flag), bool) and stats.pop(flag, 0):
            stats["mean"] = spoiled  # there are some, and nothing says how many
    if count == 1 and math.isnan(stats.get("std", 0.0)):
        del stats["std"]  # that of a sample of one
    if not stats.keys() & {*_COMPARED, *_COUNTS}:
        raise RecordError("none of mean, std, min, max and norm is said: nothing to compare")
    if count is not None:
        stats["count"] = count
    record = replace(record, shape=shape, dtype=dtype)
    record.stats = {**stats, **rounding}
    return record


def _work_out(stats: dict[str, Any], said: Mapping[str, Any], count: int | None) -> None:
    """Deviation, mean and norm where variance, sum and root mean square are said instead."""
    variance, total, rms = (stats.pop(word, None) for word in ("var", "sum", "rms"))
    stats.pop("absmax", None)
    if variance is not None and "std" not in stats and variance >= 0 and _precise(said["var"]):
        stats["std"] = math.sqrt(variance)
    if count:
        if total is not None and "mean" not in stats:
            stats["mean"] = total / count
        if rms is not None and "l2" not in stats and _precise(said["rms"]):
            stats["l2"] = rms * math.sqrt(count)
    for value in (variance, total, rms):
        if value is not None and not math.isfinite(value):
            stats.setdefault("mean", value)


def _precise(value: Any) -> bool:
    match = _NUMBER.match(text_of(value) or "")
    digits = len(((match[1] or "") + (match[2] or "")).lstrip("0")) if match else 0
    return digits >= _PRECISE


def _value(word: str, value: Any) -> float | int | None:
    """The number that a statistic is; None where it is left out. Raises `RecordError`."""
    text = text_of(value)
    if text in ("", "-", "None", "N/A", "n/a"):
        return None
    if text is None:
        raise RecordError(f"its {word} is no number")
    found = number(text)
    if word in _COUNTS:
        if not found.is_integer() or not 0 <= found < 1 << 62:
            raise RecordError(f"its number of {word} is {text[:40]}")
        return int(found)
    return found


def _count(value: Any) -> int | None:
    text = text_of(value) if value is not None else None
    if text is None or not re.fullmatch(r"\d{1,18}(?:\.0*)?", text):
        return None
    return int(float(text)) if "." in text else int(text)


def _shape(value: Any, itemsize: int) -> tuple[int, ...] | None:
    """A shape as a list or as text: `1x8x32`, `[1, 8, 32]`, `torch.Size([1, 8, 32])`."""
    if isinstance(value, list):
        return checked_shape(value, itemsize)
    if not isinstance(value, str) or not value.strip():
        return None
    if not re.fullmatch(r"\s*(?:torch\.Size)?\(?\s*[\[(]?[\dx×*,;\s]{0,400}[\])]?\s*\)?\s*", value):
        raise RecordError(f"shape {value[:40]!r} makes no sense")
    sizes = re.findall(r"\d+", value)
    if any(len(size) > 18 for size in sizes):
        raise RecordError("damaged header: the shape is larger than any memory")
    return checked_shape([int(size) for size in sizes], itemsize)
