"""Subjects made of arrays, and analyses run over them in blocks of any size."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from layertui.capture.dtypes import DTYPES
from layertui.capture.records import Locator
from layertui.capture.values import upcast
from layertui.compare.inspection import running
from layertui.compare.inspection.running import Pass
from layertui.compare.inspection.subject import Subject
from layertui.compare.measuring.pair_reader import SideTask

FLOATS = [name for name, dtype in DTYPES.items() if dtype.kind == "float"]
WHOLE = [name for name, dtype in DTYPES.items() if dtype.kind == "int"]


def side(folder: Path, name: str, raw: np.ndarray, dtype: str, recipe: str = "") -> SideTask:
    """A record of raw elements (as `DTYPES` stores them) in a file of its own."""
    path = folder / f"{name}.bin"
    path.write_bytes(b"head" + np.ascontiguousarray(raw).tobytes())
    return SideTask(Locator(str(path), dtype, raw.shape, 4), dtype, recipe)


def subject(
    folder: Path, x: np.ndarray | None, y: np.ndarray | None, dtypes: str | tuple[str, str] = "",
    recipes: tuple[str, str] = ("", ""),
) -> Subject:  # fmt: skip
    """Both sides (or one) from raw elements; without a dtype, what numpy calls theirs."""
    names = (dtypes, dtypes) if isinstance(dtypes, str) else dtypes
    sides = [
        None if raw is None else side(folder, name, raw, dtype or raw.dtype.name, recipe)
        for name, raw, dtype, recipe in zip("xy", (x, y), names, recipes, strict=True)
    ]
    return Subject(sides[0], sides[1])


def run(make: Callable[..., Any], about: Subject, block: int = 1 << 17, **more: Any) -> Any:
    """`Pass(make).over(about)` in blocks of this size; any warning is an error."""
    with warnings.catch_warnings(), patch.object(running, "BLOCK", block):
        warnings.simplefilter("error")
        return Pass(make, **more).over(about)


def looked(
    make: Callable[[Subject, Any], Any], x: np.ndarray | None, y: np.ndarray | None,
    dtypes: str | tuple[str, str] = "", recipes: tuple[str, str] = ("", ""), block: int = 1 << 17,
    **more: Any,
) -> Any:  # fmt: skip
    """What an analysis finds in two arrays."""
    with tempfile.TemporaryDirectory() as folder:
        about = subject(Path(folder), x, y, dtypes, recipes)
        return run(lambda shape: make(about, shape), about, block, **more)


def raw_elements(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Any bits: NaN, Inf, denormals, extremes; small values more often than by chance."""
    storage = np.dtype(DTYPES[dtype].storage)
    size = int(np.prod(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    raw = np.frombuffer(rng.bytes(size * storage.itemsize), storage).copy()
    if DTYPES[dtype].kind in ("float", "complex") and storage.kind in "fc":
        near = rng.standard_normal(size).astype(storage)
        raw = np.where(rng.random(size) < 0.6, near, raw)
    if storage.kind in "iu" and DTYPES[dtype].kind == "int":
        extremes = np.iinfo(storage)
        picks = rng.random(size)
        raw = np.where(picks < 0.1, extremes.min, np.where(picks > 0.9, extremes.max, raw))
    if DTYPES[dtype].kind == "float" and dtype.startswith(("float4_", "float6_")):
        raw = raw & (15 if dtype.startswith("float4_") else 63)
    return np.where(rng.random(size) < 0.1, storage.type(0), raw).astype(storage).reshape(shape)


def as_numbers(raw: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that raw elements stand for, as longdouble, complex256 or Python ints."""
    with np.errstate(all="ignore"):
        values = upcast(raw, dtype).reshape(-1)
        if values.dtype.kind == "c":
            return values.astype(np.clongdouble)
        return values.astype(np.longdouble)
