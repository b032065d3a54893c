"""What the candidate's own checkpoint and config say of a layer: an explanation, no acquittal."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from layertui.capture import record
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws import config_names
from layertui.compare.laws.config_names import config_differences, names_of
from layertui.compare.laws.linear.law import LinearLaw
from layertui.compare.laws.model_difference import ModelDifference
from layertui.compare.laws.registry import LAWS
from layertui.compare.model import FirstDivergence
from layertui.compare.running.law_checks import scene_of
from layertui.compare.vocabulary import CAUSES
from layertui.compare.weights.models import ModelPaths
from layertui.tui.present.laws import law_fields

IDS = (torch.arange(24)[None] * 7 + 3) % 60
DOWN = "model.layers.1.mlp.down_proj"

torch.set_num_threads(1)


@dataclass(frozen=True)
class Sides:
    """Two checkpoints and a capture of each, which name no model of theirs."""

    folder: Path

    def capture(self, name: str) -> str:
        return str(self.folder / f"capture_{name}")

    def model(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, name: str, change: Callable[[Any], None] | None = None) -> None:
        model = AutoModelForCausalLM.from_pretrained(self.folder / name).eval()
        if change is not None:
            change(model)
        with torch.no_grad(), record(model, self.capture(name), parameters="none"):
            model(IDS)
        manifest = Path(self.capture(name)) / "manifest.jsonl"
        first, _, rest = manifest.read_text().partition("\n")
        header = {k: v for k, v in json.loads(first).items() if k not in ("model", "run")}
        manifest.write_text(json.dumps(header) + "\n" + rest)

    def compared(self, *models: str) -> Comparison:
        comparison = open_comparison(self.capture("ours"), self.capture("theirs"))
        comparison.use_models(ModelPaths(*(self.model(name) for name in models)))
        assert comparison.measure(use_cache=False)
        return comparison

    def words(self, *more: str) -> list[str]:
        return [
            self.capture("ours"), self.capture("theirs"), "--reference-model", self.model("ours"),
            *more,
        ]  # fmt: skip


@pytest.fixture
def sides(real: Path, tmp_path: Path) -> Sides:
    """Both checkpoints are the same; the reference's capture is made."""
    for name in ("ours", "theirs"):
        shutil.copytree(real / "weights" / "hf_sharded", tmp_path / name)
    found = Sides(tmp_path)
    found.run("ours")
    return found


