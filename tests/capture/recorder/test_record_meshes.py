"""Four processes on a mesh of two by two: torch's own tensor parallelism within data parallelism
(FSDP). What they compute is what one process does.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.capture.ranks.layout import read_mesh
from support.ranks.reports import report_of
from support.recording.processes import run_together

pytestmark = pytest.mark.torch

KINDS = ("tensor", "and-fsdp")
WORK = r"""
import sys
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from layertui.capture import record


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(16, 48, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(48, 16, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(16), MLP()

    def forward(self, x):
        return x + self.mlp(self.norm(x))


torch.set_num_threads(1)
inputs = torch.randn(2, 1, 6, 16, generator=torch.Generator().manual_seed(5))
if world == 4:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
for kind in ("tensor", "and-fsdp"):
    torch.manual_seed(0)
    model = nn.Sequential(Layer(), Layer()).eval()
    if world == 1:
        for number, x in enumerate(inputs):
            with torch.no_grad(), record(model, f"{folder}/one-{kind}/dp{number}"):
                model(x)
        continue
    plan = {"gate_proj": ColwiseParallel(), "up_proj": ColwiseParallel(),
            "down_proj": RowwiseParallel()}
    for layer in model:
        parallelize_module(layer.mlp, mesh["tp"], plan)
        if kind == "and-fsdp":
            fully_shard(layer, mesh=mesh["dp"])
    with torch.no_grad(), record(model, f"{folder}/{kind}"):
        model(inputs[mesh.get_local_rank("dp")])
if world == 4:
    dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("meshes")
    run_together(WORK, [(rank, world, place) for world in (1, 4) for rank in range(world)])
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_every_process_says_where_it_stands(kind: str, folder: Path) -> None:
    for rank in range(4):
        manifest = folder / kind / f"rank{rank}/manifest.jsonl"
        assert read_mesh(str(manifest)) == (("dp", rank // 2, 2), ("tp", rank % 2, 2))
        header = json.loads(manifest.open().readline())
        assert header["split"]["0.mlp.gate_proj"] == [0, 48]
        assert header["split"]["0.mlp.down_proj"] == [1, 48]
        assert "0.norm" not in header["split"]  # FSDP gathers it before


@pytest.mark.parametrize("kind", KINDS)
def test_sums_that_are_on_their_way_are_waited_for(kind: str, folder: Path) -> None:
    assert open_capture(folder / kind).unreadable == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_they_computed_is_what_one_process_did(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    status, report = report_of(tmp_path, folder / f"one-{kind}", folder / kind)
    assert status == 0
    assert [case["case"] for case in report["cases"]] == ["dp0", "dp1"]
    for case in report["cases"]:
        counts = case["report"]["counts"]
        assert (counts["gaps_reference"], counts["gaps_candidate"]) == (0, 0)
        ways = {
            row["candidate"]["name"]: row["candidate"]["ranks"]["way"]
            for row in case["report"]["rows"]
        }
        assert ways["0.mlp.gate_proj-output"] == "concat -1"
        assert ways["0.mlp.down_proj-output"] == "replicated"


@pytest.mark.parametrize(
    "mesh", ["1", '[["tp", 2, 2]]', '[["xp", 0, 2]]', '[["tp", 0, 2], ["tp", 1, 2]]', "[[]]",
             '[["tp", true, 2]]', '[["tp", 0, 99999999]]', '{"tp": [0, 2]}'],
)  # fmt: skip
def test_a_place_that_cannot_be_is_none(tmp_path: Path, mesh: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(f'{{"layertui": 1, "mesh": {mesh}}}\n')
    assert read_mesh(str(path)) == ()
    path.write_text("[" * 100_000)
    assert read_mesh(str(path)) == ()
