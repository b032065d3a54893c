"""`layertui capture max` and `both` with the real MAX; without it, one line says how to get it.

Tests that compile a whole model share its compiled form through MAX's own cache.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.capture.engines.max_refusals import crashed, explained
from layertui.capture.extras import install_command
from layertui.capture.models.run_plan import Plan
from layertui.cli.main import status_of
from support.tiny_checkpoints import (
    IDS,
    IDS_TEXT,
    other_config,
    with_wrong_weight,
    write_config,
)

CLI = [sys.executable, "-m", "layertui.cli.main"]


def capture(*args: object) -> int:
    return status_of(["capture", *map(str, args)])


def compare(*args: object) -> int:
    return status_of(["compare", *map(str, args)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that says why; lines of progress may stand before it."""
    *_, err = capsys.readouterr().err.splitlines()
    assert err.startswith("layertui: "), err
    return err


@pytest.fixture
def max_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX keeps what it compiled where it always does."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


# --- without MAX


@pytest.mark.parametrize("command", ["max", "both"])
def test_without_max_one_line_says_how_to_get_it(
    command: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "max", None)  # as if it were not installed
    assert capture(command, llama, "-o", tmp_path / "o") == 2
    assert install_command("max") in said(capsys)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("option", [["--image", __file__], ["--stats-only"]])
