"""The header of an `.npy` file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from ..dtypes import DTYPES
from ..errors import RecordError
from .extents import checked_shape, contiguous_strides

_MAGIC = b"\x93NUMPY"
MOST_HEADER = 1 << 16
_ITEM = (
    r"(?:'descr':\s*'(?P<descr{0}>[^']*)'"
    r"|'fortran_order':\s*(?P<fortran{0}>True|False)"
    r"|'shape':\s*\((?P<shape{0}>[0-9, L]*)\))"
)
_HEADER = re.compile(r"\{\s*" + r"\s*,\s*".join(map(_ITEM.format, "012")) + r"\s*,?\s*\}\s*", re.S)
_TYPES = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8",
    "u2": "uint16", "u4": "uint32", "u8": "uint64", "f2": "float16", "f4": "float32",
    "f8": "float64", "c8": "complex64", "c16": "complex128",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What an `.npy` header says; `data` is the length of the header itself in bytes."""

    dtype: str
    big_endian: bool
    fortran: bool
    shape: tuple[int, ...]
    data: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def strides(self) -> tuple[int, ...] | None:
        """Strides in elements; None for C order."""
        if not self.fortran or sum(size > 1 for size in self.shape) < 2:
            return None
        return tuple(reversed(contiguous_strides(self.shape[::-1])))


def header_length(head: bytes) -> int:
    """Bytes of magic, version, length and text, from the first twelve. Raises `RecordError`."""
    if len(head) < 12:
        raise RecordError(f"truncated: {len(head)} bytes are less than an .npy header")
    if not head.startswith(_MAGIC):
        raise RecordError("not an .npy file: wrong magic bytes")
    if head[6] not in (1, 2, 3):
        raise RecordError(f".npy version {head[6]}.{head[7]} is newer than this reader knows (3.0)")
    wide = 2 if head[6] == 1 else 4
    length = 8 + wide + int.from_bytes(head[8 : 8 + wide], "little")
    if length > MOST_HEADER:
        raise RecordError(f"damaged .npy header: {length} bytes long")
    return length


def parse_header(head: bytes) -> Header:
    """Parse the bytes that an `.npy` file starts with; raises `RecordError`."""
    length = header_length(head)
    if length > len(head):
        raise RecordError(f"truncated: an .npy header of {length} bytes, {len(head)} are there")
    text = head[10 if head[6] == 1 else 12 : length].decode("utf-8", "replace")
    match = _HEADER.fullmatch(text)
    parts: dict[str, str] = {}
    if match is not None:
        parts = {name[:-1]: text for name, text in match.groupdict().items() if text is not None}
    if "'descr': [" in text:
        raise RecordError("a structured array (with named fields) is not a tensor")
    if len(parts) != 3:
        raise RecordError("damaged .npy header")
    dtype, big_endian = element_type(parts["descr"])
    try:
        sizes = [int(size.strip(" L")) for size in parts["shape"].split(",") if size.strip()]
    except ValueError as error:
        raise RecordError("damaged .npy header: no shape") from error
    shape = checked_shape(sizes, DTYPES[dtype].itemsize)
    return Header(dtype, big_endian, parts["fortran"] == "True", shape, length)


def element_type(code: str) -> tuple[str, bool]:
    """Name of the element type that numpy calls `code` (`<f4`), and whether its bytes are swapped.

    Raises `RecordError`.
    """
    kind = code.lstrip("<>|=")
    if kind.startswith("O"):
        raise RecordError("refused: an array of Python objects is a pickle")
    if kind.startswith("V"):
        raise RecordError(
            f"dtype {code!r} does not say what it is: numpy forgets bfloat16 and fp8; "
            "write the tensor as .safetensors or .pt"
        )
    name = _TYPES.get(kind)
    if name is None:
        raise RecordError(f"unknown numpy dtype {code[:40]!r}")
    return name, code.startswith(">") and DTYPES[name].itemsize > 1
