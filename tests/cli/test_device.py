"""`layertui compare --device`, on CPU tensors: the same reports, and one line for what cannot be.
None of this runs on a GPU.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from layertui.cli.main import status_of
from layertui.compare.device import seen, worker
from layertui.compare.device.seen import seen_by_torch
from layertui.compare.device.worker import ON_CPU_TENSORS, TorchDevice
from support.small_captures import huge_sides
from support.sums.nearly import assert_nearly


def compare(*args: object) -> int:
    return status_of(["compare", *map(str, args)])


def report(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON report; nothing is said besides."""
    status = compare(*args, "--format", "json", "--no-cache", "--threads", "1")
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    del found["command"]
    return status, found


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    ["llama-f32", "llama-bf16", "llama_v3-f32", "llama_steps-f32", "llama_v3_badweights-f32",
     "olmo2-f32"],
)  # fmt: skip
def test_reports_are_those_without(
    real: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = real / name / "torch_dump", real / name / "max_dump"
    want = report(capsys, *sides)
    devices: list[TorchDevice] = []

    class Kept(TorchDevice):
        def start(self) -> None:
            devices.append(self)
            super().start()

    monkeypatch.setattr(worker, "TorchDevice", Kept)
    monkeypatch.setenv(ON_CPU_TENSORS, "1")
    found = report(capsys, *sides, "--device", "cuda")
    assert_nearly(found, want)
    assert devices[0].passed > 10


@pytest.mark.torch
def test_this_process_never_imports_torch(real: Path) -> None:
    code = (
        "import sys; from layertui.cli.main import status_of; status = status_of(sys.argv[1:]); "
        "sys.exit(9 if 'torch' in sys.modules else status)"
    )
    sides = real / "llama-f32" / "torch_dump", real / "llama-f32" / "max_dump"
    options = ["--device", "cuda", "--no-cache"]
    for args in (["compare", *map(str, sides), *options], ["--where"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True,
            env={**os.environ, ON_CPU_TENSORS: "1"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.torch
def test_a_lost_process_is_one_note(
    real: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Killed(TorchDevice):
        def start(self) -> None:
            super().start()
            assert self.pid is not None
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(worker, "TorchDevice", Killed)
    monkeypatch.setenv(ON_CPU_TENSORS, "1")
    sides = real / "llama-f32" / "torch_dump", real / "llama-f32" / "max_dump"
    assert compare(*sides, "--device", "cuda", "--no-cache") == 0
    assert capsys.readouterr().err == (
        "layertui: the process that measured on cpu was ended by SIGKILL: "
        "its pairs were measured on the CPU\n"
    )


@pytest.mark.torch
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    sides = huge_sides(tmp_path, (1 << 15, 1 << 16))
    command = [sys.executable, "-m", "layertui.cli", "compare", *map(str, sides)]
    options = ["--device", "cuda", "--threads", "1", "--no-cache"]
    program = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, ON_CPU_TENSORS: "1"},
    )  # fmt: skip
    child = busy_child(program.pid)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert err.strip() == "layertui: interrupted"
    assert not psutil.pid_exists(child)


def busy_child(parent: int) -> int:
    """The one process below `parent` as soon as it has read a file's first blocks."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in psutil.Process(parent).children():
            if child.io_counters().read_chars > 500_000_000:  # torch itself is less
                return child.pid
        time.sleep(0.05)
    raise AssertionError("it was not asked for anything")


@pytest.mark.torch
def test_without_a_gpu_it_is_one_line(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not seen_by_torch().startswith("no CUDA device"):
        pytest.skip("there is a GPU")
    sides = real / "llama-f32" / "torch_dump", real / "llama-f32" / "max_dump"
    assert compare(*sides, "--device", "gpu") == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "layertui: --device cuda: torch sees no CUDA device\n")
    assert compare(*sides, "--device", "auto") == 0
    assert capsys.readouterr().err == ""


def test_without_torch_it_is_one_line(
    real: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "has_package", lambda _: False)
    sides = real / "llama-f32" / "torch_dump", real / "llama-f32" / "max_dump"
    assert compare(*sides, "--device", "cuda:0") == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("layertui: --device cuda:0 needs the extra 'torch': pip install")
    assert compare(*sides, "--device", "auto") == 0
    assert compare(*sides, "--device", "cpu") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--scheduler", "local", "--device", "auto"),
            "--device and --scheduler: give one of them",
        ),
        (("--processes", "2", "--device", "cuda"), "--device and --processes: give one of them"),
    ],
)
def test_one_place_at_a_time(
    real: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = real / "llama-f32" / "torch_dump", real / "llama-f32" / "max_dump"
    assert compare(*sides, *options) == 2
    assert capsys.readouterr() == ("", f"layertui: {said}\n")


def test_where_says_what_torch_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seen, "has_package", lambda _: False)
    assert status_of(["--where"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "device  no torch"


@pytest.mark.torch
def test_where_asks_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["--where"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(("device  no CUDA device (torch ", "device  cuda:0 "))
