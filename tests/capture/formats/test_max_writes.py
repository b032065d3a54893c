"""What the real MAX engine writes, our reader reads: checkpoints, raw files, order from its log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.values import upcast

pytestmark = pytest.mark.max

# In a child process: MAX writes its log to file descriptor 2 from native code.
_PROGRAM = """
import sys
import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.engine.api import PrintStyle
from max.graph import DeviceRef, Graph, TensorType, ops

def forward(x):
    x = x.tensor
    for name in ("float64", "float16", "bfloat16", "int32", "int8", "bool"):
        ops.cast(x, getattr(DType, name)).print(f"block.{name}(2)-output")
    (x * 2).print("mlp_A_input")
    ops.sum(x).print("total")
    x.print("block.float32-input_0")
    return x

graph = Graph("prints", forward, input_types=[TensorType(DType.float32, [2, 3], DeviceRef.CPU())])
session = InferenceSession(devices=[CPU()])
session.set_debug_print_options(
    style=getattr(PrintStyle, sys.argv[2]), output_directory=sys.argv[1]
)
model = session.load(graph)
model.execute(Buffer.from_numpy(np.array([[-1.5, 0, 2.25], [100.5, -2, 1e-3]], np.float32)))
"""

VALUES = np.array([[-1.5, 0, 2.25], [100.5, -2, 1e-3]], np.float32)


def write(folder: Path, style: str) -> None:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), style], capture_output=True, text=True
    )
    (folder / "stderr.log").write_text(done.stderr)
    assert any(path.name != "stderr.log" for path in folder.iterdir()), done.stderr[-2000:]


def test_files_of_max_are_read_with_their_order(tmp_path: Path) -> None:
    pytest.importorskip("max")
    for style in ("BINARY_MAX_CHECKPOINT", "BINARY"):
        check_files(tmp_path / style, style)


def check_files(folder: Path, style: str) -> None:
    write(folder, style)
    capture = open_capture(folder)
    assert capture.order_known
    assert [record.error for record in capture.records] == [None] * len(capture.records)
    names = [record.name for record in capture.records]
    assert names[0] == "block.float64(2)-output"
    assert names[-1] == "block.float32-input_0"
    by_name = {record.name: record for record in capture.records}
    assert by_name["block.int8(2)-output"].call == 2
    assert by_name["mlp_A_input"].slot == "value"
    for name, expected in (
        ("block.float32-input_0", VALUES),
        ("block.float64(2)-output", VALUES.astype(np.float64)),
        ("block.float16(2)-output", VALUES.astype(np.float16).astype(np.float32)),
        ("block.int32(2)-output", VALUES.astype(np.int32)),
        ("mlp_A_input", VALUES * 2),
    ):
        record = by_name[name]
        assert record.locator is not None
        assert record.dtype is not None
        np.testing.assert_array_equal(upcast(load(record.locator), record.dtype), expected)
    bf16 = by_name["block.bfloat16(2)-output"]
    assert bf16.dtype == "bfloat16"
    assert bf16.locator is not None
    np.testing.assert_allclose(upcast(load(bf16.locator), "bfloat16"), VALUES, rtol=2**-8)
