"""Real runs of llama.cpp against one of PyTorch: whole tensors, and the log of its own program."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture.engines.writer import CaptureWriter
from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.names.canonical import NameRules
from layertui.compare.matching.names.naming import read_names

OF_LAYERS = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
             "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
             "mlp.down_proj")  # fmt: skip


def compared(reference: Path, candidate: Path) -> Comparison:
    found = open_comparison(str(reference), str(candidate))
    found.measure(use_cache=False, threads=1)
    return found


def changed(source: Path, place: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a capture that says something else of itself."""
    shutil.copytree(source, place)
    first, _, rest = (place / "manifest.jsonl").read_text().partition("\n")
    header = json.loads(first)
    change(header)
    (place / "manifest.jsonl").write_text(json.dumps(header) + "\n" + rest)
    return place


@pytest.mark.parametrize("kind", ["native", "log"])
def test_everything_that_has_a_name_agrees(kind: str, real: Path) -> None:
    """Though a log has the last token alone behind the last layer's attention."""
    found = compared(real / "llama-f32" / "torch_dump", real / "llama_cpp-f32" / kind)
    outputs = [row for row in found.rows if row.kind == "pair" and row.slot == "output"]
    assert {row.canonical for row in outputs} >= {
        "embed_tokens", "norm", "lm_head", "layers.0", "layers.1",
        *(f"layers.{n}.{name}" for n in (0, 1) for name in OF_LAYERS),
    }  # fmt: skip
    assert all(row.candidate is not None and row.candidate.name != "norm-value" for row in outputs)
    assert found.exit_status() == 0


def test_rows_in_pairs_are_seen_where_nothing_says_so(real: Path, tmp_path: Path) -> None:
    """As in a dump by another program: the law of attention is no evidence then."""
    plain = changed(real / "llama_cpp-f32" / "native", tmp_path / "plain",
                    lambda header: header["run"].pop("interleaved_heads"))  # fmt: skip
    found = compared(real / "llama-f32" / "torch_dump", plain)
    assert found.exit_status() == 0
    (q, *_) = [row.index for row in found.rows if row.label == "layers.0.self_attn.q_proj-output"]
    assert found.verdicts[q].permuted


@pytest.mark.parametrize("said", [None, "16", 15, -16, 0, 1.5, True, [16], 1 << 70, 48])
def test_what_a_capture_says_of_its_rows_is_not_trusted(
    said: object, real: Path, tmp_path: Path
) -> None:
    native = real / "llama_cpp-f32" / "native"
    odd = changed(native, tmp_path / "odd", lambda h: h["run"].update(interleaved_heads=said))
    found = compared(real / "llama-f32" / "torch_dump", odd)
    assert found.counts.pairs == compared(real / "llama-f32" / "torch_dump", native).counts.pairs


def test_two_runs_of_llama_cpp_are_compared_as_they_are(real: Path) -> None:
    native = real / "llama_cpp-f32" / "native"
    found = compared(native, native)
    assert all(not row.recipe_candidate for row in found.rows if row.kind == "pair")


def test_of_values_by_one_name_the_biased_product_is_the_module_s(tmp_path: Path) -> None:
    made = ("MUL_MAT", "ADD", "ROPE")
    with CaptureWriter(str(tmp_path), {"framework": "llama.cpp"}) as writer:
        for name in ("attn_norm-0", "Qcur-0", "Kcur-0", "l_out-0"):
            kinds = made[1:] if name == "Kcur-0" else made if name == "Qcur-0" else ("ADD",)
            for number, kind in enumerate(kinds, 1):
                stored = writer.store(np.ones((2, 4), np.float32), "float32")
                writer.value(name, number, kind, stored)
    capture = open_capture(str(tmp_path))
    readings = read_names(capture, NameRules()).readings
    found = {r.name: (n.module, n.slot, n.call) for r, n in zip(capture.records, readings,
                                                               strict=True)}  # fmt: skip
    query, key = "layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"
    assert found["Qcur-0(2)-value"] == (query, "output", 1)
    assert found["Qcur-0-value"][0] == f"{query}.mul_mat"
    assert found["Qcur-0(3)-value"][0] == f"{query}.rope"
    assert found["Kcur-0-value"] == (key, "output", 1)
