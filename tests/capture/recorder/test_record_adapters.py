"""Adapters by peft: unmerged against merged is green, another scaling is found and explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from layertui.capture import record
from layertui.capture.models.run_details import run_header
from layertui.cli.main import status_of

peft = pytest.importorskip("peft")

IDS = torch.randint(3, 60, (1, 48), generator=torch.Generator().manual_seed(1))


def adapted(targets: list[str], alpha: int = 16, rank: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    asked = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=False
    )
    made = peft.get_peft_model(model, asked)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:  # smaller than the weights, as adapters are
                parameter.mul_(0.3)
    return made.eval()


def run(model: torch.nn.Module, folder: Path, parameters: str = "small") -> str:
    with torch.no_grad(), record(model, folder, parameters=parameters):
        model(input_ids=IDS)
    return str(folder)


TARGETS = [["q_proj"], ["o_proj", "down_proj"], ["k_proj", "v_proj", "up_proj"]]


@pytest.mark.parametrize("targets", TARGETS, ids="-".join)
def test_unmerged_against_merged_is_green_either_way(
    targets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unmerged = run(adapted(targets), tmp_path / "unmerged")
    merged = run(adapted(targets).merge_and_unload(), tmp_path / "merged", "all")  # type: ignore[operator]
    for sides in ([merged, unmerged], [unmerged, merged]):
        assert status_of(["compare", *sides, "--format", "json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["counts"]["coverage"] > 0.95
        pairs = [row for row in report["rows"] if row["kind"] == "pair"]
        of_target = [(row["reference"], row["candidate"]) for row in pairs
                     if row["reference"]["name"].endswith(f".{targets[0]}-output")]  # fmt: skip
        assert len(of_target) == 2
        assert all(other["name"].endswith(f".{targets[0]}-output") for _, other in of_target)
        assert status_of(["check", *sides]) == 0
        assert "ran 'PeftModel'" not in capsys.readouterr().out


@pytest.mark.parametrize("targets", TARGETS, ids="-".join)
@pytest.mark.parametrize("kind", ["merged", "unmerged"])
def test_another_scaling_is_a_matrix_of_low_rank(
    kind: str, targets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = run(adapted(targets).merge_and_unload(), tmp_path / "merged", "all")  # type: ignore[operator]
    wrong = adapted(targets, alpha=32)
    wrong = wrong.merge_and_unload() if kind == "merged" else wrong  # type: ignore[operator]
    candidate = run(wrong, tmp_path / "candidate")
    assert status_of(["compare", merged, candidate, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["first_divergence"]
    assert any(f"layers.0.{part}.{targets[0]}-output" in found["candidate"]
               for part in ("self_attn", "mlp"))  # fmt: skip
    assert found["causes"][0]["name"] in ("low-rank", "scale")


def test_the_scaling_of_two_unmerged_runs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [run(adapted(["q_proj"], alpha), tmp_path / str(alpha)) for alpha in (16, 32)]
    said = run_header(sides[0])
    assert said["wrappers"] == ["PeftModel"] and said["model_class"] == "LlamaForCausalLM"
    assert said["adapters"]["default"]["lora_alpha"] == 16
    status_of(["check", *sides])
    assert "adapters.default.lora_alpha ('16' and '32')" in capsys.readouterr().out
    assert status_of(["compare", *sides, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["first_divergence"]
    assert found["candidate"].endswith("layers.0.self_attn.q_proj-output")
    assert {symptom["name"] for symptom in found["symptoms"]} & {"scale", "missing-term"}
