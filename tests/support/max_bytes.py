"""`.max` files made byte by byte, as MAX 26.7 lays them out."""

from __future__ import annotations

import struct
from math import prod

MAGIC = b"\x93\xf0\x9f\x94\xa5\x2b\x2b\x93"
Tensor = tuple[str, int, tuple[int, ...], bytes]  # key, dtype code, shape, data


def max_file(*tensors: Tensor, version: tuple[int, int] = (0, 1)) -> bytes:
    """A whole file with `tensors` one after the other, not aligned."""
    length = sum(4 + len(key.encode()) + 2 + 4 * len(shape) + 8 for key, _, shape, _ in tensors)
    offset = 24 + length
    table, data = b"", b""
    for key, code, shape, values in tensors:
        table += struct.pack("<I", len(key.encode())) + key.encode()
        table += struct.pack(f"<BB{len(shape)}IQ", code, len(shape), *shape, offset + len(data))
        data += values
    return struct.pack("<8sIIQ", MAGIC, *version, length) + table + data


def zeros(key: str, code: int, shape: tuple[int, ...], itemsize: int) -> Tensor:
    return key, code, shape, bytes(prod(shape) * itemsize)