def set_config(folder: str, **values: Any) -> None:
    path = Path(folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def set_tensor(folder: str, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for shard in Path(folder).glob("*.safetensors"):
        tensors = load_file(shard)
        if name in tensors:
            tensors[name] = change(tensors[name]).contiguous()
            save_file(tensors, shard, {"format": "pt"})


def noisy(tensor: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    return tensor + 0.05 * tensor.std() * torch.randn_like(tensor)


def first_of(comparison: Comparison) -> FirstDivergence:
    first = comparison.first_divergence()
    assert first is not None and comparison.exit_status() == 1
    return first


EPS = "the candidate's config says rms_norm_eps 0.3 where the reference's says 1e-6"


def with_eps(sides: Sides) -> Sides:
    """The candidate was run from a checkpoint whose config has another eps."""
    set_config(sides.model("theirs"), rms_norm_eps=0.3)
    sides.run("theirs")
    return sides


def test_another_eps_of_its_config_explains_and_does_not_acquit(sides: Sides) -> None:
    with_eps(sides)
    alone, both = (sides.compared(*names) for names in (("ours",), ("ours", "theirs")))
    first = first_of(both)
    assert first.causes and first.causes[0].name == "eps"
    assert first.model_difference == EPS
    assert {found.model_difference for found in both.findings()} == {EPS}
    assert first_of(alone).model_difference == ""
    assert [v.level for v in both.verdicts] == [v.level for v in alone.verdicts]
    assert first.causes == first_of(alone).causes


@pytest.mark.parametrize("known", ["ours", "theirs"])
def test_one_checkpoint_serves_both_sides_and_differs_from_none(sides: Sides, known: str) -> None:
    sides.run("theirs", lambda model: setattr(model.model.norm, "variance_epsilon", 0.3))
    comparison = open_comparison(sides.capture("ours"), sides.capture("theirs"))
    path = sides.model(known)
    comparison.use_models(ModelPaths(path) if known == "ours" else ModelPaths(None, path))
    assert comparison.measure(use_cache=False)
    first = first_of(comparison)
    assert first.causes and first.causes[0].name == "eps"
    assert first.model_difference == ""


def test_equal_checkpoints_say_nothing_of_a_fault_of_the_run(sides: Sides) -> None:
    sides.run("theirs", lambda model: setattr(model.model.norm, "variance_epsilon", 0.3))
    first = first_of(sides.compared("ours", "theirs"))
    assert first.module == "norm" and first.causes and first.causes[0].name == "eps"
    assert first.model_difference == ""


def test_another_weight_of_its_checkpoint_is_named(sides: Sides) -> None:
    set_tensor(sides.model("theirs"), f"{DOWN}.weight", noisy)
    sides.run("theirs")
    both = sides.compared("ours", "theirs")
    first = first_of(both)
    assert first.module == "layers.1.mlp.down_proj"
    assert first.model_difference == (
        f"the candidate's checkpoint has a different {DOWN}.weight (all 1536 elements, "
        "relative L2 0.052)"
    )
    alone = sides.compared("ours")
    assert [v.level for v in both.verdicts] == [v.level for v in alone.verdicts]


def test_its_weights_are_said_at_the_layer_that_has_them_only(sides: Sides) -> None:
    """A fault of the run is not explained by another layer's weight."""
    set_tensor(sides.model("theirs"), f"{DOWN}.weight", noisy)
    sides.run("theirs", lambda model: setattr(model.model.norm, "variance_epsilon", 0.3))
    found = {f.module: f.model_difference for f in sides.compared("ours", "theirs").findings()}
    assert found["norm"] == ""
    assert "down_proj" in found["layers.1.mlp.down_proj"]


def test_rounded_weights_explain_no_other_cause(sides: Sides) -> None:
    set_tensor(sides.model("theirs"), f"{DOWN}.weight", lambda t: t.bfloat16().float())
    sides.run("theirs")
    both = sides.compared("ours", "theirs")
    first = first_of(both)
    assert first.causes and first.causes[0].name == "precision"
    rounded = f"the candidate's checkpoint has {DOWN}.weight rounded to bfloat16"
    assert first.model_difference == rounded
    scene = scene_of(both.aligned, both.results, both.models)
    (site,) = (s for s in LinearLaw().sites(scene) if s.module == "layers.1.mlp.down_proj")
    different = ModelDifference(scene)
    assert [different.words(site, causes) for causes in (["transposed"], ["quantised"], [])] == [
        "", rounded, rounded,
    ]  # fmt: skip


def test_a_module_that_hands_on_its_last_projection_is_no_finding_of_its_own(
    sides: Sides,
) -> None:
    set_tensor(sides.model("theirs"), f"{DOWN}.weight", lambda t: t.bfloat16().float())
    sides.run("theirs")
    both = sides.compared("ours", "theirs")
    assert [found.module for found in both.findings()] == ["layers.1.mlp.down_proj"]


def test_a_stop_is_heard_while_weights_are_compared(sides: Sides) -> None:
    set_tensor(sides.model("theirs"), f"{DOWN}.weight", noisy)
    sides.run("theirs")
    found = sides.compared("ours", "theirs")
    scene = scene_of(found.aligned, found.results, found.models)
    (site,) = (s for s in LinearLaw().sites(scene) if s.module == "layers.1.mlp.down_proj")
    assert "different" in ModelDifference(scene, lambda: False).words(site, [])
    assert ModelDifference(scene, lambda: True).words(site, []) == ""


def test_a_bias_that_only_one_checkpoint_has_is_said(sides: Sides) -> None:
    name = "model.layers.0.self_attn.o_proj"

    def biased(model: Any) -> None:
        model.get_submodule(name).bias = torch.nn.Parameter(torch.linspace(-1, 1, 32))

    shard = next(
        path for path in Path(sides.model("theirs")).glob("*.safetensors")
        if f"{name}.weight" in load_file(path)
    )  # fmt: skip
    tensors = {**load_file(shard), f"{name}.bias": torch.linspace(-1, 1, 32)}
    save_file(tensors, shard, {"format": "pt"})
    index = Path(sides.model("theirs")) / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][f"{name}.bias"] = shard.name
    index.write_text(json.dumps(content))
    sides.run("theirs", biased)
    first = first_of(sides.compared("ours", "theirs"))
    assert first.module == "layers.0.self_attn.o_proj"
    assert first.model_difference == f"only the candidate's checkpoint has {name}.bias"


def test_a_weight_that_cannot_be_read_is_said(sides: Sides) -> None:
    """Damaged after it was opened: its header was whole."""
    with_eps(sides)
    comparison = open_comparison(sides.capture("ours"), sides.capture("theirs"))
    comparison.use_models(ModelPaths(sides.model("ours"), sides.model("theirs")))
    assert comparison.models.candidate is not None
    for shard in Path(sides.model("theirs")).glob("*.safetensors"):
        with shard.open("r+b") as file:
            file.truncate(shard.stat().st_size // 4)
    assert comparison.measure(use_cache=False)
    assert "cannot be read" in first_of(comparison).model_difference


def test_every_form_says_it(
    sides: Sides, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_eps(sides)
    words = sides.words("--candidate-model", sides.model("theirs"))
    for form in ("text", "json", "csv", "markdown", "html", "junit"):
        assert status_of(["compare", *words, "--format", form]) == 1
        assert EPS in html.unescape(capsys.readouterr().out), form
    assert status_of(["compare", *words, "--format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["first_divergence"]["model_difference"] == EPS
    at = data["first_divergence"]["index"]
    assert data["rows"][at]["model_difference"] == EPS
    assert {row["model_difference"] for row in data["rows"]} == {"", EPS}
    for command in ("explain", "show"):
        more = [data["rows"][at]["reference"]["name"]] if command == "show" else []
        assert status_of([command, *words[:2], *more, *words[2:]]) in (0, 1)
        assert re.search(rf"^ +model +{re.escape(EPS)}", capsys.readouterr().out, re.MULTILINE)
    assert status_of(["explain", *words, "--format", "json"]) == 0
    assert EPS in {
        each["model_difference"] for each in json.loads(capsys.readouterr().out)["layers"]
    }
    comparison = sides.compared("ours", "theirs")
    fields = law_fields(comparison, first_of(comparison).index)
    assert [field.value for field in fields if field.label == "model"] == [EPS]


@pytest.mark.parametrize("command", ["compare", "explain", "check"])
def test_a_candidates_checkpoint_that_cannot_be_opened_is_one_line(
    sides: Sides, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides.run("theirs")
    damaged = Path(sides.model("theirs"))
    for shard in damaged.glob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:100])
    empty = tmp_path / "empty"
    empty.mkdir()
    capsys.readouterr()
    for path in (tmp_path / "none", empty, damaged):
        assert status_of([command, *sides.words("--candidate-model", str(path))]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("layertui: ") and err.count("\n") == 1
        assert path.name in err


@pytest.mark.parametrize(
    ("law", "cause", "ours", "theirs", "words"),
    [
        ("attention", "rope-base", {"rope_theta": 1e4}, {"rope_parameters": {"rope_theta": 5e5}},
         [("rope_parameters.rope_theta", 1e4, 5e5)]),
        ("attention", "rope-scaling", {"rope_scaling": None, "rope_theta": 1e4},
         {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}},
         [("rope_scaling.type", None, "linear"), ("rope_scaling.factor", None, 2.0)]),
        ("rotary tables", "rope-scaling", {"rope_parameters": {"rope_type": "default"}}, {"a": 1},
         []),
        ("attention", "head-repetition", {"num_key_value_heads": 2, "n_head": 8},
         {"num_key_value_heads": 4, "num_attention_heads": 8}, [("num_key_value_heads", 2, 4)]),
        ("activation", "activation", {"hidden_act": "silu"}, {"hidden_activation": "gelu"},
         [("hidden_activation", "silu", "gelu")]),
        ("attention", "softcap", {"attn_logit_softcapping": 50.0}, {"hidden_size": 8},
         [("attn_logit_softcapping", 50.0, None)]),
        ("residual", "residual", {"text_config": {"residual_multiplier": 1.0}},
         {"residual_multiplier": 0.22}, [("residual_multiplier", 1.0, 0.22)]),
        ("norm", "eps", {"rms_norm_eps": 1e-5, "hidden_act": "silu"},
         {"layer_norm_epsilon": 1e-5, "hidden_act": "gelu"}, []),
        ("norm", "eps", {}, {"rms_norm_eps": 1e-5}, []),
        ("norm", "scale", {"rms_norm_eps": 1e-5}, {"rms_norm_eps": 1e-6},
         [("rms_norm_eps", 1e-5, 1e-6)]),
    ],
)  # fmt: skip
def test_what_configs_say_of_a_cause(
    law: str, cause: str, ours: dict[str, Any], theirs: dict[str, Any], words: list[Any]
) -> None:
    assert list(config_differences(ours, theirs, names_of(law, [cause]))) == words


def test_every_law_and_every_cause_of_the_table_is_one() -> None:
    assert {law.name for law in LAWS} == set(config_names.OF_LAWS)
    assert set(config_names.OF_CAUSES) <= set(CAUSES)
