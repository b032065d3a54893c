"""Element types under one name each, whatever a file format calls them.

Only names and sizes here, so that listing a capture needs no numpy; the conversion of values
lives in `values`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import RecordError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type.

    `storage` is the numpy type that holds the raw bits (`<u2` for bfloat16), `itemsize` its
    bytes. `epsilon` is the spacing of 1.0 (2 ** -mantissa bits), 0 for exact types.
    """

    name: str
    storage: str
    itemsize: int
    kind: str  # "float", "int", "bool" or "complex"
    epsilon: float = 0.0
    max_code: int | None = None  # the byte of MAX's checkpoints
    safetensors: str | None = None

    @property
    def mantissa_bits(self) -> int:
        """Bits behind the leading one; 0 for exact types."""
        return round(-math.log2(self.epsilon)) if self.epsilon else 0


_TABLE = (
    DType("bool", "?", 1, "bool", 0.0, 0x01, "BOOL"),
    DType("float4_e2m1fn", "|u1", 1, "float", 2**-1, 0x40),
    DType("float6_e2m3fn", "|u1", 1, "float", 2**-3, 0x41),
    DType("float6_e3m2fn", "|u1", 1, "float", 2**-2, 0x42),
    DType("float8_e8m0fnu", "|u1", 1, "float", 1.0, 0x49, "F8_E8M0"),
    DType("float8_e4m3fn", "|u1", 1, "float", 2**-3, 0x4B, "F8_E4M3"),
    DType("float8_e4m3fnuz", "|u1", 1, "float", 2**-3, 0x4C, "F8_E4M3FNUZ"),
    DType("float8_e5m2", "|u1", 1, "float", 2**-2, 0x4D, "F8_E5M2"),
    DType("float8_e5m2fnuz", "|u1", 1, "float", 2**-2, 0x4E, "F8_E5M2FNUZ"),
    DType("float16", "<f2", 2, "float", 2**-10, 0x4F, "F16"),
    DType("bfloat16", "<u2", 2, "float", 2**-7, 0x50, "BF16"),
    DType("float32", "<f4", 4, "float", 2**-23, 0x51, "F32"),
    DType("float64", "<f8", 8, "float", 2**-52, 0x52, "F64"),
    DType("uint8", "|u1", 1, "int", 0.0, 0x86, "U8"),
    DType("int8", "|i1", 1, "int", 0.0, 0x87, "I8"),
    DType("uint16", "<u2", 2, "int", 0.0, 0x88, "U16"),
    DType("int16", "<i2", 2, "int", 0.0, 0x89, "I16"),
    DType("uint32", "<u4", 4, "int", 0.0, 0x8A, "U32"),
    DType("int32", "<i4", 4, "int", 0.0, 0x8B, "I32"),
    DType("uint64", "<u8", 8, "int", 0.0, 0x8C, "U64"),
    DType("int64", "<i8", 8, "int", 0.0, 0x8D, "I64"),
    DType("complex64", "<c8", 8, "complex", 2**-23, None, "C64"),
    DType("complex128", "<c16", 16, "complex", 2**-52),
)

DTYPES: dict[str, DType] = {d.name: d for d in _TABLE}
BY_MAX_CODE: dict[int, DType] = {d.max_code: d for d in _TABLE if d.max_code is not None}
BY_SAFETENSORS: dict[str, DType] = {d.safetensors: d for d in _TABLE if d.safetensors}

# What logs, MLIR and numpy call the same types. `i1` is MLIR's bool.
_ALIASES: dict[str, str] = {
    "i1": "bool", "f16": "float16", "half": "float16", "bf16": "bfloat16", "f32": "float32",
    "float": "float32", "f64": "float64", "double": "float64", "long": "int64",
    "f8e4m3fn": "float8_e4m3fn", "f8e4m3fnuz": "float8_e4m3fnuz", "f8e5m2": "float8_e5m2",
    "f8e5m2fnuz": "float8_e5m2fnuz", "f8e8m0fnu": "float8_e8m0fnu", "f4e2m1fn": "float4_e2m1fn",
    "f6e2m3fn": "float6_e2m3fn", "f6e3m2fn": "float6_e3m2fn",
    **{f"{sign}i{bits}": f"{word}{bits}" for sign, word in (("s", "int"), ("u", "uint"))
       for bits in (8, 16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}  # fmt: skip


def dtype_named(name: str) -> DType:
    """The type called `name` by layertui, torch (`torch.bfloat16`), MLIR (`si64`) or numpy.

    Raises `RecordError` for a name that nobody here knows.
    """
    plain = name.removeprefix("torch.").strip().lower()
    found = DTYPES.get(_ALIASES.get(plain, plain))
    if found is None:
        raise RecordError(f"unknown dtype {name!r}")
    return found


def split_type(text: str) -> tuple[str, tuple[int, ...]]:
    """`10x64xf32` as `("f32", (10, 64))`; a scalar is just its dtype."""
    *sizes, dtype = text.split("x")
    if not all(size.isdecimal() and len(size) < 19 for size in sizes):
        raise ValueError(f"{text!r} is not a shape and dtype such as 10x64xf32")
    return dtype, tuple(int(size) for size in sizes)
