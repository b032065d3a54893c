"""`layertui capture llamacpp` where the package `llama_cpp` is not installed, and wrong input."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from layertui.capture.models.run_details import run_header
from layertui.capture.open import open_capture
from layertui.cli.main import status_of
from support.gguf_files.small import small_gguf


@pytest.fixture(autouse=True)
def without_llama_cpp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The package is gone; the only program on the PATH is what a test puts into the folder."""
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_gguf(tmp_path / "model.gguf")


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert status_of(["capture", "llamacpp", *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_says_how_to_get_the_engine(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, model, "-o", tmp_path / "out", "--prompt", "Hello")
    assert "running models in llama.cpp needs the extra 'llamacpp': pip install " in line
    assert "or llama-eval-callback on the PATH" in line
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_run(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", tmp_path / "out", "--input-ids", "1"]
    whole = model.read_bytes()
    assert "no such file; llama.cpp runs a .gguf file" in refusal(capsys, tmp_path / "x", *out)
    assert "no such file" in refusal(capsys, tmp_path, *out)
    model.write_bytes(b"this is no model, whatever its name says")
    assert "not a GGUF file: wrong magic bytes" in refusal(capsys, model, *out)
    for size in (0, 4, 23, 30, len(whole) - 33, len(whole) - 1):
        model.write_bytes(whole[:size])
        assert "truncated: " in refusal(capsys, model, *out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("", "nothing to run: give --prompt or --input-ids"),
        ("--prompt a --input-ids 1", "either a prompt or input ids"),
        ("--input-ids a", "--input-ids"),
        ("--input-ids 1 --gpu-layers many", "--gpu-layers"),
        ("--input-ids 1 --gpu-layers -1", "--gpu-layers"),
        ("--input-ids 1 --level all", "--level"),
        ("--input-ids 1 --tea", "--tea"),
    ],
)
def test_options_that_make_no_sense(
    words: str, what: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert what in refusal(capsys, model, "-o", tmp_path / "out", *words.split())


def put(folder: Path, script: str) -> None:
    """A program `llama-eval-callback`: keeps what it was called with, then runs the `script`."""
    program = folder / "llama-eval-callback"
    text = f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {folder}/words\n{script}\n'
    program.write_text(text)
    program.chmod(0o755)


def test_the_program_s_log_is_the_capture(
    model: Path, real: Path, tmp_path: Path, without_llama_cpp: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The program's part is taken by one that prints what the real one printed."""
    log = real / "llama_cpp-f32" / "log" / "eval.log"
    put(
        without_llama_cpp,
        f'while IFS= read -r line; do echo "$line"; done < {shlex.quote(str(log))}',
    )
    out = tmp_path / "out"
    words = ["capture", "llamacpp", str(model), "-o", str(out), "--prompt", "Hello world"]
    assert status_of(words) == 0
    assert "sums; the extra llamacpp records whole tensors" in capsys.readouterr().out
    assert (without_llama_cpp / "words").read_text().splitlines() == [
        "-m", str(model), "-p", "Hello world", "-ngl", "0", "-fa", "off", "-ctk", "f32", "-ctv",
        "f32",
    ]  # fmt: skip
    capture = open_capture(str(out))
    assert (capture.framework, capture.prompt, capture.complete) == (
        "llama.cpp", "Hello world", True,
    )  # fmt: skip
    assert len(capture.records) == 78 and all(record.partial for record in capture.records)
    assert run_header(str(out))["run"]["model"] == os.path.realpath(model)


def test_a_program_that_fails_is_one_line(
    model: Path, tmp_path: Path, without_llama_cpp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(without_llama_cpp, "echo loading; echo 'error: out of tea' >&2; exit 3")
    line = refusal(capsys, model, "-o", tmp_path / "out", "--prompt", "Hello")
    assert "llama-eval-callback ended with status 3: error: out of tea (see " in line
    for more, what in ((["--input-ids", "1"], "runs a prompt"),
                       (["--prompt", "a", "--include", "x"], "prints every value")):  # fmt: skip
        assert what in refusal(capsys, model, "-o", tmp_path / "other", *more)
    assert not (tmp_path / "other").exists()