def test_both_refuses_what_max_cannot_do(
    option: list[str], llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture("both", llama, "-o", tmp_path / "o", *option) == 2
    assert option[0] in said(capsys)


# --- how it ends badly: a factory stands for the model

FACTORY = """
import os, sys, time
def crash(model_dir):
    import ctypes
    sys.stderr.write("last words\\n")
    sys.stderr.flush()
    os.kill(os.getpid(), 11)
def error(model_dir):
    raise ValueError("first line\\nsecond line")
def lacking(model_dir):
    import no_such_package
def silent(model_dir):
    return lambda rows: None
def shouting(model_dir):
    os.write(1, b"\\xff{\\"done\\": true}\\n" * 1000)
    return lambda rows: os.abort()
def slow(model_dir):
    def step(rows):
        open("waiting", "w").write(str(os.getpid()))
        time.sleep(60)
    return step
def graph(model_dir):
    import numpy as np
    from max.driver import CPU
    from max.dtype import DType
    from max.engine import InferenceSession
    from max.graph import DeviceRef, Graph, TensorType
    kind = TensorType(DType.float32, [2, 3], device=DeviceRef.CPU())
    def forward(x):
        x.print("mlp_A")
        y = x * 2
        y.print("block.mlp-output")
        return y
    model = InferenceSession(devices=[CPU()]).load(Graph("g", forward=forward, input_types=[kind]))
    ones = np.ones((2, 3), dtype=np.float32)
    return lambda rows: model.execute(ones * rows[0][0])
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "max_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return "max_factory"


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("crash", "MAX crashed (SIGSEGV; see"),
        ("error", "MAX says ValueError: first line (see "),
        ("lacking", "MAX lacks the package 'no_such_package'"),
        ("silent", "wrote no tensors"),
        ("shouting", "MAX crashed (SIGABRT; see"),
    ],
)
def test_a_failure_is_one_line(
    factory: str, function: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture("max", "x", "-o", tmp_path / "o", "--factory", f"{factory}:{function}") == 2
    assert words in said(capsys)
    told = json.loads((tmp_path / "o" / "layertui.json").read_text())
    assert told["complete"] is False
    if function == "crash":
        assert "last words" in (tmp_path / "o" / "max_stderr.log").read_text()


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
def test_ctrl_c_ends_the_child(factory: str, tmp_path: Path) -> None:
    command = ["capture", "max", "x", "-o", "o", "--factory", f"{factory}:slow"]
    program = subprocess.Popen(
        [*CLI, *command], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    started = time.monotonic()
    mark = tmp_path / "waiting"
    while not mark.exists() or not mark.read_text():
        assert program.poll() is None and time.monotonic() - started < 300
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=300)
    assert program.returncode == 130
    assert err.strip() == "layertui: interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert json.loads((tmp_path / "o" / "layertui.json").read_text())["complete"] is False


REFUSED = [
    ("ValueError: No architecture found for BloomForCausalLM", "MAX has no architecture BloomFor"),
    ("ValueError: quantization_encoding of 'float32' not supported by MAX engine.",
     "MAX does not run this model in float32; try --dtype bfloat16 (on a CPU with --allow-"),
    ("ValueError: The encoding 'bfloat16' is not compatible with the selected device type 'cpu'.",
     "MAX does not run bfloat16 on a CPU; --allow-unsupported runs it nevertheless, --dtype float"),
    ("ValueError: stop_token_ids cannot be empty", "MAX needs to know which token ends a"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), REFUSED)
def test_what_max_refuses_comes_with_what_to_try(error: str, words: str) -> None:
    assert (explained(error, Plan("m", ())) or "").startswith(words)


def test_what_was_tried_is_not_proposed() -> None:
    plan = Plan("m", (), allow_unsupported=True)
    assert "--allow-unsupported" not in (explained(REFUSED[1][0], plan) or "")
    assert explained(REFUSED[2][0], plan) is None
    assert "--allow-unsupported" not in crashed("SIGSEGV", "log", plan)
    assert "--allow-unsupported" in crashed("SIGSEGV", "log", Plan("m", ()))
    assert explained("ValueError: something else", Plan("m", ())) is None


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("qwen3", "MAX crashed (SIGSEGV; see"),
        ("gemma3", "try --dtype bfloat16"),
        ("bloom", "MAX has no architecture BloomForCausalLM; --factory"),
    ],
)
def test_architectures_that_max_does_not_run(
    kind: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_config(tmp_path / kind, other_config(kind))
    status = capture("max", model, "-o", tmp_path / "o", "--device", "cpu", "--input-ids", "3,4")
    assert status == 2
    assert words in said(capsys)


# --- what is captured


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
@pytest.mark.usefixtures("max_cache")
def test_what_a_model_prints_itself_is_captured(factory: str, tmp_path: Path) -> None:
    import numpy as np

    from layertui.capture.load import load

    options = ("--factory", f"{factory}:graph", "--input-ids", "5",
               "--mode", "generate", "--max-new-tokens", 2)  # fmt: skip
    assert capture("max", "x", "-o", tmp_path / "o", *options) == 0
    opened = open_capture(tmp_path / "o")
    found = [(record.step, record.module, record.slot) for record in opened.records]
    assert found == [
        (step, *what) for step in (0, 1) for what in (("mlp_A", "value"), ("block.mlp", "output"))
    ]
    assert opened.order_known and opened.complete
    locators = [record.locator for record in opened.records]
    assert locators[0] is not None and locators[1] is not None
    assert np.array_equal(load(locators[0]), np.full((2, 3), 5, np.float32))
    assert np.array_equal(load(locators[1]), np.full((2, 3), 10, np.float32))


@pytest.fixture(scope="module")
def both(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny llama by torch and by MAX; compiles for minutes when MAX's cache is cold."""
    out = tmp_path_factory.mktemp("both")
    done = subprocess.run(
        [*CLI, "capture", "both", str(llama), "-o", str(out), "--input-ids", IDS_TEXT],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
def test_both_frameworks_agree(both: Path) -> None:
    reference, candidate = both / "torch_dump", both / "max_dump"
    assert compare(reference, candidate) == 0
    opened = open_capture(candidate)
    assert opened.order_source == "max_stderr.log"
    assert opened.input_ids == open_capture(reference).input_ids == [IDS]
    assert opened.complete is True
    modules = {record.module for record in opened.records}
    assert {"model.embed_tokens", "model.layers.layers.1.mlp.down_proj", "model"} <= modules


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
@pytest.mark.usefixtures("both", "max_cache")
def test_a_wrong_weight_is_found(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = with_wrong_weight(llama, tmp_path / "wrong", "model.layers.1.mlp.down_proj.weight")
    options = ("-o", tmp_path / "o", "--candidate-model", wrong, "--input-ids", IDS_TEXT)
    assert capture("both", llama, *options) == 0
    capsys.readouterr()
    dumps = [tmp_path / "o" / name for name in ("torch_dump", "max_dump")]
    assert compare(*dumps, "--format", "json") == 1
    first = json.loads(capsys.readouterr().out)["first_divergence"]
    assert first["module"] == "layers.1.mlp.down_proj"
    assert first["slot"] == "output"


@pytest.mark.max
@pytest.mark.xdist_group("models of max")
@pytest.mark.usefixtures("both", "max_cache")
def test_a_matrix_of_generations(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--batch-size", "1,2", "--seq-len", 6, "--mode", "generate", "--max-new-tokens", 3)
    assert capture("both", llama, "-o", tmp_path / "o", *options) == 0
    dumps = [tmp_path / "o" / name for name in ("torch_dump", "max_dump")]
    capsys.readouterr()
    assert compare(*dumps) == 0
    out = capsys.readouterr().out
    assert "case b1: agrees" in out and "case b2: agrees" in out
    for case in ("b1", "b2"):
        opened = open_capture(dumps[1] / case)
        assert {record.step for record in opened.records} == {0, 1, 2}
    assert capture("max", llama, "-o", tmp_path / "o" / "max_dump", "--overwrite",
                   "--input-ids", IDS_TEXT) == 0  # fmt: skip
    assert not (tmp_path / "o" / "max_dump" / "b1").exists()
    assert open_capture(tmp_path / "o" / "max_dump").input_ids == [IDS]
