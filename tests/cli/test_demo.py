"""The demo: each fault shows at the module where it was planted, and nothing shows without one."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

from layertui.capture import open_capture
from layertui.capture.demo.factories import described
from layertui.capture.demo.faults import FAULTS, NAMES, Fault, fault_named
from layertui.capture.demo.shipped import ARCHIVE, SHIPPED, is_shipped, pack, unpack
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.values import upcast
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison
from support.screens.demo_models import DemoModels, demo_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoModels]:
    with demo_models(tmp_path_factory.mktemp("demo")) as made:
        yield made


def measured(reference: Path, candidate: Path) -> Comparison:
    comparison = Comparison(open_capture(reference), open_capture(candidate))
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
def test_the_fault_shows_where_it_was_planted(models: DemoModels, fault: Fault) -> None:
    comparison = measured(*models.captures(fault, "float32"))
    first = comparison.first_divergence()
    assert (first.module if first else None) == fault.module
    assert comparison.exit_status() == (0 if fault.module is None else 1)


def test_bfloat16_without_a_fault_is_noise(models: DemoModels) -> None:
    comparison = measured(*models.captures(fault_named("none"), "bfloat16"))
    assert comparison.first_divergence() is None
    noisy = [getattr(m, "relative_l2", None) or 0.0 for m in comparison.measurements]
    assert max(noisy) > 1e-3  # two implementations, not one run twice


def test_the_two_sides_are_made_unlike(models: DemoModels) -> None:
    reference, candidate = map(open_capture, models.captures(fault_named("none"), "float32"))
    shapes = {record.name: record.shape for record in candidate.records}
    assert shapes["model.layers.layers.0.self_attn.qkv_proj-output"] == (10, 128)
    assert shapes["model.lm_head-output"] == (1, 320)
    names = {record.name: record.shape for record in reference.records}
    assert names["model.model.layers.0.self_attn.q_proj-output"] == (1, 10, 64)
    assert "model.model.layers.0.self_attn-input_position_embeddings_1" in names
    assert reference.order_known and candidate.order_known
    assert reference.unreadable == candidate.unreadable == 0


def test_a_capture_is_what_the_modules_saw(tmp_path: Path) -> None:
    """Against torch itself: every written output is the module's, inputs before outputs."""
    import torch

    from layertui.capture.demo.demo import record_call
    from layertui.capture.load import load
    from layertui.capture.values import upcast

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 3)

        def forward(self, x: Any, *, scale: Any) -> Any:
            first = self.inner(x)
            return {"sum": first + self.inner(x * scale), "parts": (first[:, :2], None)}

    torch.manual_seed(0)
    block = Block()
    x, scale = torch.randn(2, 4), torch.tensor(2.0)
    names = record_call(block, str(tmp_path), x, scale=scale)
    assert names == [
        "model.inner-input_0", "model.inner-output",
        "model.inner(2)-input_0", "model.inner(2)-output",
        "model-input_0", "model-input_scale", "model-output_sum", "model-output_parts_0",
    ]  # fmt: skip
    records = {record.name: record for record in open_capture(tmp_path).records}
    assert list(records) == names
    for name, expected in (
        ("model.inner(2)-output", block.inner(x * scale)),
        ("model-output_parts_0", block.inner(x)[:, :2]),
        ("model-input_scale", scale),
    ):
        record = records[name]
        assert record.locator is not None and record.dtype is not None
        values = torch.from_numpy(upcast(load(record.locator), record.dtype).copy())
        assert torch.equal(values, expected.detach())


