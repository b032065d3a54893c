"""Where the execution order of a dump is looked for, and what is believed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.capture.dtypes import split_type
from layertui.capture.names import natural_key
from layertui.capture.order.execution_order import find_hints, read_names, written_lines
from support.max_bytes import max_file, zeros


def line(path: str, kind: str = "2xf32") -> str:
    return f"Writing debug binary tensor {kind} of 8 bytes to '{path}'\n"


def dump(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.max").write_bytes(max_file(zeros(name, 0x51, (2,), 4)))
    return folder


def order(path: Path) -> tuple[list[str], bool, str]:
    capture = open_capture(path)
    return [r.name for r in capture.records], capture.order_known, capture.order_source


def test_names_files_with_and_without_numbers(tmp_path: Path) -> None:
    path = tmp_path / "tensor_names.txt"
    path.write_text("b\n\na-output\n")
    assert read_names(path.as_posix()) == ["b", "a-output"]
    for text in (
        "1: b\n0: a\n2: c d\n",
        "1) b\n0) a\n2) c d\n",
        "1. b\n0. a\n2. c d\n",
        "1\tb\n0\ta\n2\tc d",
    ):
        path.write_text(text)
        assert read_names(path.as_posix()) == ["a", "b", "c d"]


def test_names_that_begin_with_a_number_are_names(tmp_path: Path) -> None:
    path = tmp_path / "tensor_names.txt"
    path.write_text("1.weight-output\n0.mlp-output\n")
    assert read_names(path.as_posix()) == ["1.weight-output", "0.mlp-output"]
    path.write_text("9" * 5000 + ": a\n")
    assert len(read_names(path.as_posix())) == 1


def test_types_of_a_log() -> None:
    assert split_type("10x64xf32") == ("f32", (10, 64))
    assert split_type("ui32") == ("ui32", ())
    for bad in ("?x64xf32", "-1xf32", "x" * 3 + "f32", "9" * 30 + "xf32"):
        with pytest.raises(ValueError, match="is not a shape"):
            split_type(bad)


def test_real_log_lines(real: Path) -> None:
    lines = list(written_lines(str(real / "console" / "writing_lines_stderr.txt")))
    assert len(lines) == 65
    assert (lines[0].name, lines[0].dtype, lines[0].shape) == (
        "model.embed_tokens-input_0.max", "si64", (10,),
    )  # fmt: skip


def test_real_log_and_real_names_file_tell_the_same_order(real: Path, tmp_path: Path) -> None:
    pair = real / "llama-f32"
    names = [r.name for r in open_capture(pair / "max_dump").records]
    assert len(names) == 65
    alone = tmp_path / "names"
    shutil.copytree(pair / "max_dump", alone, ignore=shutil.ignore_patterns("*.txt"))
    assert order(alone)[1:] == (False, "unknown")
    shutil.copy(real / "console" / "writing_lines_stderr.txt", alone / "run.log")
    assert order(alone) == (names, True, "run.log")
    (alone / "run.log").rename(tmp_path / "stderr.txt")
    assert order(alone) == (names, True, "stderr.txt beside the directory")


def test_names_file_beside_the_directory(real: Path, tmp_path: Path) -> None:
    """As `real/llama-f32`, without the copy that lies in the dump itself."""
    shutil.copytree(real / "llama-f32", tmp_path / "pair")
    dumped = tmp_path / "pair" / "max_dump"
    (dumped / "tensor_names.txt").unlink()
    names, known, source = order(dumped)
    assert (known, source) == (True, "max_tensor_names.txt beside the directory")
    listed = (tmp_path / "pair" / "max_tensor_names.txt").read_text().split()
    assert names == listed


def test_file_times_are_not_believed(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", "b", "a", "c")
    for age, name in enumerate(("c", "a", "b")):
        os.utime(folder / f"{name}.max", (1000 + age, 1000 + age))
    assert order(folder) == (["a", "b", "c"], False, "unknown")


def test_unknown_order_counts_naturally(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", "layers.10", "layers.9", "layers.2-output")
    assert order(folder)[0] == ["layers.2-output", "layers.9", "layers.10"]
    assert natural_key("a2") < natural_key("a10") < natural_key("b")
    assert natural_key("1²") > natural_key("1")


def test_log_of_another_run_beside_the_directory_is_not_believed(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", "a", "b", "c")
    (tmp_path / "other.log").write_text(line("o/c.max") + line("o/x.max") + line("o/y.max"))
    assert order(folder)[1:] == (False, "unknown")


def test_order_that_does_not_name_every_record_is_unknown_and_said(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", "a", "b", "c")
    (folder / "tensor_names.txt").write_text("c\nb\n")
    capture = open_capture(folder)
    assert [r.name for r in capture.records] == ["c", "b", "a"]
    assert (capture.order_known, capture.order_source) == (False, "unknown")
    assert capture.notes == ["tensor_names.txt does not name every record: order unknown"]


def test_print_hook_writes_its_names_into_a_step_directory(tmp_path: Path) -> None:
    """`PrintHook(export_path=D)` writes `D/0/tensor_names.txt`; MAX's session writes into D."""
    folder = dump(tmp_path / "d", "a", "b")
    (folder / "0").mkdir()
    (folder / "0" / "tensor_names.txt").write_text("b\na\n")
    assert order(folder) == (["b", "a"], True, "tensor_names.txt")


def test_steps_of_a_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for step in ("0", "1", "2"):
        dump(out / step, "a", "b")
    text = "".join(line(f"/x/out/{s}/{n}.max") for s in (0, 1, 2) for n in ("b", "a"))
    (tmp_path / "run.log").write_text(text)
    capture = open_capture(out)
    assert [(r.step, r.name) for r in capture.records] == [
        (s, n) for s in (0, 1, 2) for n in ("b", "a")
    ]
    assert capture.order_known
    (out / "run.log").write_text(text)
    assert order(out / "2") == (["b", "a"], True, "run.log beside the directory")


def test_one_log_of_two_runs(tmp_path: Path) -> None:
    first, second = dump(tmp_path / "one", "a", "b"), dump(tmp_path / "two", "a", "b")
    (tmp_path / "run.log").write_text(
        line("out/one/b.max")
        + line("out/one/a.max")
        + line("out/two/a.max")
        + line("out/two/b.max")
    )
    assert order(first)[0] == ["b", "a"]
    assert order(second)[0] == ["a", "b"]


def test_a_names_file_that_cannot_be_read_costs_only_the_order(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", "b", "a")
    (folder / "tensor_names.txt").mkdir()
    assert order(folder) == (["a", "b"], False, "unknown")


def test_hints_of_a_directory_that_is_gone(tmp_path: Path) -> None:
    hints = find_hints(str(tmp_path / "gone"), [], {"a"})
    assert (hints.source, hints.positions) == ("unknown", {})
