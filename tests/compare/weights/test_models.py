"""Which checkpoints belong to two captures, and who is believed first."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from layertui.capture import open_capture, record
from layertui.capture.errors import CaptureError
from layertui.capture.runners.spec import RunnerSpec
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.rerun import remembered as memory
from layertui.compare.rules.rules import RulesError
from layertui.compare.rules.rules_file import load_rules
from layertui.compare.weights.models import ModelPaths, check_models, find_models, remember_models
from layertui.compare.weights.parameters import SideParameters, facts_of_rows
from layertui.compare.weights.remembered_models import remembered_model

IDS = torch.tensor([[3, 17, 42, 5]])

torch.set_num_threads(1)


@pytest.fixture
def checkpoint(real: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(real / "weights" / "hf_sharded", tmp_path / "checkpoint"))


@pytest.fixture
def sides(checkpoint: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two captures by `record` of one checkpoint; the second says nothing of its model."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    for name in ("first", "second"):
        with torch.no_grad(), record(model, tmp_path / name):
            model(IDS)
    forget(tmp_path / "second")
    return tmp_path / "first", tmp_path / "second"


def forget(capture: Path, model: object = None) -> None:
    """Let the header of a capture name this model, or none."""
    manifest = capture / "manifest.jsonl"
    first, _, rest = manifest.read_text().partition("\n")
    header: dict[str, Any] = json.loads(first)
    header.pop("model", None)
    if model is not None:
        header["model"] = str(model)
    manifest.write_text(json.dumps(header) + "\n" + rest)


def opened(sides: tuple[Path, Path], **given: Any) -> Comparison:
    return open_comparison(str(sides[0]), str(sides[1]), **given)


def test_what_record_wrote_finds_its_model_where_it_stands(
    sides: tuple[Path, Path], checkpoint: Path, tmp_path: Path
) -> None:
    found = opened(sides).models
    assert found.reference is not None
    assert found.reference.path == str(checkpoint)
    assert found.candidate is None
    assert found.lines() == [f"weights of the reference: {checkpoint} (used for both sides)"]
    checkpoint.rename(tmp_path / "moved")
    gone = opened(sides).models
    assert gone.reference is None
    assert gone.notes == (f"no weights of the reference: {checkpoint}: no such file or directory",)


def test_a_directory_is_found_from_anywhere(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    model = AutoModelForCausalLM.from_pretrained("checkpoint").eval()
    with torch.no_grad(), record(model, tmp_path / "run"):
        model(IDS)
    monkeypatch.chdir("/")
    capture = open_capture(tmp_path / "run")
    assert capture.model == str(checkpoint)
    assert find_models(capture, capture).reference is not None


def test_one_checkpoint_serves_both_sides(sides: tuple[Path, Path], checkpoint: Path) -> None:
    found = opened((sides[1], sides[0])).models  # only the candidate knows
    assert found.reference is found.candidate is not None
    assert found.notes == ("the candidate's checkpoint is used for the reference too",)
    forget(sides[0])
    assert opened(sides).models == find_models(open_capture(sides[0]), open_capture(sides[1]))
    assert opened(sides).models.lines() == []
    given = opened(sides, models=ModelPaths(str(checkpoint))).models
    assert given.reference is not None
    assert given.candidate is None
    same = opened(sides, models=ModelPaths(str(checkpoint), f"{checkpoint}/")).models
    assert same.reference is same.candidate


def test_given_beats_rules_beat_remembered_beat_captured(
    sides: tuple[Path, Path], checkpoint: Path, real: Path, tmp_path: Path
) -> None:
    others = [Path(shutil.copytree(checkpoint, tmp_path / name)) for name in "abc"]
    remember_models(str(sides[0]), str(sides[1]), ModelPaths(str(others[0])))
    assert opened(sides).models.reference.path == str(others[0])  # type: ignore
    (tmp_path / "rules.toml").write_text('[models]\nreference = "b"\n')  # from where it lies
    rules = load_rules(str(tmp_path / "rules.toml"))
    assert opened(sides, rules=rules).models.reference.path == str(others[1])  # type: ignore
    given = ModelPaths(str(others[2]))
    comparison = opened(sides, rules=rules, models=given)
    assert comparison.models.reference.path == str(others[2])  # type: ignore
    shutil.rmtree(others[0])  # what is remembered and gone is said, and the next is taken
    found = opened(sides).models
    assert found.reference.path == str(checkpoint)  # type: ignore
    assert str(others[0]) in found.notes[0]


def test_a_checkpoint_that_is_given_must_be_there(
    sides: tuple[Path, Path], checkpoint: Path, tmp_path: Path
) -> None:
    comparison = opened(sides)
    before = comparison.models
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nothing", tmp_path / "empty"):
        with pytest.raises(CaptureError, match=path.name):
            comparison.use_models(ModelPaths(None, str(path)))
        with pytest.raises(CaptureError, match=path.name):
            check_models(ModelPaths(str(path)))
    assert comparison.models is before
    assert comparison.model_paths == ModelPaths()
    # where nobody asked whether it is, the other side's is found all the same
    lazy = opened(sides, models=ModelPaths(None, str(tmp_path / "nothing"))).models
    assert lazy.reference is not None
    assert "nothing" in lazy.notes[0]
    check_models(ModelPaths(str(checkpoint), str(checkpoint / "model-00001-of-00003.safetensors")))


def test_paths_are_remembered_whole(
    sides: tuple[Path, Path], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    remember_models(str(sides[0]), str(sides[1]), ModelPaths("checkpoint", "someone/model"))
    assert remembered_model(open_capture(sides[0])) == str(checkpoint)
    assert remembered_model(open_capture(sides[1])) == "someone/model"


def test_a_rerun_uses_the_candidates_model(sides: tuple[Path, Path], checkpoint: Path) -> None:
    capture = open_capture(sides[1])
    assert memory.proposed(capture).model is None
    paths = ModelPaths(None, str(checkpoint / "model.safetensors.index.json"))
    remember_models(str(sides[0]), str(sides[1]), paths)
    assert memory.proposed(capture).model == str(checkpoint)
    assert memory.trusted(memory.proposed(capture))
    # ... also where a runner was chosen before
    memory.remember(capture, RunnerSpec("torch", model="/somewhere/else", seed=3))
    remember_models(str(sides[0]), str(sides[1]), paths)
    chosen = memory.recall(capture)
    assert chosen is not None
    assert (chosen.model, chosen.seed) == (str(checkpoint), 3)
    # and the other way round: the model of the runner is the candidate's checkpoint
    memory.remember(capture, RunnerSpec("torch", model=str(checkpoint)))
    assert opened(sides).models.candidate is not None


def test_the_name_of_a_class_is_no_checkpoint(sides: tuple[Path, Path]) -> None:
    forget(sides[0], "LlamaForCausalLM")
    assert opened(sides).models.lines() == []
    forget(sides[0], "someone/model")
    assert "someone/model: no such file" in opened(sides).models.notes[0]


@pytest.mark.parametrize(
    "place", ["/dev/zero", "/etc/passwd", "pipe", "..", "x\n/y", "/" + "a" * 5000]
)
def test_captures_that_name_strange_places(
    sides: tuple[Path, Path], tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    forget(sides[0], place)
    found = opened(sides).models
    assert found.reference is None
    assert len(found.notes) == 1


def test_a_rules_file_names_models_in_words(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[models]\nreference = "someone/model"\n')
    assert load_rules(str(rules)).models == ModelPaths("someone/model")
    for text, words in (
        ('[models]\nother = "x"', "unknown key 'other'"),
        ("[models]\nreference = 3", r"\[models\] reference: must be a path"),
        ('[models]\ncandidate = ""', r"\[models\] candidate: must be a path"),
        ("models = 3", "must be a table"),
    ):
        rules.write_text(text)
        with pytest.raises(RulesError, match=words):
            load_rules(str(rules))


def test_parameters_of_a_comparison(sides: tuple[Path, Path]) -> None:
    comparison = opened(sides)
    weights = comparison.models.reference
    assert weights is not None
    side = SideParameters(
        weights,
        facts_of_rows(
            comparison.rows, comparison.reference, comparison.candidate, comparison.rules
        ),
    )
    linear = {row.canonical for row in comparison.rows if row.canonical.endswith("_proj")}
    assert len(linear) == 14
    assert all(side.weight(module) is not None for module in linear)
