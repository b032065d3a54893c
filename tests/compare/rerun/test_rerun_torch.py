"""PyTorch against PyTorch: ten planted faults, each found where it is and nowhere else."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from layertui.capture.runners.layers import RerunError
from layertui.capture.runners.spec import RunnerSpec
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Measurement
from layertui.compare.rerun.judge import allowed
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession
from support import faulty_llama
from support.faulty_llama import FAULTY, IDS

IDS_TEXT = ",".join(map(str, IDS))


def compared(reference: Path, candidate: Path) -> Comparison:
    found = open_comparison(str(reference), str(candidate))
    found.measure(use_cache=False)
    return found


def digests(folder: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_fault_is_found_where_it_is(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(faulty_llama.__file__, tmp_path)
    monkeypatch.chdir(tmp_path)
    for side in ("reference", "candidate"):
        factory = ["--factory", f"faulty_llama:{side}", "--device", "cpu"]
        assert status_of(["capture", "torch", dtype, "-o", side, *factory]) == 0
    before = digests(tmp_path / "reference"), digests(tmp_path / "candidate")
    comparison = compared(tmp_path / "reference", tmp_path / "candidate")
    with RerunSession(comparison) as session:
        question = session.needs()  # code is never run because a capture names it
        assert question is not None and question.proposal.factory == "faulty_llama:candidate"
        session.choose(question.proposal)
        assert session.rerun(rows_of(session.layers.all))
        rows = comparison.rows
        assert [rows[index].canonical for index in session.wrong_rows()] == list(FAULTY)
        for index, found in session.results.items():
            assert found.problem is None, (rows[index].label, found.problem)
            inside = session.judgement(index).kind == "inside"
            contains = any(name.startswith(rows[index].canonical + ".") for name in FAULTY)
            contains = contains or rows[index].canonical.startswith("model")
            assert inside == contains or (dtype == "bfloat16" and not inside), rows[index].label
            if not contains and session.judgement(index).kind in ("fine", "inherited"):
                assert isinstance(found.single, Measurement)
                assert found.single.relative_l2 is not None
                # Far below the limit: an order of magnitude between noise and the smallest fault.
                limit = allowed(rows[index]) / (10 if dtype == "float32" else 2)
                assert found.single.relative_l2 <= limit, rows[index].label
        inherited = [i for i in session.results if session.judgement(i).kind == "inherited"]
        assert len(inherited) > 20  # as captured they are wrong, alone they are right
    assert (digests(tmp_path / "reference"), digests(tmp_path / "candidate")) == before


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, and one with a wrong weight in the second layer's attention."""

    from support.tiny_checkpoints import with_wrong_weight, write_llama

    place = tmp_path_factory.mktemp("generated")
    good = write_llama(place / "good_model")
    bad = with_wrong_weight(good, place / "bad_model", "model.layers.1.self_attn.o_proj.weight")
    more = ["--input-ids", IDS_TEXT, "--mode", "generate", "--max-new-tokens", "3"]
    for model, name in ((good, "good"), (bad, "bad")):
        assert status_of(["capture", "torch", str(model), "-o", str(place / name), *more]) == 0
    shutil.copytree(place / "good", place / "no_calls")
    manifest = place / "no_calls" / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if not line.startswith('{"call"')))
    return place


def test_decode_steps_are_run_on_the_recorded_keys_and_values(generated: Path) -> None:
    comparison = compared(generated / "good", generated / "bad")
    with RerunSession(comparison) as session:
        assert session.needs() is None  # the capture tells the model
        wanted = [
            row.index
            for row in comparison.rows
            if row.kind == "pair" and row.role == "output" and row.step > 0
            and row.canonical.startswith("layers.")
        ]  # fmt: skip
        assert session.rerun(wanted)
        wrong_layers = {
            (comparison.rows[i].canonical, comparison.rows[i].step) for i in session.wrong_rows()
        }
        assert wrong_layers == {("layers.1.self_attn.o_proj", 1), ("layers.1.self_attn.o_proj", 2)}
        for row in comparison.rows:
            if row.canonical == "layers.0.self_attn" and row.index in session.results:
                single = session.results[row.index].single
                assert isinstance(single, Measurement) and (single.relative_l2 or 0) < 1e-6


def test_without_recorded_calls_a_decode_step_is_refused(generated: Path) -> None:
    """Attention would give a wrong answer without its cache, and no error."""
    comparison = compared(generated / "good", generated / "no_calls")
    with RerunSession(comparison) as session:
        labels = {(row.canonical, row.slot, row.step): row.index for row in comparison.rows}
        attention = labels["layers.0.self_attn", "output", 1]
        norm = labels["layers.0.input_layernorm", "output", 1]
        assert session.rerun([attention, norm])
        assert session.results[norm].problem is None
        problem = session.results[attention].problem
        assert problem is not None and "cache" in problem


def test_missing_inputs_are_named(generated: Path, tmp_path: Path) -> None:
    """A reference without position embeddings cannot feed a decoder layer."""
    poor = tmp_path / "poor"
    shutil.copytree(generated / "good", poor)
    lines = (poor / "manifest.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"slot": "input_position_embeddings' not in line]
    (poor / "manifest.jsonl").write_text("".join(kept))
    comparison = compared(poor, generated / "bad")
    with RerunSession(comparison) as session:
        index = next(
            row.index for row in comparison.rows
            if row.canonical == "layers.0.self_attn" and row.slot == "output"
        )  # fmt: skip
        session.rerun([index])
        problem = session.results[index].problem
        assert problem == "reference has no `input_position_embeddings` for this layer"


def test_another_model_than_the_captured_one_is_not_acquitted(generated: Path) -> None:
    """Alone right, captured wrong, though nothing wrong came in: that is said, and fails."""
    comparison = compared(generated / "good", generated / "bad")
    spec = RunnerSpec("torch", model=str(generated / "good_model"), dtype="float32")
    with RerunSession(comparison, spec) as session:
        rows = rows_of(session.layers.named("layers.1.self_attn.o_proj"))
        session.rerun(rows)
        assert {session.judgement(index).kind for index in rows} == {"unlike"}
        assert session.judgement(rows[0]).fails


def test_a_model_that_lacks_the_layer(generated: Path, tmp_path: Path) -> None:
    comparison = compared(generated / "good", generated / "bad")
    model = str(generated / "good_model")
    spec = RunnerSpec("torch", model=model, dtype="float32", layers=1)
    with RerunSession(comparison, spec) as session:
        rows = rows_of(session.layers.named("layers.1.mlp"))
        session.rerun(rows)
        assert "the runner has no layer model.layers.1.mlp" in str(session.results[rows[0]].problem)
    with (
        RerunSession(comparison, RunnerSpec("torch", model=str(tmp_path))) as session,
        pytest.raises(RerunError, match=r"no config\.json in it"),
    ):
        session.rerun(rows)
