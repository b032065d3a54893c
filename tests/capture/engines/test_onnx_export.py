"""The tiny llama and qwen2 by both of torch's exporters: captured in ONNX Runtime, compared with
PyTorch, one weight changed, layers run again.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages of the extra `onnx` are optional.
import json
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401 - without it the tests are skipped
import onnxscript  # noqa: F401
import pytest

from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Measurement
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession
from support.onnx_models import EXPORTERS, export_and_capture, exported, with_changed_weight
from support.tiny_checkpoints import IDS_TEXT

FAULTY = {"llama": "model.layers.1.mlp.down_proj", "qwen2": "model.layers.0.self_attn.o_proj"}


def one_channel(weight: Any) -> Any:
    weight[5] *= 1.5
    return weight


def rows_swapped(weight: Any) -> Any:
    """Of an embedding: the rows of two ids that are run."""
    weight[[40, 41]] = weight[[41, 40]]
    return weight


def outputs_swapped(weight: Any) -> Any:
    weight[:, [3, 5]] = weight[:, [5, 3]]
    return weight


# What is done to the weight of a module, the cause, and words of it.
OTHER_FAULTS = (
    ("model.embed_tokens", rows_swapped, "embedding", "2 rows are those of other ids"),
    ("model.layers.0.post_attention_layernorm", one_channel, "scale",
     "output channel 5 is 1.5 x what it should be"),
    ("model.layers.1.self_attn.v_proj", outputs_swapped, "row-order",
     "2 of 32 output channels are in a different order"),
    ("model.layers.1.self_attn.q_proj", lambda weight: weight.T, "transposed",
     "the weight is transposed"),
    ("lm_head", outputs_swapped, "row-order", "2 of 320 output channels"),
)  # fmt: skip


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
    return captured_in_onnx(file, place / "faulty")


def captured_in_onnx(file: Path, out: Path) -> Path:
    words = ["capture", "onnx", str(file), "-o", str(out), "--provider", "cpu"]
    assert status_of([*words, "--input-ids", IDS_TEXT]) == 0
    return out


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


@pytest.mark.parametrize(("module", "change", "cause", "words"), OTHER_FAULTS,
                         ids=[fault[0] for fault in OTHER_FAULTS])  # fmt: skip
def test_other_changed_initializers_are_named_with_their_causes(
    place: Path, module: str, change: Any, cause: str, words: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = with_changed_weight(exported(place), tmp_path / "model", module, change)
    candidate = captured_in_onnx(file, tmp_path / "dump")
    report = tmp_path / "report.json"
    sides = [str(place / "torch_dump"), str(candidate)]
    more = ["--reference-model", str(place / "model"), "--format", "json", "-o", str(report)]
    assert status_of(["compare", *sides, *more]) == 1
    first = json.loads(report.read_text())["first_divergence"]
    assert first["candidate"] == f"{module}-output"
    assert first["causes"][0]["name"] == cause
    assert first["causes"][0]["text"].startswith(words)
    capsys.readouterr()
    assert status_of(["rerun", *sides, module]) == 1
    assert "this layer is wrong on its own" in capsys.readouterr().out


def test_a_quantised_graph_is_said_to_be_one(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not every layer is a finding; nothing is paired that is not the same."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "model.onnx"
    quantize_dynamic(str(exported(place)), str(file), weight_type=QuantType.QInt8, per_channel=True)
    sides = [str(place / "torch_dump"), str(captured_in_onnx(file, tmp_path / "dump"))]
    assert "the graph is quantised: uint8, int8 (" in capsys.readouterr().out
    status_of(["check", *sides])
    assert "quantised in another way: quantization (not set and " in capsys.readouterr().out
    comparison = compared(*map(Path, sides))
    pairs = [row for row in comparison.rows if row.kind == "pair"]
    assert len(pairs) > 25
    for row in pairs:
        assert row.reference is not None and row.candidate is not None
        assert row.reference.shape == row.candidate.shape, row.label
        assert row.reference.module == row.candidate.module, row.label
        # Another value in its place would differ by more.
        measured = comparison.measurements[row.index]
        assert isinstance(measured, Measurement), row.label
        assert (measured.relative_l2 or 0.0) < 0.25, row.label
    report = tmp_path / "report.json"
    assert status_of(["compare", *sides, "--format", "json", "-o", str(report)]) == 1
    assert len(json.loads(report.read_text())["findings"]) <= 3


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
