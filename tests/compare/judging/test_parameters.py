"""Checkpoints against each other: every parameter by itself, quantised told from wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.linear.quantised_copy import QuantisedCopies
from layertui.compare.laws.linear.quantisers import Quantiser, weight_quantisers
from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.matching.names.roles import is_parameter

Change = Callable[[dict[str, np.ndarray]], None]
F32 = 2.0**-24
KINDS = [
    quantiser for quantiser in weight_quantisers()
    if quantiser.fits(128) and quantiser.kind != "nvfp4" and quantiser.size in (-1, 0, 32)
]  # fmt: skip


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    found: dict[str, np.ndarray] = {}
    for layer in range(2):
        for name, shape in (("self_attn.q_proj", (32, 128)), ("mlp.down_proj", (48, 128))):
            module = f"model.layers.{layer}.{name}"
            found[f"{module}.weight"] = rng.standard_normal(shape).astype(np.float32) / 8
        norm = f"model.layers.{layer}.input_layernorm.weight"
        found[norm] = 1 + rng.standard_normal(128).astype(np.float32) / 16
    return found


def compared(tmp_path: Path, change: Change) -> Comparison:
    ours, theirs = weights(), weights()
    change(theirs)
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path, arrays in zip(paths, (ours, theirs), strict=True):
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    comparison = open_comparison(*map(str, paths))
    comparison.measure(use_cache=False, threads=1)
    return comparison


def levels(comparison: Comparison) -> dict[str, str]:
    rows = zip(comparison.rows, comparison.verdicts, strict=True)
    return {row.canonical: verdict.level for row, verdict in rows}


def quantise(arrays: dict[str, np.ndarray], kind: Quantiser) -> None:
    for name, array in arrays.items():
        if array.ndim == 2:
            arrays[name] = kind(array.astype(np.float64)).astype(np.float32)


def test_two_wrong_parameters_are_two_findings(tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["model.layers.0.self_attn.q_proj.weight"] *= 1.25
        arrays["model.layers.1.mlp.down_proj.weight"][3] += 0.2

    comparison = compared(tmp_path, change)
    wrong = {name for name, level in levels(comparison).items() if level == "diverged"}
    assert wrong == {"layers.0.self_attn.q_proj.weight", "layers.1.mlp.down_proj.weight"}
    assert all(
        verdict.origin == "made" and "input" not in verdict.reason
        for verdict in comparison.verdicts
        if verdict.level == "diverged"
    )


@pytest.mark.parametrize("kind", ["int4 in groups of 32", "nf4 in groups of 64", "int8 by row"])
def test_a_quantised_checkpoint_is_no_wrong_one(tmp_path: Path, kind: str) -> None:
    quantiser = next(q for q in weight_quantisers() if q.words == kind)
    comparison = compared(tmp_path, lambda arrays: quantise(arrays, quantiser))
    assert "diverged" not in levels(comparison).values()
    assert comparison.exit_status() == 0
    said = [verdict.reason for verdict in comparison.verdicts if verdict.level == "noise"]
    assert said and all(kind.split()[0] in reason for reason in said)


def test_one_wrong_row_of_a_quantised_checkpoint_is_found(tmp_path: Path) -> None:
    quantiser = next(q for q in weight_quantisers() if q.words == "int4 in groups of 32")

    def change(arrays: dict[str, np.ndarray]) -> None:
        quantise(arrays, quantiser)
        rows = arrays["model.layers.1.mlp.down_proj.weight"]
        rows[[7, 8]] = rows[[8, 7]]

    wrong = {n for n, level in levels(compared(tmp_path, change)).items() if level == "diverged"}
    assert wrong == {"layers.1.mlp.down_proj.weight"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_every_kind_is_recognised_either_way_and_nothing_else(kind: Quantiser) -> None:
    x = np.random.default_rng(4).standard_normal((16, 128)) / 20
    y = kind(x)
    copies = QuantisedCopies()
    assert copies.words(x, y, (F32, F32), True) is not None
    assert copies.words(y, x, (F32, F32), True) is not None
    assert copies.words(x, y * 1.1, (F32, F32), True) is None
    assert copies.words(x, np.roll(y, 1, 0), (F32, F32), True) is None


def test_noise_is_no_quantisation() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((16, 128))
    y = x + rng.standard_normal(x.shape) / 50
    assert QuantisedCopies().words(x, y, (F32, F32), True) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layers.0.mlp.down_proj.weight", True), ("norm.bias", True), ("inv_freq", True),
        ("layers.0.mlp.down_proj", False), ("weighted_sum", False), ("layers.0", False),
    ],
)  # fmt: skip
def test_names_of_parameters(name: str, expected: bool) -> None:
    assert is_parameter(name) is expected


def _permuted(rows: np.ndarray, head: int) -> np.ndarray:
    """As llama.cpp's converter stores rows of queries and keys."""
    halves = rows.reshape(-1, 2, head // 2, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


@pytest.mark.parametrize("kind", [None, "int4 in groups of 32"])
def test_rows_in_the_other_rotary_layout_are_no_fault(tmp_path: Path, kind: str | None) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        for layer in range(2):
            name = f"model.layers.{layer}.self_attn.q_proj.weight"
            arrays[name] = _permuted(arrays[name], 16)
        if kind is not None:
            quantise(arrays, next(q for q in weight_quantisers() if q.words == kind))

    comparison = compared(tmp_path, change)
    assert comparison.exit_status() == 0
    (verdict,) = (
        verdict for row, verdict in zip(comparison.rows, comparison.verdicts, strict=True)
        if row.canonical == "layers.1.self_attn.q_proj.weight"
    )  # fmt: skip
    assert "heads of 16" in verdict.reason and "rearrange(" in verdict.reason


def test_rows_in_the_other_layout_in_one_layer_only_are_a_fault(tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        name = "model.layers.1.self_attn.q_proj.weight"
        arrays[name] = _permuted(arrays[name], 16)

    wrong = {n for n, level in levels(compared(tmp_path, change)).items() if level == "diverged"}
    assert wrong == {"layers.1.self_attn.q_proj.weight"}


def test_permuted_rows_of_another_weight_are_a_fault(tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        name = "model.layers.1.mlp.down_proj.weight"
        arrays[name] = _permuted(arrays[name], 16)

    wrong = {n for n, level in levels(compared(tmp_path, change)).items() if level == "diverged"}
    assert wrong == {"layers.1.mlp.down_proj.weight"}


def test_names_of_gguf_and_of_meta_are_those_of_the_modules() -> None:
    for name, expected in (
        ("blk.3.attn_q.weight", "layers.3.self_attn.q_proj.weight"),
        ("token_embd.weight", "embed_tokens.weight"),
        ("output_norm.weight", "norm.weight"),
        ("layers.3.attention.wq.weight", "layers.3.self_attn.q_proj.weight"),
        ("transformer.h.3.attn.c_attn.bias", "layers.3.self_attn.qkv_proj.bias"),
    ):
        assert canonical_name(name, "", NameRules()).module == expected
