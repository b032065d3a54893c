"""Tensors of ggml, the library below llama.cpp, through ctypes.

What a `ggml_tensor` looks like is copied from ggml.h (0.25, llama-cpp-python 0.3.36). Whether the
library at hand has the same is verified, of its size before anything is read, and of each tensor
against what the library's own functions say of it: other memory is never taken for a tensor.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import CaptureError

if TYPE_CHECKING:
    from ...values import Array

_AXES = 4  # GGML_MAX_DIMS
_OBJECT_BYTES = 32  # of the ggml_object in front of every tensor
# What ggml calls the types that are no blocks of quantised numbers.
_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "f64": "float64",
          "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64"}  # fmt: skip
_FILES = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")


class TensorStruct(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * _AXES),
        ("nb", ctypes.c_size_t * _AXES),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor at `address`. `shape` and `strides` (in bytes) are in the order of torch, ones in
    front left out as far as two axes stay. `kind` is ggml's word for the type, `dtype` None where
    that is quantised.
    """

    address: int
    name: str
    op: str
    sources: tuple[str, ...]
    kind: str
    dtype: str | None
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    nbytes: int


class Ggml:
    """The library at `folder`, beside that of llama.cpp. Raises `CaptureError`."""

    def __init__(self, folder: Path) -> None:
        self._lib = _loaded(folder)
        expected = ctypes.sizeof(TensorStruct) + _OBJECT_BYTES
        overhead = self._lib.ggml_tensor_overhead()
        if overhead != expected:
            raise CaptureError(_unknown(f"a tensor takes {overhead} bytes, not {expected}"))

    @property
    def version(self) -> str | None:
        """`0.25.3`; None where the library does not say."""
        return self._said("ggml_version")

    @property
    def commit(self) -> str | None:
        """Of llama.cpp's sources, as far as the library says."""
        found = (self._said("ggml_commit") or "").removesuffix("-dirty")
        return None if found in ("", "unknown") else found

    def _said(self, function: str) -> str | None:
        try:
            asked = getattr(self._lib, function)
        except AttributeError:  # older than these functions
            return None
        asked.restype = ctypes.c_char_p
        return _text(asked())

    def tensor(self, address: int) -> Tensor:
        """What stands there. Raises `CaptureError` where that is not as ggml's functions say."""
        lib, read = self._lib, TensorStruct.from_address(address)
        name = lib.ggml_get_name(address)
        if read.name != name:
            raise CaptureError(_unknown("names stand elsewhere"))
        sizes, steps, code = tuple(read.ne), tuple(read.nb), read.type
        if min(sizes) < 0 or prod(sizes) != lib.ggml_nelements(address):
            raise CaptureError(_unknown(f"{_text(name)} has other sizes than {sizes}"))
        if not 0 <= code < self._types():
            raise CaptureError(_unknown(f"{_text(name)} has the type {code}"))
        nbytes, per, size = (lib.ggml_nbytes(address), lib.ggml_blck_size(code),
                             lib.ggml_type_size(code))  # fmt: skip
        if nbytes != _extent(sizes, steps, per, size):
            raise CaptureError(_unknown(f"{_text(name)} takes {nbytes} bytes"))
        kind = _text(lib.ggml_type_name(code)) or ""
        dtype = _TYPES.get(kind)
        if dtype is not None and (per, size) != (1, DTYPES[dtype].itemsize):
            raise CaptureError(_unknown(f"an element of {kind} takes {size} bytes"))
        axes = _AXES
        while axes > 2 and sizes[axes - 1] == 1:
            axes -= 1
        shape, strides = sizes[:axes][::-1], steps[:axes][::-1]
        op = _text(lib.ggml_op_desc(address)) or ""
        sources = tuple(_text(lib.ggml_get_name(source)) or "" for source in read.src if source)
        return Tensor(
            address, _text(name) or "", op, sources, kind, dtype, shape, strides, nbytes
        )  # fmt: skip

    def values(self, tensor: Tensor) -> Array:
        """A copy of its elements, wherever they are computed. `dtype` must not be None."""
        import numpy as np

        raw = np.empty(tensor.nbytes, np.uint8)
        if tensor.nbytes:
            self._lib.ggml_backend_tensor_get(
                tensor.address, raw.ctypes.data_as(ctypes.c_void_p), 0, tensor.nbytes
            )
        storage = np.dtype(DTYPES[tensor.dtype or ""].storage)
        # numpy checks that no element lies outside of the bytes.
        seen = np.ndarray(tensor.shape, storage, raw.data, strides=tensor.strides)
        return np.ascontiguousarray(seen)

    def _types(self) -> int:
        """How many types there are; the library's functions end the process for others."""
        import llama_cpp  # pyright: ignore[reportMissingImports]

        return int(llama_cpp.GGML_TYPE_COUNT)


def _loaded(folder: Path) -> Any:
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise CaptureError(f"{folder}: no library {_FILES[0]} of llama.cpp is there")
    try:
        lib = ctypes.CDLL(str(path))
        for name, result, arguments in (
            ("ggml_tensor_overhead", ctypes.c_size_t, ()),
            ("ggml_get_name", ctypes.c_char_p, (ctypes.c_void_p,)),
            ("ggml_op_desc", ctypes.c_char_p, (ctypes.c_void_p,)),
            ("ggml_nelements", ctypes.c_int64, (ctypes.c_void_p,)),
            ("ggml_nbytes", ctypes.c_size_t, (ctypes.c_void_p,)),
            ("ggml_type_name", ctypes.c_char_p, (ctypes.c_int,)),
            ("ggml_type_size", ctypes.c_size_t, (ctypes.c_int,)),
            ("ggml_blck_size", ctypes.c_int64, (ctypes.c_int,)),
            ("ggml_backend_tensor_get", None,
             (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)),
        ):  # fmt: skip
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise CaptureError(_unknown(str(error))) from error
    return lib


def _extent(sizes: tuple[int, ...], steps: tuple[int, ...], per: int, size: int) -> int:
    """Bytes from the first to behind the last element: `ggml_nbytes`."""
    if 0 in sizes:
        return 0
    if per == 1:
        return size + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    row = sizes[0] * steps[0] // per
    return row + sum((n - 1) * step for n, step in zip(sizes[1:], steps[1:], strict=True))


def _text(said: bytes | None) -> str | None:
    return None if said is None else said.decode("utf-8", "replace")


def _unknown(why: str) -> str:
    return f"this build of llama.cpp keeps tensors in another way than is known here: {why}"
