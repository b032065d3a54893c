"""Column- and row-parallel layers written by hand, in two processes that torch.distributed joins:
with all-reduce, and with the tokens left to each rank behind reduce-scatter.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.cli.main import status_of
from support.recording.processes import run_together

KINDS = ("reduced", "scattered")
WORK = r"""
import os, sys
from pathlib import Path
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
import torch, torch.distributed as dist
from torch import nn
from layertui.capture import record

torch.set_num_threads(1)
if world > 1:
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
HIDDEN, INNER, TOKENS = 16, 48, 10
draw = torch.Generator().manual_seed(0)
shapes = {"gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}
weights = [{n: torch.randn(*s, generator=draw) / s[1] ** 0.5 for n, s in shapes.items()}
           for _ in range(2)]
whole = torch.randn(TOKENS, HIDDEN, generator=draw)
lengths = [TOKENS] if world == 1 else [7, 3]
own = slice(sum(lengths[:rank]), sum(lengths[:rank + 1]))


class ColumnParallelLinear(nn.Module):
    def __init__(self, *parts, scattered):
        super().__init__()
        self.weight = nn.Parameter(torch.cat([part.chunk(world)[rank] for part in parts]))
        self.scattered = scattered

    def forward(self, x):
        if self.scattered and world > 1:
            parts = [None] * world
            dist.all_gather_object(parts, x)  # tokens of other numbers on each rank
            x = torch.cat(parts)
        return x @ self.weight.T, None


class RowParallelLinear(nn.Module):
    def __init__(self, weight, *, scattered):
        super().__init__()
        self.weight = nn.Parameter(weight.chunk(world, 1)[rank].clone())
        self.scattered = scattered

    def forward(self, x):
        out = x @ self.weight.T
        if world > 1:
            dist.all_reduce(out)
        return (out[own] if self.scattered else out), None


class MLP(nn.Module):
    def __init__(self, w, scattered):
        super().__init__()
        self.linear_fc1 = ColumnParallelLinear(w["gate"], w["up"], scattered=scattered)
        self.linear_fc2 = RowParallelLinear(w["down"], scattered=scattered)

    def forward(self, x):
        gate, up = self.linear_fc1(x)[0].chunk(2, -1)
        return self.linear_fc2(nn.functional.silu(gate) * up)[0]


class Layer(nn.Module):
    def __init__(self, w, scattered):
        super().__init__()
        self.pre_mlp_layernorm = nn.LayerNorm(HIDDEN)
        self.mlp = MLP(w, scattered)

    def forward(self, x):
        return x + self.mlp(self.pre_mlp_layernorm(x))


class Model(nn.Module):
    def __init__(self, scattered):
        super().__init__()
        self.decoder = nn.Module()
        self.decoder.layers = nn.ModuleList(Layer(w, scattered) for w in weights)

    def forward(self, x):
        for layer in self.decoder.layers:
            x = layer(x)
        return x


for kind in ("reduced", "scattered"):
    scattered = kind == "scattered"
    model, name = Model(scattered), kind if world > 1 else f"one-{kind}"
    with torch.no_grad(), record(model, folder / name):
        model(whole[own] if scattered else whole)
if world > 1:
    dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`reduced` and `scattered` by two processes, `one-reduced` and `one-scattered` by one."""
    place = tmp_path_factory.mktemp("parallel")
    run_together(WORK, [(rank, world, place) for world in (1, 2) for rank in range(world)])
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_written(kind: str, folder: Path) -> None:
    for rank in range(2):
        header = json.loads((folder / kind / f"rank{rank}/manifest.jsonl").open().readline())
        assert (header["rank"], header["world_size"]) == (rank, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_model(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (
        {r.name: r for r in open_capture(folder / name).records} for name in (f"one-{kind}", kind)
    )
    assert list(one) == list(two)
    for name, record in one.items():
        first, second = record.locator, two[name].locator
        assert first is not None and second is not None
        np.testing.assert_allclose(load(first), load(second), rtol=1e-4, atol=1e-5, err_msg=name)
    sides = [str(folder / f"one-{kind}"), str(folder / kind)]
    assert status_of(["compare", *sides, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["first_divergence"] is None
    assert report["counts"]["gaps_candidate"] == report["counts"]["gaps_reference"] == 0
    ranks = report["candidate"]["ranks"]
    assert ranks["apart"] == 0 and ranks["joined"] > 0 and ranks["unequal"] == []
