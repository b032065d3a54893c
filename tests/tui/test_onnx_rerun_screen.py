"""R on a row of an ONNX model: the capture names the file, and the layer is found wrong."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401 - without it the test is skipped
import pytest

from layertui.capture.runners.spec import RunnerSpec
from layertui.cli.main import status_of
from layertui.tui.jobs.rerun_job import RunnerAnswerError, spec_of
from support.onnx_models import modules_graph
from support.screens.tui_captures import make_app, measured, settled, until


def captured(place: Path, factor: float) -> str:
    file = modules_graph(place / "model.onnx", factor)
    values = np.random.default_rng(2).standard_normal((5, 16)).astype(np.float32)
    np.savez(place / "in.npz", x=values)
    words = ["-o", str(place / "dump"), "--inputs", str(place / "in.npz"), "--provider", "cpu"]
    assert status_of(["capture", "onnx", str(file), *words]) == 0
    return str(place / "dump")


async def test_r_finds_the_layer_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    app = make_app(captured(tmp_path / "good", 1.0), captured(tmp_path / "bad", 1.25))
    async with app.run_test(size=(120, 34)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        row = next(r.index for r in comparison.rows if r.label == "layers.1.mlp.down_proj-output")
        await pilot.press("colon", *str(row), "enter", "R")
        assert not app.list_screen.prompt.asking
        await until(pilot, lambda: not (app.controllers.rerunning.busy or app.working))
        await settled(pilot)
        assert app.list_screen.prompt.message.startswith("this layer is wrong on its own (2.5e-01)")
        assert app.session.reruns.wrong_layers(comparison) == [row]
    app.session.reruns.close()


def test_the_answer_may_be_a_file_of_the_engine(tmp_path: Path) -> None:
    file = modules_graph(tmp_path / "model.onnx")
    proposal = RunnerSpec("onnx")
    assert spec_of(str(file), proposal) == RunnerSpec("onnx", model=str(file.resolve()))
    with pytest.raises(RunnerAnswerError):
        spec_of(str(file), RunnerSpec("torch"))
    with pytest.raises(RunnerAnswerError):
        spec_of(str(tmp_path / "absent.onnx"), proposal)
