"""An engine in C++ that speaks the protocol: captured, compared with PyTorch, rerun."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from layertui.capture import open_capture, record
from layertui.capture.cpp import include_directory
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from layertui.compare.model import Measurement
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession

HERE = Path(__file__).parent
DEPTH, WIDTH = 3, 16


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, 32, bias=False)
        self.up_proj = nn.Linear(WIDTH, 32, bias=False)
        self.down_proj = nn.Linear(32, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mlp = Norm(), Mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(self.norm(x))


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(DEPTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    built = tmp_path_factory.mktemp("engine") / "engine"
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-I",
               str(include_directory()), str(HERE / "engine.cpp"), "-o", str(built)]  # fmt: skip
    subprocess.run(command, check=True)
    return built


@pytest.fixture(scope="module")
def made(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PyTorch's run, and the engine's with a wrong weight in the second layer."""
    place = tmp_path_factory.mktemp("toy")
    torch.manual_seed(0)
    model, x = Toy(), torch.randn(1, 5, WIDTH)
    with torch.no_grad(), record(model, place / "reference"):
        model(x)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["layers.1.mlp.up_proj.weight"][3, 5] += 1
    save_file({**weights, "input": x[0].clone()}, place / "model.safetensors")
    command = [str(engine), str(place / "model.safetensors"), "--capture", str(place / "cpp_dump")]
    subprocess.run(command, check=True)
    return place


def test_the_wrong_layer_of_the_engine_is_found(made: Path, engine: Path) -> None:
    assert open_capture(made / "cpp_dump").framework == "c++"
    comparison = open_comparison(str(made / "reference"), str(made / "cpp_dump"))
    comparison.measure(use_cache=False)
    command = shlex.join([str(engine), str(made / "model.safetensors")])
    with RerunSession(comparison) as session:
        question = session.needs()
        assert question is not None and "command" in question.text
        from dataclasses import replace

        session.choose(replace(question.proposal, command=command))
        assert session.rerun(rows_of(session.layers.all))
        rows = comparison.rows
        assert [rows[i].canonical for i in session.wrong_rows()] == ["layers.1.mlp.up_proj"]
        assert len(session.results) == 6 * DEPTH
        for index, found in session.results.items():
            assert found.problem is None
            if session.judgement(index).kind in ("fine", "inherited"):
                assert isinstance(found.single, Measurement)
                assert found.single.relative_l2 is not None and found.single.relative_l2 < 1e-6
        hello = session.hello
        assert hello is not None and hello.framework == "c++"


def test_by_the_command_line(made: Path, engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = str(made / "reference"), str(made / "cpp_dump")
    runner = ["--runner", shlex.join([str(engine), str(made / "model.safetensors")])]
    assert status_of(["rerun", *sides, "layers.1.mlp.*", *runner]) == 1
    assert "wrong on its own: layers.1.mlp.up_proj" in capsys.readouterr().out
    assert status_of(["rerun", *sides, "layers.2*", *runner]) == 0
    assert "no layer is wrong on its own" in capsys.readouterr().out


def test_an_engine_without_its_model(made: Path, engine: Path, tmp_path: Path) -> None:
    from layertui.capture.runners.guard import Guard
    from layertui.capture.runners.layers import RerunError
    from layertui.capture.runners.process import RunnerProcess

    guard = Guard()
    try:
        process = RunnerProcess([str(engine), str(tmp_path / "none")], guard)
        with pytest.raises(RerunError, match="ended with status 1; its last output: cannot read"):
            process.start(lambda _: None, lambda: False)
    finally:
        guard.close()
