"""What a rerun would do and what it lacks, said before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.capture.demo import CANDIDATE_FACTORY
from layertui.capture.demo.shipped import unpack
from layertui.capture.runners.spec import RunnerSpec
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.rerun.outlook import Needed, Outlook, outlook
from layertui.compare.rerun.session import RerunSession
from support.small_captures import two_sides


@pytest.fixture(scope="module")
def olmo(real: Path) -> Comparison:
    return open_comparison(str(real / "olmo2-f32/torch_dump"), str(real / "olmo2-f32/max_dump"))


def _row(comparison: Comparison, name: str) -> int:
    return next(r.index for r in comparison.rows if f"{r.canonical}-{r.slot}" == name)


def _needed(found: Outlook) -> dict[str, Needed]:
    return {each.label: each for each in found.needed}


def test_a_capture_that_names_no_checkpoint(olmo: Comparison) -> None:
    found = outlook(RerunSession(olmo), _row(olmo, "layers.0.self_attn.q_norm-output"))
    assert "layers.0.self_attn.q_norm of the candidate" in found.does
    assert "its output" in found.does and not found.ready
    needed = _needed(found)
    assert needed["inputs"] == Needed("inputs", "of the reference: input_0 [1,10,64]")
    assert "which model made this capture" in needed["checkpoint"].missing
    assert ":model candidate" in needed["checkpoint"].missing
    assert "MAX" in needed["engine"].text + needed["engine"].missing


def test_everything_is_there(olmo: Comparison, real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(real / "checkpoints/olmo2-f32")
    monkeypatch.setattr(RunnerSpec, "check_installed", lambda _: None)  # MAX is not, here
    session = RerunSession(olmo, RunnerSpec("max", model=model, dtype="float32"))
    found = outlook(session, _row(olmo, "layers.0.self_attn-output"))
    assert found.ready
    needed = _needed(found)
    assert needed["checkpoint"].text == model
    assert needed["engine"].text.startswith("MAX, float32, device auto; compiles")
    assert "input_hidden_states" in needed["inputs"].text
    assert "the candidate's own input_0" in needed["inputs"].text


def test_an_engine_that_is_not_installed(olmo: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layertui.capture.engines.registry.has_extra", lambda _: False)
    spec = RunnerSpec("onnx", model="x.onnx")
    found = outlook(RerunSession(olmo, spec), _row(olmo, "layers.0.self_attn-output"))
    needed = _needed(found)
    assert not found.ready and "needs the extra 'onnx'" in needed["engine"].missing
    assert needed["graph"].text == "x.onnx"
    command = RunnerSpec("external")
    found = outlook(RerunSession(olmo, command), _row(olmo, "layers.0.self_attn-output"))
    assert "which command runs" in _needed(found)["command"].missing


def test_a_capture_without_inputs(tmp_path: Path) -> None:
    comparison = open_comparison(*map(str, two_sides(tmp_path, 2)))
    found = outlook(RerunSession(comparison), 0)
    assert "has none of this layer" in _needed(found)["inputs"].missing and not found.ready


def test_code_that_only_the_capture_names_is_asked_for(tmp_path: Path) -> None:
    sides = unpack(str(tmp_path), "weight-scale")
    own = open_comparison(*sides)
    row = own.rows[-1].index
    assert _needed(outlook(RerunSession(own), row))["code"].text  # the demo's: this program's own
    manifest = Path(sides[1]) / "layertui.json"
    text = manifest.read_text()
    assert CANDIDATE_FACTORY in text
    manifest.write_text(text.replace(CANDIDATE_FACTORY, "elsewhere:factory"))
    found = outlook(RerunSession(open_comparison(*sides)), row)
    assert "elsewhere:factory" in _needed(found)["code"].missing and not found.ready


def test_a_record_of_no_layer(olmo: Comparison) -> None:
    gap = next(r.index for r in olmo.rows if r.kind == "gap_reference")
    found = outlook(RerunSession(olmo), gap)
    assert found.refused == "the candidate has no such record" and not found.ready
