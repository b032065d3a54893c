"""Quantised blocks of GGUF files as float32. Layouts: `block_*` of ggml/src/ggml-common.h,
formulas: `dequantize_row_*` of ggml/src/ggml-quants.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..values import Array

# Types whose elements lie in the file as they are.
PLAIN = {0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64",
         28: "float64", 30: "bfloat16"}  # fmt: skip
_WHOLE = 256  # elements of a block of the K quants


@dataclass(frozen=True, slots=True)
class Block:
    """A kind of block: `unpack` makes `[blocks, elements]` float32 of `[blocks, nbytes]` bytes."""

    name: str
    elements: int
    nbytes: int
    unpack: Callable[[Any], Array]

    def unpacked(self, raw: bytes) -> Array:
        """The elements of whole blocks, in a row."""
        import numpy as np

        return self.unpack(np.frombuffer(raw, np.uint8).reshape(-1, self.nbytes)).reshape(-1)


def _half(data: Any) -> Any:
    """Two bytes a block as a column of float32."""
    import numpy as np

    return np.ascontiguousarray(data).view("<f2").astype(np.float32)


def _nibbles(data: Any) -> Any:
    """The low halves of all bytes, then the high ones."""
    import numpy as np

    return np.concatenate([data & 15, data >> 4], axis=1)


def _fifth_bits(data: Any) -> Any:
    """32 bits a block, one an element, as 16."""
    import numpy as np

    return np.unpackbits(np.ascontiguousarray(data), axis=1, bitorder="little") << 4


def _q4_0(b: Any) -> Any:
    return _half(b[:, :2]) * (_nibbles(b[:, 2:]).astype("f4") - 8)


def _q4_1(b: Any) -> Any:
    return _half(b[:, :2]) * _nibbles(b[:, 4:]).astype("f4") + _half(b[:, 2:4])


def _q5_0(b: Any) -> Any:
    whole = _nibbles(b[:, 6:]) | _fifth_bits(b[:, 2:6])
    return _half(b[:, :2]) * (whole.astype("f4") - 16)


def _q5_1(b: Any) -> Any:
    whole = _nibbles(b[:, 8:]) | _fifth_bits(b[:, 4:8])
    return _half(b[:, :2]) * whole.astype("f4") + _half(b[:, 2:4])


def _q8_0(b: Any) -> Any:
    return _half(b[:, :2]) * b[:, 2:].view("i1").astype("f4")


def _pieces(data: Any, bits: int) -> Any:
    """Elements of `bits` bits: of each 32 bytes first all lowest ones, then the next, and so on."""
    import numpy as np

    rows = data.reshape(len(data), -1, 1, 32)
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(1, 1, -1, 1)
    return ((rows >> shifts) & ((1 << bits) - 1)).reshape(len(data), -1)


def _q2_k(b: Any) -> Any:
    import numpy as np

    scales, values = b[:, :16], _pieces(b[:, 16:80], 2).reshape(len(b), 16, 16)
    large, least = _half(b[:, 80:82]), _half(b[:, 82:84])
    scale = (large * (scales & 15).astype(np.float32))[:, :, None]
    floor = (least * (scales >> 4).astype(np.float32))[:, :, None]
    return (scale * values.astype(np.float32) - floor).reshape(len(b), _WHOLE)


def _q3_k(b: Any) -> Any:
    import numpy as np

    high = _pieces(b[:, :32], 1) ^ 1
    values = _pieces(b[:, 32:96], 2).astype(np.int8) - (high << 2).astype(np.int8)
    low, packed = _nibbles(b[:, 96:104]), b[:, 104:108]
    upper = np.concatenate([(packed >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1)
    scales = (low | (upper << 4)).astype(np.int8) - 32
    scale = (_half(b[:, 108:110]) * scales.astype(np.float32))[:, :, None]
    return (scale * values.reshape(len(b), 16, 16).astype(np.float32)).reshape(len(b), _WHOLE)


def _scales_and_floors(packed: Any) -> tuple[Any, Any]:
    """Eight scales and eight floors of six bits in twelve bytes (`get_scale_min_k4`)."""
    import numpy as np

    first, second, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (rest & 15) | ((first >> 6) << 4)], axis=1)
    floors = np.concatenate([second & 63, (rest >> 4) | ((second >> 6) << 4)], axis=1)
    return scales.astype(np.float32), floors.astype(np.float32)


def _q4_k(b: Any) -> Any:
    return _by_scales(b, _pieces(b[:, 16:144], 4))


def _q5_k(b: Any) -> Any:
    return _by_scales(b, _pieces(b[:, 48:176], 4) | (_pieces(b[:, 16:48], 1) << 4))


def _by_scales(b: Any, values: Any) -> Any:
    scales, floors = _scales_and_floors(b[:, 4:16])
    scale = (_half(b[:, :2]) * scales)[:, :, None]
    floor = (_half(b[:, 2:4]) * floors)[:, :, None]
    return (scale * values.reshape(len(b), 8, 32).astype("f4") - floor).reshape(len(b), _WHOLE)


def _q6_k(b: Any) -> Any:
    import numpy as np

    low = b[:, :128].reshape(len(b), 2, 1, 64)
    low = ((low >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)) & 15).reshape(len(b), _WHOLE)
    high = _pieces(b[:, 128:192], 2)
    values = (low | (high << 4)).astype(np.int8) - 32
    scale = (_half(b[:, 208:210]) * b[:, 192:208].view(np.int8).astype(np.float32))[:, :, None]
    return (scale * values.reshape(len(b), 16, 16).astype(np.float32)).reshape(len(b), _WHOLE)


BLOCKS: dict[int, Block] = {
    2: Block("Q4_0", 32, 18, _q4_0),
    3: Block("Q4_1", 32, 20, _q4_1),
    6: Block("Q5_0", 32, 22, _q5_0),
    7: Block("Q5_1", 32, 24, _q5_1),
    8: Block("Q8_0", 32, 34, _q8_0),
    10: Block("Q2_K", _WHOLE, 84, _q2_k),
    11: Block("Q3_K", _WHOLE, 110, _q3_k),
    12: Block("Q4_K", _WHOLE, 144, _q4_k),
    13: Block("Q5_K", _WHOLE, 176, _q5_k),
    14: Block("Q6_K", _WHOLE, 210, _q6_k),
}
