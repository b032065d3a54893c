"""vLLM's plugin: workers record what they execute, and nothing happens without being asked.

vLLM itself does not run here: its workers are classes with the real names and methods, its model
has the module tree and the return conventions of the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
import warnings
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from layertui.capture import open_capture, record
from layertui.capture.models.run_details import run_header
from layertui.capture.vllm_plugin import register
from layertui.cli.main import status_of
from support.serving_llama import Scheduled, ServingLlama, install_engine

PROMPT = [3, 9, 27, 17, 51, 25, 11, 33]


def hugging_face(layers: int = 2) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def settings(**more: Any) -> Any:
    parts = {
        "model_config": {"model": "org/Tiny", "dtype": torch.float32, "quantization": None,
                         "enforce_eager": True, **more},
        "cache_config": {"cache_dtype": "auto", "enable_prefix_caching": False},
        "parallel_config": {"tensor_parallel_size": 1},
    }  # fmt: skip
    made = {name: types.SimpleNamespace(**entries) for name, entries in parts.items()}
    return types.SimpleNamespace(**made)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("LAYERTUI_CAPTURE", str(tmp_path / "vllm_dump"))
    worker = install_engine(monkeypatch)
    register()
    register()  # vLLM calls it in every process, and may do so twice
    return worker


def started(engine: Any, model: torch.nn.Module, rank: int = 0, **more: Any) -> Any:
    worker = engine(settings(**more), rank)
    worker.load_model(model)
    worker.compile_or_warm_up_model()
    return worker


def generate(worker: Any, steps: int = 1) -> None:
    worker.execute_model(Scheduled([]))  # nothing to do yet
    for step in range(steps):
        worker.execute_model(Scheduled(PROMPT, 0) if not step else Scheduled([5], 7 + step))
        worker.sample_tokens(None)
        worker.execute_dummy_batch()  # for the sake of other ranks


def test_a_run_equals_that_of_transformers(
    engine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = hugging_face()
    worker = started(engine, ServingLlama(source))
    generate(worker)
    worker.shutdown()
    folder = tmp_path / "vllm_dump" / "rank0"
    capture = open_capture(folder)
    assert capture.complete is True and all(r.error is None for r in capture.records)
    assert {r.step for r in capture.records} == {0}
    assert capture.input_ids == PROMPT
    shapes = {r.name: r.shape for r in capture.records}
    assert shapes["model.layers.1-output_0"] == (8, 32)  # not those of warming up
    assert shapes["model.layers.0.self_attn.qkv_proj-output_0"] == (8, 64)
    assert shapes["logits_processor-output"] == (8, 64)
    with torch.no_grad(), record(source, tmp_path / "torch_dump"):
        source(input_ids=torch.tensor([PROMPT]))
    sides = [str(tmp_path / "torch_dump"), str(tmp_path / "vllm_dump")]
    assert status_of(["compare", *sides, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["first_divergence"] is None
    pairs = {row["reference"]["name"] for row in report["rows"] if row["kind"] == "pair"}
    projections = [f"self_attn.{name}_proj" for name in "qkvo"]
    parts = (*projections, "self_attn", "input_layernorm", "post_attention_layernorm", "mlp",
             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip
    layers = [f"model.layers.{number}" for number in range(2)]
    wanted = {f"{layer}.{part}-output" for layer in layers for part in parts}
    wanted = {name.replace("self_attn-output", "self_attn-output_0") for name in wanted}
    assert wanted | {f"{layer}-output" for layer in layers} | {"lm_head-output"} <= pairs


@pytest.mark.parametrize("wrong", ["self_attn.o_proj", "mlp.down_proj"])
def test_a_fault_is_found_where_it_is(
    wrong: str, engine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = hugging_face()
    model = ServingLlama(source)
    with torch.no_grad():
        model.get_parameter(f"model.layers.1.{wrong}.weight").mul_(1.2)
    worker = started(engine, model)
    generate(worker)
    worker.shutdown()
    with torch.no_grad(), record(source, tmp_path / "torch_dump"):
        source(input_ids=torch.tensor([PROMPT]))
    sides = [str(tmp_path / "torch_dump"), str(tmp_path / "vllm_dump" / "rank0")]
    assert status_of(["compare", *sides, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["first_divergence"]
    assert found["module"] == f"layers.1.{wrong}"


def test_the_capture_says_how_the_engine_was_started(engine: Any, tmp_path: Path) -> None:
    worker = started(engine, ServingLlama(hugging_face()), quantization="fp8")
    generate(worker)
    worker.shutdown()
    header = run_header(str(tmp_path / "vllm_dump" / "rank0"))
    assert (header["framework"], header["framework_version"]) == ("vllm", "0.15.0")
    assert header["model"] == "org/Tiny" and header["config"]["rms_norm_eps"] == 1e-6
    assert header["engine"]["quantization"] == "fp8" and header["engine"]["dtype"] == "float32"
    assert header["engine"]["enforce_eager"] is True


def test_steps_are_passes_with_tokens(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERTUI_CAPTURE_STEPS", "3")
    worker = started(engine, ServingLlama(hugging_face()))
    generate(worker, 5)
    capture = open_capture(tmp_path / "vllm_dump" / "rank0")  # ended by itself
    assert capture.complete is True
    assert {r.step for r in capture.records} == {0, 1, 2}
    heads = [r.shape for r in capture.records if r.name == "logits_processor-output"]
    assert heads == [(8, 64), (1, 64), (1, 64)]


def test_every_rank_has_a_directory(engine: Any, tmp_path: Path) -> None:
    workers = [started(engine, ServingLlama(hugging_face()), rank) for rank in range(2)]
    for worker in workers:
        generate(worker)
    for worker in workers:
        worker.shutdown()
    names = sorted(path.name for path in (tmp_path / "vllm_dump").iterdir())
    assert names == ["rank0", "rank1"]
    both = open_capture(tmp_path / "vllm_dump")
    assert both.complete is True and {r.rank for r in both.records} == {"rank0"}
    assert any("2 ranks: of 85 tensors 85 look the same on all of them" in n for n in both.notes)


def test_modules_can_be_chosen(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERTUI_CAPTURE_INCLUDE", "*.mlp,lm_head")
    worker = started(engine, ServingLlama(hugging_face()))
    generate(worker)
    worker.shutdown()
    modules = {r.module for r in open_capture(tmp_path / "vllm_dump" / "rank0").records}
    assert modules == {"model.layers.0.mlp", "model.layers.1.mlp"}


def test_compiled_graphs_are_said(engine: Any, tmp_path: Path) -> None:
    worker = started(engine, ServingLlama(hugging_face()), enforce_eager=False)
    with pytest.warns(RuntimeWarning, match="enforce_eager=True"):
        generate(worker)
    worker.shutdown()
    notes = open_capture(tmp_path / "vllm_dump" / "rank0").notes
    assert any("enforce_eager=True" in note for note in notes)


def test_what_goes_wrong_with_the_capture_is_not_the_engine_s(engine: Any, tmp_path: Path) -> None:
    folder = tmp_path / "vllm_dump" / "rank0"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep me")
    worker = started(engine, ServingLlama(hugging_face()))
    with pytest.warns(RuntimeWarning, match="not empty"):
        generate(worker, 2)
    worker.shutdown()
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERTUI_CAPTURE", raising=False)
    worker = install_engine(monkeypatch)
    before = worker.__mro__[1].__init__
    register()
    assert worker.__mro__[1].__init__ is before
    code = (
        "import sys; from layertui.capture.vllm_plugin import register; register();"
        "print([n for n in ('torch', 'numpy', 'vllm', 'textual') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_version_without_such_workers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERTUI_CAPTURE", "somewhere")
    install_engine(monkeypatch)
    monkeypatch.setitem(sys.modules, "vllm.v1.worker.worker_base", types.ModuleType("other"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        register()
    assert ["nothing is captured" in str(one.message) for one in said] == [True]


def test_the_entry_point_is_declared() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert '[project.entry-points."vllm.general_plugins"]' in text
    for point in entry_points(group="vllm.general_plugins"):  # where it is installed anew
        if point.name == "layertui":
            assert point.load() is register
