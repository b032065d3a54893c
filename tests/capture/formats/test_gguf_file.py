"""GGUF files against the `gguf` package: headers, plain elements, and every kind of block."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture
from layertui.capture.formats.gguf_blocks import BLOCKS
from layertui.capture.load import load

gguf = pytest.importorskip("gguf")


@pytest.mark.parametrize("code", BLOCKS)
def test_blocks_as_the_reference_unpacks_them(code: int) -> None:
    block = BLOCKS[code]
    kind = gguf.GGMLQuantizationType(code)
    assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (block.name, (block.elements, block.nbytes))
    draw = np.random.default_rng(code)
    raw = draw.integers(0, 256, (7, block.nbytes), np.uint8)
    halves = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}.get(block.name, (0, 2))
    for at in halves[:1] if block.name in ("Q4_0", "Q5_0", "Q8_0") else halves:
        raw[:, at : at + 2] = draw.normal(size=(7, 1)).astype("<f2").view(np.uint8)
    wanted = gguf.quants.dequantize(raw, kind)
    np.testing.assert_allclose(block.unpacked(raw.tobytes()), wanted.reshape(-1), rtol=1e-6)


def write(path: Path, tensors: dict[str, np.ndarray]) -> Path:  # type: ignore[type-arg]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 1)
    writer.add_array("tokens", ["a", "b"])
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_plain_and_quantised_tensors(tmp_path: Path) -> None:
    plain = np.arange(64, dtype=np.float32).reshape(2, 32)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("output_norm.weight", plain[0])
    writer.add_tensor("blk.0.ffn_down.weight", plain)
    writer.add_tensor("half", plain.astype(np.float16))
    quantised = gguf.quants.quantize(plain, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q8", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    capture = open_capture(tmp_path / "a.gguf")
    assert [(r.name, r.shape, r.dtype) for r in capture.records] == [
        ("output_norm.weight", (32,), "float32"), ("blk.0.ffn_down.weight", (2, 32), "float32"),
        ("half", (2, 32), "float16"), ("q8", (2, 32), "float32"),
    ]  # fmt: skip
    assert capture.notes == ["a.gguf: quantised to Q8_0"]
    loaded = [load(record.locator) for record in capture.records if record.locator]
    np.testing.assert_array_equal(loaded[1], plain)
    np.testing.assert_array_equal(loaded[3], gguf.quants.dequantize(
        quantised, gguf.GGMLQuantizationType.Q8_0))  # fmt: skip


def test_damaged_headers(tmp_path: Path) -> None:
    data = write(tmp_path / "a.gguf", {"x": np.ones((2, 32), np.float32)}).read_bytes()
    for broken, words in (
        (b"GGML" + data[4:], "wrong magic"),
        (data[:4] + struct.pack("<I", 9) + data[8:], "version 9"),
        (data[:8] + struct.pack("<Q", 1 << 60) + data[16:], "too many entries"),
        (data[:100], "cut short"),
        (data[:-64], "truncated"),
    ):
        (tmp_path / "b.gguf").write_bytes(broken)
        with pytest.raises(CaptureError, match=words):
            open_capture(tmp_path / "b.gguf")
