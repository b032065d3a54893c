"""`open_capture` end to end: the real captures, mixed and broken directories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from layertui.capture import Capture, CaptureError, open_capture, read_headers
from layertui.capture.load import load
from layertui.capture.values import upcast
from support.max_bytes import max_file, zeros

PAIRS = ("llama-bf16", "llama-f32", "llama_steps-f32", "llama_v3-f32", "llama_v3_badweights-f32",
         "olmo2-f32")  # fmt: skip
SIDES = [f"{pair}/{side}" for pair in PAIRS for side in ("torch_dump", "max_dump")]


def tensor_files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.suffix in (".max", ".pt")]


def put(folder: Path, *names: str) -> Path:
    """Small real files: the suffix says what kind."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".max":
            path.write_bytes(max_file(zeros(path.stem, 0x51, (2,), 4)))
        elif path.suffix == ".pt":
            torch.save(torch.arange(3.0), path)
        else:
            np.save(path, np.arange(3, dtype=np.float32))
    return folder


@pytest.mark.parametrize("side", SIDES)
def test_real_captures(real: Path, side: str) -> None:
    path = real / side
    capture = open_capture(path)
    assert len(capture.records) == len(tensor_files(path))
    assert {r.path for r in capture.records} == {str(file) for file in tensor_files(path)}
    assert capture.unreadable == 0
    assert capture.root == "model"
    assert capture.framework == ("torch" if "torch" in side else "max")
    assert capture.notes == []
    for record in capture.records:
        assert record.locator is not None
        assert record.shape == record.locator.shape
        assert load(record.locator).shape == record.shape
    known = "torch" in side or side.startswith("llama-f32")
    assert capture.order_known == known
    assert capture.order_source == ("tensor_names.txt" if known else "unknown")


def test_order_of_a_torch_dump_is_its_names_file_step_by_step(real: Path) -> None:
    path = real / "llama_steps-f32" / "torch_dump"
    records = open_capture(path).records
    for step in (0, 1, 2):
        listed = (path / str(step) / "tensor_names.txt").read_text().split()
        assert [r.name for r in records if r.step == step] == listed
    assert [r.step for r in records] == sorted(r.step for r in records)


def test_torch_values_are_what_torch_loads(real: Path) -> None:
    for name in ("llama-bf16", "llama-f32"):
        for record in open_capture(real / name / "torch_dump").records[::7]:
            assert record.locator is not None
            assert record.dtype is not None
            theirs = torch.load(record.path, weights_only=True)
            ours = upcast(load(record.locator), record.dtype)
            wide = theirs.float() if theirs.is_floating_point() else theirs
            np.testing.assert_array_equal(ours, wide.numpy())


LIST_ONLY = """
import sys
from layertui.capture import open_capture
for path in sys.argv[1:]:
    assert open_capture(path).records
heavy = {"numpy", "torch", "safetensors", "textual", "rich", "click"} & set(sys.modules)
assert not heavy, heavy
"""


