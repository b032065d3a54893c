"""What a whole ONNX model is given: token ids, arrays from a file, and what follows from these."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `onnx` and `onnxruntime` are optional.
import re
import zipfile
from dataclasses import dataclass
from typing import Any

from ...cases import Rows
from ...dtypes import DTYPES
from ...errors import CaptureError
from .index import Index
from .source import Model
from .types import CODES, FOREIGN_TO_NUMPY, NAMES

_IDS = ("input_ids", "tokens", "input_tokens", "token_ids")
_PAST = re.compile(r"past|cache", re.IGNORECASE)
_MOST_BYTES = 16 << 30


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a graph; sizes are numbers, names of open ones, or None."""

    name: str
    code: int
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape or ())
        return f"{self.name} {NAMES.get(self.code, 'of another type')} [{sizes}]"


def inputs_of(model: Model, index: Index) -> list[Input]:
    """The inputs that a run must be given."""
    found: list[Input] = []
    for value in model.proto.graph.input:
        if value.name not in index.initializers:
            kind = value.type.tensor_type
            shape = tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                for dim in kind.shape.dim
            )
            known = kind.HasField("shape")
            found.append(Input(value.name, kind.elem_type, shape if known else None))
    return found


def id_input(inputs: list[Input]) -> Input | None:
    """The input that takes token ids; None where there is none."""
    for name in _IDS:
        for one in inputs:
            if one.name == name:
                return one
    whole = [i for i in inputs if i.code in (6, 7) and i.shape is not None and len(i.shape) == 2]
    return whole[0] if len(whole) == 1 else None


def read_arrays(path: str) -> dict[str, Any]:
    """The arrays of an `.npz` file. Raises `CaptureError`."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise CaptureError(f"{path}: larger than inputs of a model are")
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise CaptureError(f"{path}: no .npz file of plain arrays") from error


def make_inputs(
    model: Model, inputs: list[Input], rows: Rows | None, arrays: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Values of ONNX Runtime by the names of inputs. Raises `CaptureError`."""
    made = make_arrays(model.path, inputs, rows, arrays)
    codes = {one.name: one.code for one in inputs}
    return {name: runtime_value(array, str(array.dtype), codes[name])
            for name, array in made.items()}  # fmt: skip


def make_arrays(
    path: str, inputs: list[Input], rows: Rows | None, arrays: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Arrays by the names of inputs of the model in the file `path`. Raises `CaptureError`, which
    names what is missing or does not fit.
    """
    import numpy as np

    known = {one.name: one for one in inputs}
    strange = [name for name in arrays if name not in known]
    if strange:
        raise CaptureError(f"{path}: has no input {strange[0]!r}, but {_listed(inputs)}")
    made = dict(arrays)
    target = id_input(inputs)
    if rows is not None:
        if target is None:
            raise CaptureError(f"{path}: takes no token ids, but {_listed(inputs)}; give "
                               "--inputs FILE.npz")  # fmt: skip
        made.setdefault(target.name, np.array(rows, dtype=np.int64))
    if not made:
        raise CaptureError(f"{path}: nothing to run: it takes {_listed(inputs)}; give "
                           "--input-ids, --prompt or --inputs FILE.npz")  # fmt: skip
    ids = made.get(target.name) if target is not None else None
    for one in inputs:
        if one.name not in made:
            follows = None if ids is None or ids.ndim != 2 else _following(one, ids.shape)
            if follows is None:
                raise CaptureError(f"{path}: the input {one} is not given; give it in "
                                   "--inputs FILE.npz")  # fmt: skip
            made[one.name] = follows
    return {one.name: _fitting(path, one, made[one.name]) for one in inputs}


def _following(one: Input, shape: tuple[int, int]) -> Any:
    """What is usual beside token ids of `shape`: a mask of ones, positions, an empty cache."""
    import numpy as np

    rows, tokens = shape
    if one.name.endswith("attention_mask") and one.shape is not None and len(one.shape) == 2:
        return np.ones((rows, tokens), np.int64)
    if one.name.endswith("position_ids"):
        return np.tile(np.arange(tokens, dtype=np.int64), (rows, 1))
    if one.name == "cache_position":
        return np.arange(tokens, dtype=np.int64)
    if one.name == "token_type_ids":
        return np.zeros((rows, tokens), np.int64)
    if one.name == "use_cache_branch":
        return np.zeros((1,), bool)
    if _PAST.match(one.name) and one.shape and len(one.shape) == 4:
        sizes: list[int] = []
        for axis, size in enumerate(one.shape):
            if isinstance(size, int) and size > 0:
                sizes.append(size)
            elif axis == 0:
                sizes.append(rows)
            elif axis in (2, 3) and 0 not in sizes[1:]:
                sizes.append(0)
            else:
                return None
        return np.zeros(sizes, np.float32)
    return None


def _fitting(path: str, one: Input, array: Any) -> Any:
    import numpy as np

    what = f"{path}: the input {one}"
    if one.code not in NAMES:
        raise CaptureError(f"{what} takes no plain numbers")
    want, got = DTYPES[NAMES[one.code]], np.asarray(array)
    kinds = {"f": "float", "i": "int", "u": "int", "b": "bool"}
    if kinds.get(got.dtype.kind) != want.kind and not (
        want.kind == "bool" or got.dtype.kind == "b"
    ):
        raise CaptureError(f"{what} is given {got.dtype.name} {list(got.shape)}")
    if one.shape is not None and (
        got.ndim != len(one.shape)
        or any(type(size) is int and size not in (0, length)
               for size, length in zip(one.shape, got.shape, strict=True))
    ):  # fmt: skip
        raise CaptureError(f"{what} is given an array of shape {list(got.shape)}")
    if one.code in FOREIGN_TO_NUMPY and want.name != "bfloat16":
        raise CaptureError(f"{what}: elements of this type cannot be given")
    return got


def runtime_value(array: Any, dtype: str, code: int | None) -> Any:
    """Raw elements of `dtype` as a value of ONNX Runtime, in the type `code` where that is known:
    numbers are rounded to it. Raises `CaptureError`.
    """
    import numpy as np
    from onnxruntime import OrtValue

    wanted = NAMES.get(code or 0, dtype)
    if "bfloat16" in (wanted, dtype) and wanted != dtype:
        array = _from_bfloat16(array) if dtype == "bfloat16" else array
        array = _to_bfloat16(array) if wanted == "bfloat16" else array
    array = np.ascontiguousarray(array, np.dtype(DTYPES[wanted].storage)).reshape(array.shape)
    if CODES[wanted] in FOREIGN_TO_NUMPY:
        return OrtValue.ortvalue_from_numpy_with_onnx_type(array, CODES[wanted])
    return OrtValue.ortvalue_from_numpy(array)


def _to_bfloat16(array: Any) -> Any:
    import numpy as np

    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to even


def _from_bfloat16(array: Any) -> Any:
    import numpy as np

    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _listed(inputs: list[Input]) -> str:
    return ", ".join(str(one) for one in inputs[:6]) + (", ..." if len(inputs) > 6 else "")
