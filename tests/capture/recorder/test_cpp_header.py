"""The header for C++ engines: compiled by g++, run, read back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from layertui.capture import Record, open_capture
from layertui.capture.cpp import include_directory
from layertui.capture.load import load

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("cpp") / "engine"
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", include_directory()]
    subprocess.run([*command, HERE / "engine.cpp", "-o", program], check=True)
    return program


def run(engine: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([engine, *map(str, arguments)], text=True, capture_output=True)


def values(record: Record) -> np.ndarray:
    assert record.error is None, record.error
    assert record.locator is not None
    return load(record.locator)


def test_what_is_written_is_read(engine: Path, tmp_path: Path) -> None:
    assert run(engine, tmp_path / "c").returncode == 0
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    assert capture.notes == []
    assert (capture.framework, capture.model) == ('engine "x"', "tiny")
    assert capture.prompt == 'say "hi"\n\té'
    assert capture.input_ids == [[3, 40]]
    records = {(r.step, r.module, r.call, r.slot): r for r in capture.records}
    assert len(records) == len(capture.records) == 9
    f32 = np.arange(60, dtype=np.float32) * np.float32(0.5) - 3
    first = records[0, "model.layers.0.mlp", 1, "output"]
    assert np.array_equal(values(first), f32.reshape(3, 4, 5))
    assert first.module_class == "MLP"
    assert np.array_equal(values(records[0, "model.layers.0.mlp", 2, "output"]), f32)
    assert np.array_equal(values(records[1, "model.layers.0.mlp", 1, "output"]), f32)
    bf16 = records[0, "model.layers.0.mlp", 1, "input_0"]
    assert bf16.dtype == "bfloat16"
    assert values(bf16).tolist() == [[0x3F80, 0xC000, 0x7FC0, 0xFF80]]
    ids = records[0, 'ids "quoted" \\ back\n\x01 😀 bad\ufffd', 1, "value"]
    assert values(ids).tolist() == [-1, 2**63 - 1, -(2**63)]
    loss, flag = records[0, "loss", 1, "value"], records[0, "flag", 1, "value"]
    assert (loss.dtype, loss.shape, values(loss).item()) == ("float64", (), 2.5)
    assert (flag.dtype, flag.shape, values(flag).item()) == ("bool", (), True)
    assert values(records[0, "empty", 1, "value"]).shape == (0, 7)
    assert np.all(values(records[0, "big", 1, "value"]) == 7)


def test_shards_are_plain_safetensors(engine: Path, tmp_path: Path) -> None:
    run(engine, tmp_path / "c")
    shards = sorted((tmp_path / "c").glob("data-*.safetensors"))
    assert len(shards) > 2
    assert sorted(int(key) for shard in shards for key in load_file(shard)) == list(range(9))
    assert not list((tmp_path / "c").glob(".*"))


@pytest.mark.parametrize("how", ["abort", "throw"])
def test_a_run_that_breaks_leaves_what_was_on_disk(engine: Path, how: str, tmp_path: Path) -> None:
    assert run(engine, tmp_path / "c", how).returncode != 0
    capture = open_capture(tmp_path / "c")
    assert capture.complete is False
    assert any("incomplete" in note for note in capture.notes)
    assert len(capture.records) == 9
    assert all(record.error is None for record in capture.records)


@pytest.mark.parametrize(("how", "words"), [("dtype", "unknown dtype f31"), ("shape", "not fit")])
def test_nonsense_is_refused(engine: Path, how: str, words: str, tmp_path: Path) -> None:
    done = run(engine, tmp_path / "c", how)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_directory_with_something_in_it_is_refused(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run(engine, tmp_path)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["notes.txt"]
