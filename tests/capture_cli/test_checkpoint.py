"""Directories that MAX loads the same model from, and what a cut of the config leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from layertui.capture.cases import Case
from layertui.capture.errors import CaptureError
from layertui.capture.models.checkpoint import load_config, load_model, model_class, stage_for_max
from layertui.capture.models.run_plan import Plan
from support.tiny_checkpoints import llama_config, write_config


class Quiet:
    def say(self, line: str) -> None: ...
    def stage(self, text: str, folder: str = "") -> None: ...
    def layers(self, done: int, total: int) -> None: ...


def plan_of(model: Path, **more: Any) -> Plan:
    return Plan(str(model), (Case(),), **more)


def staged(plan: Plan, into: Path) -> Path:
    into.mkdir()
    return Path(stage_for_max(plan, load_config(plan), str(into), Quiet()))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_whole_checkpoint_is_taken_as_it_is(llama: Path, tmp_path: Path) -> None:
    assert staged(plan_of(llama), tmp_path / "s") == llama
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize(
    "more", [{"layers": 1}, {"dtype": "bfloat16"}, {"layers": 1, "dtype": "float16"}]
)
def test_a_copy_holds_the_model_that_torch_runs(
    llama: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    plan = plan_of(llama, **more)
    copy = staged(plan, tmp_path / "s")
    assert copy != llama
    loaded = transformers.LlamaForCausalLM.from_pretrained(copy)
    assert same_weights(loaded, load_model(plan, load_config(plan), Quiet()))
    assert loaded.config.num_hidden_layers == more.get("layers", 2)
    assert len(transformers.AutoTokenizer.from_pretrained(copy)) == 259


def test_random_weights_are_those_that_torch_gets(tmp_path: Path) -> None:
    plan = plan_of(write_config(tmp_path / "model", llama_config()), seed=7)
    copy = staged(plan, tmp_path / "s")
    loaded = transformers.LlamaForCausalLM.from_pretrained(copy)
    assert same_weights(loaded, load_model(plan, load_config(plan), Quiet()))
    assert len(transformers.AutoTokenizer.from_pretrained(copy)) == 320


def test_a_tokenizer_is_added_without_a_copy_of_the_weights(llama: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((llama / name).read_bytes())
    copy = staged(plan_of(bare), tmp_path / "s")
    assert (copy / "model.safetensors").is_symlink()
    assert len(transformers.AutoTokenizer.from_pretrained(copy)) == 320


def test_a_cut_shortens_lists_by_layer(tmp_path: Path) -> None:
    config = transformers.Qwen3Config(
        num_hidden_layers=4, layer_types=["full_attention"] * 3 + ["sliding_attention"],
        sliding_window=8, architectures=["Qwen3ForCausalLM"],
    )  # fmt: skip
    plan = plan_of(write_config(tmp_path / "model", config), layers=2)
    cut = load_config(plan)
    assert cut.num_hidden_layers == 2
    assert cut.layer_types == ["full_attention"] * 2


def test_a_class_that_transformers_lacks(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(architectures=["NoSuchModel"])
    plan = plan_of(write_config(tmp_path / "model", config))
    assert model_class(load_config(plan)) is transformers.LlamaForCausalLM  # by the config's type
    plain = transformers.PretrainedConfig(architectures=["NoSuchModel"])
    with pytest.raises(CaptureError, match="NoSuchModel, which transformers does not have"):
        model_class(plain)
