"""`layertui explain`: text, JSON, layers that there are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layertui.cli.main import status_of


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = status_of(["explain", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def sides(real: Path, name: str = "olmo2-f32") -> tuple[str, str]:
    return str(real / name / "torch_dump"), str(real / name / "max_dump")


def test_what_does_not_keep_to_its_law_is_explained(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, *sides(real))
    assert status == 0
    assert out.startswith("L0 self_attn.q_norm")
    assert "cause      eps: eps 1e-6 where the reference has 1e-5" in out
    assert "hypotheses were tried" in out


def test_one_layer_with_its_weights(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(real / "checkpoints" / "olmo2-f32")
    status, out, _ = run(
        capsys, *sides(real), "layers.1.mlp.down_proj", "--reference-model", model,
        "--format", "json",
    )  # fmt: skip
    assert status == 0
    found = {each["label"]: each for each in json.loads(out)["layers"]}
    law = found["layers.1.mlp.down_proj-output"]["law"]
    assert law["local"]["law"] == "linear" and law["state"] == "keeps"
    assert law["local"]["candidate"] < 3 * law["local"]["usual_candidate"]
    _, out, _ = run(capsys, *sides(real), "layers.1.mlp.down_proj", "--reference-model", model)
    assert "no mistake is looked for: the candidate satisfies the law" in out
    assert "hypotheses were tried" not in out


def test_without_weights_it_says_what_is_missing(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, *sides(real), "layers.1.mlp.down_proj-output")
    assert status == 0
    assert "the weights of this module are not known" in out
    assert "--reference-model" in out


def test_a_layer_that_there_is_not_is_one_line(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *sides(real), "layers.99.nothing")
    assert status == 2 and not out
    assert "neither capture has such a layer" in err and "Traceback" not in err


def test_other_policies_have_no_laws(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, *sides(real), "--policy", "dtype")
    assert status == 2 and "laws are checked by --policy noise only" in err
