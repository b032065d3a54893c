"""Element types of ONNX, by the numbers of `onnx.proto`, as layertui calls them."""

from __future__ import annotations

from ...dtypes import DTYPES

# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, TensorProto.DataType
NAMES: dict[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64",
    15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu",
}  # fmt: skip
CODES = {name: code for code, name in NAMES.items()}
HALF_BYTES = (21, 22, 23)  # uint4, int4, float4: two elements a byte
FOREIGN_TO_NUMPY = (16, 17, 18, 19, 20, 24)  # numpy has no such type; their bits are unsigned

# What ONNX Runtime calls them: `tensor(float)`.
RUNTIME_NAMES: dict[str, str] = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16", "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}"
       for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def is_exact(code: int | None) -> bool:
    """True for whole numbers and truth values."""
    return code in NAMES and DTYPES[NAMES[code]].kind in ("int", "bool")