def test_listing_imports_neither_numpy_nor_torch(real: Path, tmp_path: Path) -> None:
    (tmp_path / "py_x.txt").write_text("# Tensor: x\n# Shape: 1\n# Data:\n1.0\n")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "x").write_bytes(bytes(8))
    (raw / "run.log").write_text("Writing debug binary tensor 2xf32 of 8 bytes to 'o/x'\n")
    paths = [real / "llama-bf16" / "torch_dump", real / "llama-bf16" / "max_dump",
             real / "console" / "print_styles_console.txt", tmp_path / "py_x.txt", raw]  # fmt: skip
    command = [sys.executable, "-c", LIST_ONLY, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_headers_can_wait_and_be_stopped(real: Path) -> None:
    path = real / "llama-f32" / "max_dump"
    capture = open_capture(path, headers=False)
    assert not any(record.ready for record in capture.records)
    assert capture.nbytes == 0
    assert read_headers(capture, cancelled=lambda: True) is False
    assert not any(record.ready for record in capture.records)
    seen: list[tuple[int, int]] = []
    assert read_headers(capture, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 65)
    assert capture.nbytes == sum(record.locator.count * load(record.locator).itemsize
                                 for record in capture.records if record.locator)  # fmt: skip
    assert capture.main_dtype() == "float32"
    again = [(r.name, r.shape) for r in capture.records]
    assert read_headers(capture)
    assert [(r.name, r.shape) for r in capture.records] == again


def test_single_files(real: Path) -> None:
    torch_dir = real / "llama-f32" / "torch_dump" / "0"
    for path in (torch_dir / "model.lm_head-output.pt",
                 real / "llama-f32" / "max_dump" / "model.lm_head-output.max"):  # fmt: skip
        capture = open_capture(path)
        assert [r.name for r in capture.records] == ["model.lm_head-output"]
        assert capture.records[0].slot == "output"


def test_mixed_directory(tmp_path: Path) -> None:
    put(tmp_path, "a-output.max", "b-output.pt", "c-output.npy", "sub/d-output.npy")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / ".hidden.max").write_bytes(b"junk")
    (tmp_path / "mystery").write_bytes(b"1234")
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["a-output", "b-output", "c-output", "sub/d-output"]
    assert capture.unreadable == 0
    assert set(capture.format.split(", ")) == {"MAX checkpoint", "torch file", "numpy file"}
    assert capture.notes == ["1 file of unknown format skipped: mystery"]


def test_a_log_among_tensor_files_is_no_part_of_the_capture(tmp_path: Path) -> None:
    put(tmp_path, "a.max", "b.max")
    (tmp_path / "run.log").write_text("loss = tensor(0.5)\n")
    (tmp_path / "silent.log").write_text("nothing\n")
    (tmp_path / "tensor_names.txt").write_text("b\na\n")
    capture = open_capture(tmp_path)
    assert [r.name for r in capture.records] == ["b", "a"]
    assert capture.order_known
    assert capture.notes == ["run.log: its prints are skipped, since there are tensor files"]


def refused(path: Path | str) -> str:
    with pytest.raises(CaptureError) as caught:
        open_capture(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_no_capture(tmp_path: Path) -> None:
    assert "empty directory" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "gone")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "x.bin").write_bytes(b"1234")
    assert "no tensors found in 2 files (README.md, x.bin)" in refused(tmp_path)
    assert "no tensors found" in refused(tmp_path / "README.md")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a directory" in refused(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "no such file" in refused(tmp_path / "link")


def test_a_pipe_in_a_directory_does_not_hang(tmp_path: Path) -> None:
    put(tmp_path, "a.max")
    os.mkfifo(tmp_path / "b.max")
    os.mkfifo(tmp_path / "run.log")
    os.mkfifo(tmp_path / "tensor_names.txt")
    assert [r.name for r in open_capture(tmp_path).records] == ["a"]


def errors(capture: Capture) -> dict[str, str | None]:
    return {record.name: record.error for record in capture.records}


def test_links(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "secret.max", "more/deep.pt")
    (outside / "py_secret.txt").write_text("# Shape: 1\n# Data:\n1.0\n")
    dump = put(tmp_path / "dump", "a.max", "real/b.npy")
    (dump / "inside.max").symlink_to(dump / "a.max")
    (dump / "out.max").symlink_to(outside / "secret.max")
    (dump / "py_out.txt").symlink_to(outside / "py_secret.txt")
    (dump / "gone.max").symlink_to(dump / "nothing")
    (dump / "folder").symlink_to(outside / "more")
    (dump / "loop").symlink_to(dump)
    capture = open_capture(dump)
    found = errors(capture)
    out = "a link that leads out of the capture directory"
    assert found == {
        "a": None, "inside": None, "real/b": None, "out": out, "gone": "a link to nothing",
    }  # fmt: skip
    assert [(r.side, r.error) for r in capture.records if r.name == "out"] == [
        (None, out), ("py", out),
    ]  # fmt: skip
    assert all(r.locator is None for r in capture.records if r.error)
    assert capture.notes == [
        f"folder: {out}", "loop: a link to a directory that it lies in",
    ]  # fmt: skip


