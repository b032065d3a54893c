"""The tiny llama and qwen2 by both of torch's exporters: captured in ONNX Runtime, compared with
PyTorch, one weight changed, layers run again.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
import json
from pathlib import Path

import onnxruntime  # noqa: F401 - without it the tests are skipped
import onnxscript  # noqa: F401
import pytest

from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession
from support.onnx_models import EXPORTERS, export_and_capture, exported, with_changed_weight
from support.tiny_checkpoints import IDS_TEXT

FAULTY = {"llama": "model.layers.1.mlp.down_proj", "qwen2": "model.layers.0.self_attn.o_proj"}


@pytest.fixture(scope="module", params=[(k, e) for k in FAULTY for e in EXPORTERS],
                ids=lambda pair: "-".join(pair))  # fmt: skip
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, exporter = request.param
    folder = tmp_path_factory.mktemp(f"{kind}_{exporter}")
    export_and_capture(folder, kind, exporter)
    (folder / "kind").write_text(kind)
    return folder


@pytest.fixture(scope="module")
def faulty(place: Path) -> Path:
    """A capture of a copy with one changed initializer."""
    module = FAULTY[(place / "kind").read_text()]
    file = with_changed_weight(exported(place), place / "faulty_model", module, 1.25)
    words = ["capture", "onnx", str(file), "-o", str(place / "faulty"), "--provider", "cpu"]
    assert status_of([*words, "--input-ids", IDS_TEXT]) == 0
    return place / "faulty"


def compared(reference: Path, candidate: Path) -> Comparison:
    found = open_comparison(str(reference), str(candidate))
    found.measure(use_cache=False)
    return found


def test_every_output_of_a_module_has_its_partner_and_none_differs(place: Path) -> None:
    comparison = compared(place / "torch_dump", place / "onnx_dump")
    outputs = [row for row in comparison.rows if row.role == "output"]
    assert len(outputs) == 33 and all(row.kind == "pair" for row in outputs)
    for row in outputs:
        assert row.reference is not None and row.candidate is not None
        assert row.reference.module == row.candidate.module, row.label
    assert comparison.exit_status() == 0
    assert not any(verdict.fails for verdict in comparison.verdicts)
    assert comparison.candidate.order_source == "manifest"


def test_inputs_meet_too(place: Path) -> None:
    """But a mask that only the graph has, and positions that only PyTorch hands on."""
    comparison = compared(place / "torch_dump", place / "onnx_dump")
    lonely = {
        (record.slot)
        for row in comparison.rows
        if row.role == "input" and row.kind != "pair"
        for record in (row.reference, row.candidate)
        if record is not None and record.module != "model.rotary_emb"
    }
    assert lonely <= {"input_attention_mask", "input_position_ids"}


def test_a_changed_initializer_is_named_with_its_cause(
    place: Path, faulty: Path, tmp_path: Path
) -> None:
    words = ["compare", str(place / "torch_dump"), str(faulty), "--format", "json"]
    report = tmp_path / "report.json"
    more = ["--reference-model", str(place / "model"), "-o", str(report)]
    assert status_of([*words, *more]) == 1
    first = json.loads(report.read_text())["first_divergence"]
    module = FAULTY[(place / "kind").read_text()]
    assert first["candidate"] == f"{module}-output"
    assert first["causes"][0]["name"] == "scale"
    assert float(first["causes"][0]["candidate"]) == pytest.approx(1.25, rel=1e-6)


def test_only_the_changed_layer_is_wrong_on_its_own(place: Path, faulty: Path) -> None:
    """The runner needs no word of the user: the capture names its model."""
    comparison = compared(place / "torch_dump", faulty)
    module = FAULTY[(place / "kind").read_text()]
    with RerunSession(comparison, use_cache=False) as session:
        assert session.needs() is None
        assert session.rerun(rows_of(session.layers.all))
        wrong = [comparison.rows[index].candidate for index in session.wrong_rows()]
        assert [record.module for record in wrong if record is not None] == [module]
        problems = [found.problem for found in session.results.values() if found.problem]
        assert problems == []
        kinds = {session.judgement(index).kind for index in session.results}
        assert kinds == {"fine", "inherited", "inside", "wrong"}


def test_the_commands_say_so(place: Path, faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = FAULTY[(place / "kind").read_text()]
    assert status_of(["rerun", str(place / "torch_dump"), str(faulty), module]) == 1
    out = capsys.readouterr().out
    assert f"runner     onnx: {place / 'faulty_model' / 'model.onnx'}" in out
    assert "this layer is wrong on its own (2.5e-01)" in out


def test_operators_and_optimised_graphs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every node; and what the optimised graph still has, which agrees with PyTorch."""
    file, ids = str(exported(place)), ["--input-ids", IDS_TEXT, "--provider", "cpu"]
    assert (
        status_of(["capture", "onnx", file, "-o", str(place / "ops"), "--level", "op", *ids]) == 0
    )
    comparison = compared(place / "onnx_dump", place / "ops")
    assert comparison.exit_status() == 0
    assert len(comparison.candidate.records) > 2 * len(comparison.reference.records)
    outputs = [r for r in comparison.candidate.records if r.slot == "output"]
    softmax = [record for record in outputs if record.module_class == "Softmax"]
    assert len(softmax) == 2 and all(record.shape == (1, 4, 10, 10) for record in softmax)
    words = ["capture", "onnx", file, "-o", str(place / "optimised"), "--level", "op"]
    capsys.readouterr()
    assert status_of([*words, "--optimised", *ids]) == 0
    assert "values of nodes vanished: " in capsys.readouterr().out
    comparison = compared(place / "torch_dump", place / "optimised")
    assert comparison.exit_status() == 0
    assert sum(row.kind == "pair" for row in comparison.rows) > 50
