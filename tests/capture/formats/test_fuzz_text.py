"""Whatever the bytes: reading ends with values or with `RecordError` / `CaptureError`, in words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layertui.capture import Capture, CaptureError, RecordError, open_capture
from layertui.capture.formats.text.tensor_print import parse_print
from layertui.capture.load import load_any
from layertui.capture.values import PartialValues
from support.max_bytes import MAGIC, max_file, zeros

DATA = Path(__file__).parents[2] / "data"
few = settings(max_examples=150, deadline=None)


@contextmanager
def directory() -> Iterator[Path]:
    """A directory with nothing beside it: logs there would be read with the capture."""
    with tempfile.TemporaryDirectory() as around:
        folder = Path(around, "dump")
        folder.mkdir()
        yield folder


def survive(name: str, data: bytes, raw: str | None = None) -> Capture | None:
    """Open a directory with this file and load all that it claims to hold."""
    with directory() as folder:
        (folder / name).write_bytes(data)
        try:
            capture = open_capture(folder, raw=raw)
        except CaptureError as error:
            assert "\n" not in str(error)
            return None
        for record in capture.records:
            assert (record.locator is None) == (record.error is not None)
            assert "\n" not in (record.error or "")
            if record.locator is not None:
                check_values(record.shape or (), record.partial, record.locator)
        return capture


def check_values(shape: tuple[int, ...], partial: tuple[int, int] | None, locator) -> None:
    """What is loaded is what was promised: the shape, or the number of shown elements."""
    try:
        loaded = load_any(locator)
    except RecordError as error:
        assert "\n" not in str(error)
        return
    if isinstance(loaded, PartialValues):
        assert partial is not None
        assert loaded.shape == shape
        assert loaded.values.size == loaded.positions.size == partial[0] < partial[1]
        assert np.unique(loaded.positions).size == partial[0]
        assert loaded.positions.min(initial=0) >= 0
        assert loaded.positions.max(initial=0) < partial[1]
    else:
        assert partial is None
        assert loaded.shape == shape


printed = st.text(st.sampled_from("[]().,=:xe-+ \n0123456789...tensornafi<>f32"), max_size=120)
dumped = st.text(st.sampled_from("#x \n0123456789.e+-nafi()X:"), max_size=120)


@few
@given(st.binary(max_size=200))
def test_random_bytes_in_every_text_format(data: bytes) -> None:
    for name in ("run.log", "py_x.txt", "some.txt", "x.max", "tensor_names.txt"):
        survive(name, data)
    survive("rawfile", data, "2x3xf32")


@few
@given(printed)
@example("tensor([[1.,")
@example("tensor<xf32> []")
@example("tensor([],,,[)")
@example("tensor([[], []], dtype=f32, shape=[2,0])")
def test_random_prints(text: str) -> None:
    survive("run.log", f"x = tensor({text}".encode())
    survive("run.log", f"x = tensor<2xf32> [{text}\ny = tensor([1])".encode())
    for start in ("tensor([", "tensor<", ""):
        try:
            found = parse_print(start + text)
        except RecordError:
            continue
        assert found.positions is None or len(found.positions) == len(found.texts)
        assert found.positions is not None or len(found.texts) == found.total


@few
@given(dumped)
def test_random_dumps(text: str) -> None:
    survive("py_x.txt", f"# Tensor: x\n# Shape: {text}".encode())
    survive("py_x.txt", f"# Tensor: x\n# Shape: 3\n# First 2 elements:\n{text}".encode())
    survive("py_x.txt", f"# Tensor: x\n# Shape: 3\n# Data:\n{text}".encode())
    survive(
        "py_x.txt",
        f"# Shape: 2\n# Data (first 100 elements as hex and converted):\n0x{text}".encode(),
    )


@cache
def real_logs() -> tuple[bytes, ...]:
    torch.manual_seed(0)
    tensors = [torch.randn(3, 20), torch.randn(2, 8, 9, 40).bfloat16(), torch.arange(5)]
    text = "".join(f"model.x-output = {t} {t.shape}\n" for t in tensors)
    return (text.encode(), *(path.read_bytes() for path in sorted(DATA.glob("max_*_ranks.txt"))))


@few
@given(st.integers(0, 2), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=3))
def test_logs_cut_and_patched_anywhere(which: int, cut: float, at: float, patch: bytes) -> None:
    log = real_logs()[which]
    log = log[: int(cut * len(log))]
    place = int(at * len(log))
    survive("run.log", log[:place] + patch + log[place + 1 :])


def test_no_print_before_a_cut_is_lost_or_changed() -> None:
    """Cutting a log leaves every whole print before the cut, and one unreadable record at most."""
    for log in real_logs():
        whole = survive("run.log", log)
        assert whole is not None
        names = [record.name for record in whole.records]
        for cut in range(40, len(log), len(log) // 40):
            capture = survive("run.log", log[:cut])
            if capture is None:
                continue
            assert [r.name for r in capture.records] == names[: len(capture.records)]
            assert all(record.error is None for record in capture.records[:-1])
            for one, other in zip(capture.records[:-1], whole.records, strict=False):
                assert (one.shape, one.dtype, one.partial) == (
                    other.shape, other.dtype, other.partial,
                )  # fmt: skip


@few
@given(st.integers(0, 200), st.binary(max_size=8))
def test_max_files_patched_anywhere(at: int, patch: bytes) -> None:
    good = max_file(zeros("a", 0x51, (2, 3), 4), zeros("b", 0x50, (), 2), zeros("c", 0x8D, (0,), 8))
    survive("x.max", good[:at] + patch + good[at + len(patch) :])
    survive("x.max", good[:at])


@few
@given(st.binary(max_size=120), st.integers(0, 130))
def test_max_headers_of_random_bytes(header: bytes, length: int) -> None:
    survive("x.max", MAGIC + bytes(4) + b"\1\0\0\0" + length.to_bytes(8, "little") + header)


@few
@given(st.text(max_size=30))
def test_raw_option_of_any_text(raw: str) -> None:
    survive("x", bytes(8), raw)


@few
@given(
    st.text(st.sampled_from("Writngdebuay tnsof'10x64f32/\n"), max_size=80), st.text(max_size=20)
)
def test_log_lines_beside_raw_files(kind: str, path: str) -> None:
    line = f"Writing debug binary tensor {kind} of 8 bytes to '{path}'\n"
    with directory() as folder:
        (folder / "x").write_bytes(bytes(8))
        (folder / "run.log").write_text(
            line + "Writing debug binary tensor 2xf32 of 8 bytes to 'o/x'\n", encoding="utf-8"
        )
        assert [r.name for r in open_capture(folder).records] == ["x"]