def test_the_capture_itself_may_be_a_link(tmp_path: Path) -> None:
    dump = put(tmp_path / "dump", "a.max")
    (tmp_path / "latest").symlink_to(dump)
    assert errors(open_capture(tmp_path / "latest")) == {"a": None}


def test_duplicates_are_both_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.pt", "a.npy", "b.npy", "0/c.npy", "1/c.npy", "x/a.npy")
    capture = open_capture(tmp_path)
    assert len(capture.records) == 6
    bad = [r for r in capture.records if r.error]
    assert {Path(r.path).name for r in bad} == {"a.pt", "a.npy"}
    assert len(bad) == 2
    assert all("duplicate name" in (r.error or "") and r.locator is None for r in bad)
    assert {str(tmp_path / "a.npy") in (r.error or "") for r in bad} == {True, False}


def test_damaged_files_keep_their_rows(tmp_path: Path) -> None:
    put(tmp_path, "good.max", "cut.max", "cut.pt", "long.max", "cut.npy")
    for name in ("cut.max", "cut.pt", "cut.npy"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).rename(tmp_path / f"cut_{name[4:]}{Path(name).suffix}")
        (tmp_path / f"cut_{name[4:]}{Path(name).suffix}").write_bytes(whole[:-5])
    (tmp_path / "long.max").write_bytes(max_file(("long", 0x51, (1 << 31, 1 << 31), bytes(8))))
    (tmp_path / "empty.pt").write_bytes(b"")
    capture = open_capture(tmp_path)
    assert len(capture.records) == 6
    assert capture.unreadable == 5
    assert errors(capture)["good"] is None
    for record in capture.records:
        assert record.error is None or ("\n" not in record.error and record.locator is None)


def test_one_damaged_file_alone_cannot_be_opened(tmp_path: Path) -> None:
    put(tmp_path, "x.max")
    (tmp_path / "x.max").write_bytes(b"junk")
    assert "truncated" in refused(tmp_path / "x.max")


def test_a_file_that_cannot_be_opened_keeps_its_row(tmp_path: Path) -> None:
    put(tmp_path, "a.max", "b.max")
    capture = open_capture(tmp_path, headers=False)
    (tmp_path / "b.max").unlink()
    read_headers(capture)
    assert errors(capture) == {"a": None, "b": "cannot be read: No such file or directory"}
    (tmp_path / "b.max").mkdir()  # a directory with the name of a tensor
    put(tmp_path, "b.max/c.max")
    assert sorted(errors(open_capture(tmp_path))) == ["a", "b.max/c"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")
def test_permissions(tmp_path: Path) -> None:
    put(tmp_path, "a.max", "b.max", "locked/c.max")
    (tmp_path / "b.max").chmod(0)
    (tmp_path / "locked").chmod(0)
    capture = open_capture(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert errors(capture) == {"a": None, "b": "cannot be read: Permission denied"}
    assert capture.notes == ["locked/: cannot be listed: Permission denied"]


def test_nesting_has_a_limit_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, "a.max", "/".join("d" * 12) + "/b.max")
    capture = open_capture(tmp_path)
    assert errors(capture) == {"a": None}
    assert capture.notes == ["d/d/d/d/d/d/d/d/d: directories are nested more than 8 deep"]


def test_copy_of_a_capture_is_the_same_capture(real: Path, tmp_path: Path) -> None:
    shutil.copytree(real / "olmo2-f32" / "torch_dump", tmp_path / "copy")
    one = open_capture(real / "olmo2-f32" / "torch_dump")
    two = open_capture(tmp_path / "copy")
    assert [(r.name, r.shape, r.dtype) for r in one.records] == [
        (r.name, r.shape, r.dtype) for r in two.records
    ]
