"""What runs say of themselves, compared: what differs is named, what is equal is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture import record
from layertui.capture.models.run_details import run_header
from layertui.capture.run_metadata import write_metadata
from layertui.compare.checks.environment import check_environment
from layertui.compare.checks.environment_topics import TOPICS, topic_of_config, topic_of_setting
from layertui.compare.checks.finding import CODES, Finding, sorted_findings
from layertui.compare.comparison import open_comparison
from support.console_examples import blocks, run_block

IDS = torch.tensor([[1, 2, 3, 4]])
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def run(folder: Path, attention: str = "eager", autocast: bool = False, **config: Any) -> Path:
    torch.manual_seed(0)
    made = transformers.LlamaConfig(**{**SIZES, **config})
    model = transformers.LlamaForCausalLM._from_config(made, attn_implementation=attention).eval()
    with (
        torch.no_grad(),
        record(model, folder, inputs=False),
        torch.autocast("cpu", enabled=autocast),
    ):
        model(IDS)
    return folder


def found(one: Path, other: Path) -> list[Finding]:
    return sorted_findings(check_environment(open_comparison(str(one), str(other))))


def said(findings: list[Finding], code: str) -> str:
    return "\n".join(finding.what for finding in findings if finding.code == code)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return run(tmp_path / "plain")


def test_two_runs_of_one_kind_have_nothing_to_say(plain: Path, tmp_path: Path) -> None:
    assert found(plain, run(tmp_path / "again")) == []


def test_a_run_says_what_it_computes_with(plain: Path) -> None:
    header = run_header(str(plain))
    environment = header["environment"]
    assert environment["versions"]["torch"] == str(torch.__version__)
    assert environment["versions"]["transformers"] == transformers.__version__
    assert environment["numerics"]["attention"] == "eager"
    assert environment["numerics"]["deterministic_algorithms"] is False
    assert header["config"]["rms_norm_eps"] == 1e-6
    assert header["autocast"] == {}
    assert "use_cache" in header["generation"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rms_norm_eps": 1e-5}, "config.rms_norm_eps ('1e-06' and '1e-05')"),
        ({"hidden_act": "gelu"}, "config.hidden_act ('silu' and 'gelu')"),
        ({"tie_word_embeddings": True}, "config.tie_word_embeddings ('False' and 'True')"),
        ({"head_dim": 8}, "config.head_dim ('4' and '8')"),
        ({"sliding_window": 8}, "config.sliding_window (not set and '8')"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
         "config.rope_parameters.factor (not set and '2.0')"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
         "config.rope_parameters.rope_theta ('10000.0' and '500000.0')"),
        ({"num_key_value_heads": 4}, "config.num_key_value_heads ('2' and '4')"),
        ({"attention_bias": True}, "config.attention_bias ('False' and 'True')"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}},
         "config.quantization_config.quant_method (not set and 'awq')"),
    ],
)  # fmt: skip
def test_a_key_of_the_config_is_named(
    config: dict[str, Any], words: str, plain: Path, tmp_path: Path
) -> None:
    other = run(tmp_path / "other")
    changed = transformers.LlamaConfig(**{**SIZES, **config}).to_dict()
    rewrite(other, config=json.loads(json.dumps(changed, default=str)))
    findings = found(plain, other)
    assert findings and findings[0].severity == "warning" and words in findings[0].what
    assert words.split(" ")[0] in said(found(other, plain), "config")  # the other way round too


def rewrite(folder: Path, **fields: Any) -> None:
    """Change fields of a header."""
    path = folder / "manifest.jsonl"
    first, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps({**json.loads(first), **fields}) + "\n" + rest)


def test_spellings_and_defaults_are_no_differences(plain: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "other")
    config = run_header(str(other))["config"]
    config["rope_scaling"], config["rope_theta"] = None, config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = "float32"
    config["eos_token_id"] = [2]
    config["architectures"], config["transformers_version"] = ["LlamaForCausalLM"], "4.51.0"
    config["use_sliding_window"], config["sliding_window"] = False, 4096
    del config["head_dim"]  # follows from the sizes
    rewrite(other, config=config)
    findings = found(plain, other)
    assert {finding.code for finding in findings} <= {"settings"}
    assert len(findings) == 1 and "transformers_version" in findings[0].what


def test_what_rounds_comes_before_what_adds_in_another_order(plain: Path, tmp_path: Path) -> None:
    before = torch.get_float32_matmul_precision()
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    try:
        other = run(tmp_path / "other", "sdpa", autocast=True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision(before)
    findings = [finding for finding in found(plain, other) if finding.code == "numerics"]
    assert [finding.severity for finding in findings] == ["warning", "note"]
    assert "float32_matmul_precision ('highest' and 'medium')" in findings[0].what
    assert "autocast.cpu (not set and 'bfloat16')" in findings[0].what
    assert "deterministic_algorithms ('False' and 'True')" in findings[1].what
    assert "attention ('eager' and 'sdpa')" in findings[1].what


def test_versions_variables_and_kernels(plain: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "other")
    environment = run_header(str(other))["environment"]
    environment["versions"] |= {"transformers": "4.40.0", "flash_attn": "2.7.0", "cuda": "12.4"}
    environment["variables"] = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "NVIDIA_TF32_OVERRIDE": "1"}
    environment["numerics"]["batch_invariant"] = True
    rewrite(other, environment=environment, framework_version="2.6.0")
    findings = found(plain, other)
    assert "transformers" in said(findings, "versions")
    assert "flash_attn (not set and '2.7.0')" in said(findings, "versions")
    assert "the candidate on 2.6.0" in said(findings, "versions")
    assert said(findings, "versions").count("2.6.0") == 1  # torch's own version is said once
    assert "NVIDIA_TF32_OVERRIDE (not set and '1')" in findings[0].what
    assert "CUBLAS_WORKSPACE_CONFIG" in said(findings, "numerics")


def test_generation_counts_where_something_was_generated(tmp_path: Path) -> None:
    sides = []
    for name, steps in (("a", 1), ("b", 2)):
        for penalty in (1.0, 1.3):
            folder = tmp_path / f"{name}{penalty}"
            with record(None, folder) as recorder:
                recorder.meta(generation={"repetition_penalty": penalty})
                for step in range(steps):
                    recorder.add("layers.0.mlp", np.arange(8.0), slot="output", step=step)
            sides.append(folder)
    once, twice = found(*sides[:2]), found(*sides[2:])
    assert [f.code for f in once] == ["settings"]
    assert [(f.code, f.severity) for f in twice] == [("config", "warning")]
    assert "generation.repetition_penalty ('1.0' and '1.3')" in twice[0].what


def test_a_run_of_max_is_compared_by_the_config_that_was_kept(
    real: Path, plain: Path, tmp_path: Path
) -> None:
    """Its `layertui.json` holds versions, the parameters' index the config."""
    from layertui.capture.weights.recorded import write_parameters

    folder = tmp_path / "max"
    folder.mkdir()
    for name in (real / "llama-f32/max_dump").iterdir():
        (folder / name.name).symlink_to(name)
    (folder / "layertui.json").unlink(missing_ok=True)
    write_metadata(str(folder), {"framework": "max", "environment": {"versions": {"max": "26.7"}}})
    config = {**run_header(str(plain))["config"], "rms_norm_eps": 1e-3}
    write_parameters(str(folder), "small", [], config)
    assert "config.rms_norm_eps ('1e-06' and '0.001')" in said(found(plain, folder), "config")


@pytest.mark.parametrize("config", [3, [], {"a": {"b": [1, {"c": None}]}}, {"": 1}, "x"])
@pytest.mark.parametrize("environment", [None, 3, {"numerics": 4}, {"variables": {"x\x1b": [1]}}])
def test_headers_that_are_not_what_they_should_be(
    config: Any, environment: Any, plain: Path, tmp_path: Path
) -> None:
    other = run(tmp_path / "other")
    rewrite(other, config=config, environment=environment)
    for finding in found(plain, other) + found(other, plain):
        assert finding.code in CODES and len(finding.what) < 2000


def test_the_example_of_the_manual(tmp_path: Path) -> None:
    run(tmp_path / "torch_dump")
    run(tmp_path / "other_dump", "sdpa", autocast=True, rms_norm_eps=1e-5)
    page = Path(__file__).parents[3] / "docs/manual/check.md"
    (block,) = blocks(page.read_text(encoding="utf-8"), "environment-example")
    run_block(block, tmp_path)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_every_key_has_a_topic(key: str) -> None:
    assert topic_of_config(key) in TOPICS and topic_of_setting(key) in TOPICS