@pytest.mark.torch
def test_command_writes_both_sides_and_says_where(tmp_path: Path, private_home: Path) -> None:
    """Run where a stranger's torch.py lies: nothing is imported from the working directory."""
    (tmp_path / "torch.py").write_text("raise SystemExit('a stranger')")
    done = subprocess.run(
        [sys.executable, "-I", "-m", "layertui.cli.main", "demo", "--no-tui", "--fault", "nan-row",
         "--seed", "7"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = done.stdout.splitlines()
    reference, candidate = (Path(line.split()[-1]) for line in out[:2])
    assert reference.is_relative_to(private_home / "cache" / "layertui" / "demo")
    assert out[2] == f"open them with:  layertui {reference} {candidate}"
    first = measured(reference, candidate).first_divergence()
    assert first is not None and first.module == "layers.4.mlp.down_proj"


def test_the_screen_opens_on_the_demo(tmp_path: Path) -> None:
    """The README's first command, in a terminal: the list, `f` goes to the fault, `q` leaves."""
    command = [sys.executable, "-m", "layertui.cli.main", "demo", "-o", str(tmp_path / "new")]
    screen = Terminal(command)
    try:
        screen.wait_for("DIVERGED")
        screen.send("f")
        screen.wait_for("attn.o_proj-input_0")
        screen.send("q")
        assert screen.ended() == 0
    finally:
        screen.close()


class Terminal:
    """A program in a pseudo-terminal of 120 x 40, its screen kept by pyte."""

    def __init__(self, command: list[str]) -> None:
        self.screen = pyte.Screen(120, 40)
        self.stream = pyte.ByteStream(self.screen)
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            environ = {**os.environ, "TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.execve(command[0], command, environ)

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not any(text in line for line in self.screen.display):
            left = end - time.monotonic()
            assert left > 0 and self._read(left), "\n".join(self.screen.display)

    def send(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def ended(self) -> int:
        while self._read(60.0):
            pass
        _, status = os.waitpid(self.child, 0)
        self.child = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.terminal)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # Linux says EIO when the other end has closed
            return False
        self.stream.feed(data)
        return bool(data)


def test_a_directory_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert status_of(["demo", "--no-tui", "-o", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["mine.txt"]


def test_a_child_that_dies_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("layertui.cli.commands.demo.CHILD", "raise SystemExit('no torch here')")
    assert status_of(["demo", "--no-tui", "--seed", "1", "-o", str(tmp_path / "new")]) == 2
    err = capsys.readouterr().err
    assert err == "layertui: the demo's model did not run: no torch here\n"


def test_list_faults_and_help_need_no_torch() -> None:
    code = (
        "import sys; from layertui.cli.main import status_of; "
        "status_of(['demo', '--list-faults']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert lines.pop() == "False"
    assert [line.split()[0] for line in lines] == list(NAMES)


# --- what is shipped

NO_TORCH = (
    "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "  # not installed
    "from layertui.cli.main import run; run()"
)


def without_torch(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NO_TORCH, *args], capture_output=True, text=True, timeout=120
    )


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size < 1_600_000  # two thirds of it are the reference's weights
    assert SHIPPED[0] == "none" and set(SHIPPED) <= set(NAMES)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_captures_show_the_fault_without_torch(name: str, tmp_path: Path) -> None:
    done = without_torch("demo", "--no-tui", "--fault", name, "-o", str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    comparison = measured(tmp_path / "new" / "reference", tmp_path / "new" / "candidate")
    first = comparison.first_divergence()
    assert (first.module if first else None) == fault_named(name).module
    assert comparison.exit_status() == (0 if name == "none" else 1)


@pytest.mark.parametrize("wanted", [["--fault", "norm-eps"], ["--dtype", "bfloat16"],
                                    ["--seed", "1"]])  # fmt: skip
def test_what_is_not_shipped_needs_the_extra(wanted: list[str], tmp_path: Path) -> None:
    done = without_torch("demo", "--no-tui", *wanted, "-o", str(tmp_path / "new"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert " ".join(wanted) in line and "the extra 'torch': pip install " in line
    assert not (tmp_path / "new").exists()


def test_the_list_says_which_faults_need_torch() -> None:
    lines = without_torch("demo", "--list-faults").stdout.splitlines()
    ready = [line.split()[0] for line in lines if not line.endswith("(needs torch)")]
    assert sorted(ready) == sorted(SHIPPED)
    assert all(is_shipped(name, 0, "float32") for name in ready)
    assert not is_shipped("none", 0, "bfloat16") and not is_shipped("none", 1, "float32")


def test_shipped_captures_are_those_of_the_models(models: DemoModels, tmp_path: Path) -> None:
    """Made again with this torch: the same records, and the same values up to rounding."""
    made = models.captures(fault_named("attention-scale"), "float32")
    for new, old in zip(made, unpack(str(tmp_path), "attention-scale"), strict=True):
        fresh, kept = open_capture(new), open_capture(old)
        assert [record.name for record in fresh.records] == [record.name for record in kept.records]
        for one, other in zip(fresh.records, kept.records, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.locator and other.locator and one.dtype
            x, y = (upcast(load(each.locator), one.dtype) for each in (one, other))
            assert abs(x - y).max() < 1e-3, one.name


def test_an_archive_is_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name in ("a", "b"):
        pack(tmp_path / name, ["none"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_archive_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar.xz").write_bytes(ARCHIVE.read_bytes()[:1000])
    monkeypatch.setattr("layertui.capture.demo.shipped.ARCHIVE", tmp_path / "x.tar.xz")
    with pytest.raises(CaptureError, match="own captures cannot be read"):
        unpack(str(tmp_path / "out"), "none")


# --- rerun


def test_captures_say_which_model_made_them(tmp_path: Path) -> None:
    reference, candidate = map(open_capture, unpack(str(tmp_path), "attention-scale"))
    assert candidate.run is not None and reference.run is not None
    assert candidate.run["model"] == described("attention-scale", 0, "float32")
    assert reference.run["model"] == described(None, 0, "float32")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("fault", "layers"),
    [
        ("weight-scale", ["layers.3.mlp.down_proj", "layers.4.mlp"]),
        ("attention-scale", ["layers.2.self_attn", "layers.3.self_attn"]),
    ],
)
def test_layers_of_the_demo_run_again(
    fault: str, layers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer with the fault is wrong on its own; another one is not. Attention takes the rotary
    table from the candidate, which alone has one.
    """
    sides = unpack(str(tmp_path), fault)
    assert status_of(["rerun", *sides, *layers, "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["blamed"] == [name for name in layers if name.startswith("layers.3")]
    assert [row["layer"] for row in report["rows"]] == layers


def test_without_torch_a_rerun_names_the_extra(tmp_path: Path) -> None:
    sides = unpack(str(tmp_path), "weight-scale")
    done = without_torch("rerun", *sides, "layers.4.mlp")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("layertui: running layers in PyTorch needs the extra 'torch': pip")


@pytest.mark.parametrize(
    "text",
    [
        "", "fault=none", "seed=0 dtype=int8", "seed=x dtype=float32",
        "fault=rm seed=0 dtype=float32", "seed=0 dtype='float32",
    ],
)  # fmt: skip
def test_a_factory_refuses_other_texts(text: str) -> None:
    pytest.importorskip("torch")
    from layertui.capture.demo.factories import candidate

    with pytest.raises(CaptureError, match="names no model of the demo"):
        candidate(text)
