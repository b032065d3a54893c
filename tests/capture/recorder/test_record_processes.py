"""Two processes that share a model: a directory each, opened together, equal to the whole run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from layertui.capture import open_capture, record
from layertui.capture.errors import RecordError
from layertui.capture.load import load
from layertui.cli.main import status_of
from support.recording.processes import run_together

IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])
KINDS = ("ddp", "fsdp", "tp")
WORK = r"""
import os, sys
from pathlib import Path
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
import torch, torch.distributed as dist, transformers
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from layertui.capture import record

torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

def load(**more):
    return transformers.LlamaForCausalLM.from_pretrained(folder / "model", **more).eval()

for kind in sys.argv[3:]:
    model = load() if kind != "tp" else load(tp_plan="auto")
    if kind == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model)
    elif kind == "fsdp":
        mesh = init_device_mesh("cpu", (2,))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    with torch.no_grad(), record(model, folder / kind, parameters="small"):
        model(input_ids=torch.tensor([[1, 2, 3, 4, 5, 6]]))
with torch.no_grad(), record(load(), folder / f"own_rank{rank}", inputs=False) as recorder:
    assert recorder.path == str(folder / f"own_rank{rank}")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, `whole`, which one process recorded, and a capture of each kind by two."""
    place = tmp_path_factory.mktemp("processes")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place / "model")
    model = transformers.LlamaForCausalLM.from_pretrained(place / "model").eval()
    with torch.no_grad(), record(model, place / "whole", parameters="small"):
        model(input_ids=IDS)
    run_together(WORK, [(rank, place, *KINDS) for rank in range(2)])
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_every_process_has_a_directory_of_its_own(kind: str, folder: Path) -> None:
    for rank in range(2):
        header = json.loads((folder / kind / f"rank{rank}/manifest.jsonl").open().readline())
        assert (header["rank"], header["world_size"]) == (rank, 2)
        assert header["model_class"] == "LlamaForCausalLM" and header["training"] is False
        alone = open_capture(folder / kind / f"rank{rank}")
        assert alone.complete and all(record.error is None for record in alone.records)
    together = open_capture(folder / kind)
    assert together.complete and all(record.error is None for record in together.records)
    assert together.of_ranks is not None
    both = [*together.records, *together.of_ranks.parts]
    assert {record.rank for record in both} == {"rank0", "rank1"}
    assert len(both) == len(together.of_ranks.records)  # none is lost


@pytest.mark.parametrize("kind", KINDS)
def test_what_two_processes_computed_is_what_one_did(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        status_of(["compare", str(folder / "whole"), str(folder / kind), "--format", "json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["first_divergence"] is None
    pairs = [row for row in report["rows"] if row["kind"] == "pair"]
    modules = {row["reference"]["module"] for row in pairs}
    layers = {f"model.layers.{n}.{part}" for n in (0, 1) for part in ("mlp", "self_attn")}
    assert layers | {"lm_head", "model.norm"} <= modules
    if kind == "tp":  # which part of the heads a part of a cache has is not told
        alone = [
            row["reference"]["name"] for row in report["rows"] if row["kind"] == "gap_reference"
        ]
        assert len(alone) == 8 and all("past_key_values" in name for name in alone)
        return
    assert report["counts"]["coverage"] == 1.0
    for number in range(2):
        part = str(folder / kind / f"rank{number}")
        assert status_of(["compare", str(folder / "whole"), part]) == 0
        capsys.readouterr()


def test_parts_of_a_tensor_are_joined(folder: Path) -> None:
    """Outputs of projections whose rows are split, inputs of those whose columns are, and what is
    computed of such a part element by element; each equals the whole.
    """
    whole, joined = ({r.name: r for r in open_capture(folder / kind).records}
                     for kind in ("whole", "tp"))  # fmt: skip
    layer = "model.layers.1"
    for name in (f"{layer}.self_attn.q_proj-output", f"{layer}.self_attn.v_proj-output",
                 f"{layer}.self_attn.o_proj-input_0", f"{layer}.mlp.gate_proj-output",
                 f"{layer}.mlp.act_fn-input_0", f"{layer}.mlp.act_fn-output",
                 f"{layer}.mlp.up_proj-output", f"{layer}.mlp.down_proj-input_0"):  # fmt: skip
        one, other = whole[name].locator, joined[name].locator
        assert one is not None and other is not None and one.shape == other.shape, name
        np.testing.assert_allclose(load(one), load(other), rtol=1e-5, atol=1e-6)
    (note,) = [note for note in open_capture(folder / "tp").notes if "ranks" in note]
    assert "18 are joined from their parts; 8 are shown rank by rank" in note


def copied(source: Path, target: Path, rank: int, module: str, slot: str, factor: float) -> Path:
    """A copy of a run in which one record of one rank has other values."""
    shutil.copytree(source, target)
    place = next(r.locator for r in open_capture(target / f"rank{rank}").records
                 if (r.module, r.slot) == (module, slot))  # fmt: skip
    assert place is not None
    changed = (load(place) * factor).astype(np.float32)
    with open(place.path, "r+b") as file:
        file.seek(place.offset)
        file.write(changed.tobytes())
    return target


def test_a_rank_that_computes_its_part_wrongly_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "model.layers.0.mlp.gate_proj"
    faulty = copied(folder / "tp", tmp_path / "tp", 1, module, "output", 1.5)
    assert status_of(["compare", str(folder / "whole"), str(faulty), "--format", "json"]) == 1
    first = json.loads(capsys.readouterr().out)["first_divergence"]
    assert first["candidate"] == f"{module}-output"


def test_ranks_that_differ_where_they_should_not_are_a_finding(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "model.layers.1.post_attention_layernorm"
    faulty = copied(folder / "tp", tmp_path / "tp", 1, module, "output", 1.5)
    assert open_capture(folder / "tp").unequal_ranks == ()
    (unequal,) = open_capture(faulty).unequal_ranks
    assert (unequal.name, unequal.rank, unequal.row, unequal.rows) == (
        f"{module}-output", "rank1", 0, 6
    )  # fmt: skip
    status_of(["check", str(folder / "whole"), str(faulty)])
    assert "1 output differs between ranks that were given the same inputs" in (
        capsys.readouterr().out
    )


def test_a_part_that_is_cut_short_is_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tp", tmp_path / "tp")
    name = "model.layers.0.mlp.gate_proj-output"
    place = next(r.locator for r in open_capture(tmp_path / "tp").records if r.name == name)
    assert place is not None and place.shape == (1, 6, 64)
    for shard in (tmp_path / "tp/rank1").glob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(RecordError, match="truncated"):
        load(place)


def test_parts_of_parameters_are_not_taken_for_the_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in KINDS:
        status_of(["check", str(folder / "whole"), str(folder / kind / "rank1")])
        assert "parameters had different values" not in capsys.readouterr().out
    index = json.loads((folder / "fsdp/rank1/.layertui-parameters.json").read_text())
    entry = index["parameters"]["model.layers.0.mlp.down_proj.weight"]
    assert entry["error"] == "this process has only a part of it"
    index = json.loads((folder / "ddp/rank1/.layertui-parameters.json").read_text())
    assert all("blake2b" in entry for entry in index["parameters"].values())


def test_one_process_that_was_killed_makes_the_run_incomplete(folder: Path, tmp_path: Path) -> None:
    for killed in range(2):
        copy = tmp_path / str(killed)
        shutil.copytree(folder / "ddp", copy)
        manifest = copy / f"rank{killed}/manifest.jsonl"
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(lines[:-1]))
        assert open_capture(copy).complete is False


def test_a_fault_on_one_rank_is_found(folder: Path, tmp_path: Path) -> None:
    """The last layer of the second process gives other numbers than the first."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder / "ddp", tmp_path / "faulty")
    shard = tmp_path / "faulty/rank1/data-00001.safetensors"
    tensors = load_file(shard)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[name] = tensor * 1.5
    save_file(tensors, shard, metadata={"format": "pt", "layertui": "1"})
    both = open_capture(tmp_path / "faulty")
    named = {record.module for record in both.records}
    assert any(name.startswith("rank1/") for name in named)
    assert any(name.startswith("rank0/") for name in named)  # it stands for nobody but itself
