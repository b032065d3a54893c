"""Buffers that were read too late, values coarser than their type, and what looks like either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DebertaV2Config, DebertaV2Model, Qwen3Config, Qwen3Model

from layertui.capture import record
from layertui.capture.open import open_capture
from layertui.compare.checks import samples
from layertui.compare.checks.finding import Finding
from layertui.compare.checks.one_side import check_capture
from layertui.compare.checks.stale import innermost
from layertui.compare.checks.two_sides import check_pair
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.names.operators import is_view
from support.synthetic import saved

torch.set_num_threads(1)
LAYERS = 3


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape or (6, 8)).astype(np.float32)


def stale(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.code == "stale"]


def checked(folder: Path, arrays: Mapping[str, np.ndarray]) -> list[Finding]:
    return check_capture(saved(folder, arrays))


# One buffer for several kinds of modules


def dump(step: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    """Records at three places of every layer, under names that no framework has."""
    return {
        f"L{layer:02d}_{place}_{step}": more.get(place, noise(hash((layer, at)) % 99, 1, 32))
        for layer in range(2)
        for at, place in enumerate(("A_pre_attn", "B_post_attn", "C_post_layer"))
    }


def test_one_buffer_for_all_records_of_a_step(tmp_path: Path) -> None:
    last = noise(3, 1, 32)
    whole = {f"{name}0": noise(at, 8, 32) for at, name in enumerate(dump("step0"))}
    names = dump("step1")
    assert stale(checked(tmp_path / "good", {**whole, **names})) == []
    (finding,) = stale(checked(tmp_path / "a", {**whole, **dict.fromkeys(names, last)}))
    assert finding.severity == "error"
    assert set(finding.records) == {name.removesuffix("_step1") for name in names}
    assert finding.what == "6 outputs of different modules have the same bits"
    assert "one buffer" in finding.advice


def test_one_buffer_for_all_modules_of_all_layers(tmp_path: Path) -> None:
    parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp", "")
    names = [
        f"model.layers.{layer}" + (f".{part}" if part else "") + "-output"
        for layer in range(LAYERS) for part in parts
    ]  # fmt: skip
    (finding,) = stale(checked(tmp_path / "a", dict.fromkeys(names, noise(0))))
    assert finding.severity == "error" and len(finding.records) == len(names)
    assert "different modules" in finding.what


def test_a_value_that_is_handed_on_is_no_buffer(tmp_path: Path) -> None:
    """A layer's output is the next one's input, what is before its norm, and its parts' output."""
    arrays: dict[str, np.ndarray] = {"model.embed_tokens-output": noise(0)}
    for layer in range(LAYERS):
        out = noise(10 + layer)
        for name in ("mlp.down_proj", "mlp", "mlp.dropout", ""):
            arrays[f"model.layers.{layer}" + (f".{name}" if name else "") + "-output"] = out
        arrays[f"model.layers.{layer + 1}.input_layernorm-input_0"] = out
    assert stale(checked(tmp_path / "a", arrays)) == []


def test_what_can_be_no_buffer_is_not_read_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kinds of modules that look the same: whether they are is of no consequence."""
    monkeypatch.setattr(samples, "same_bits", lambda *_: pytest.fail("read in full"))
    arrays: dict[str, np.ndarray] = {}
    for layer in range(LAYERS):
        for name in ("mlp", "mlp_dropout"):
            arrays[f"model.layers.{layer}.{name}-output"] = noise(layer)
    good = {name: noise(10 + at) for at, name in enumerate(arrays)}
    comparison = Comparison(saved(tmp_path / "a", arrays), saved(tmp_path / "b", good))
    assert stale(check_pair(comparison)) == []


def test_a_buffer_of_one_layer_shows_against_the_other_side(tmp_path: Path) -> None:
    """Alone it may be a value that is handed on; the reference has three."""
    names = [f"model.layers.{i}.{part}-output" for i, part in
             ((0, "mlp"), (1, "self_attn.q_proj"), (1, "self_attn.o_proj"))]  # fmt: skip
    good = {name: noise(at) for at, name in enumerate(names)}
    bad = dict.fromkeys(names, good[names[-1]])
    comparison = Comparison(saved(tmp_path / "a", good), saved(tmp_path / "b", bad))
    (finding,) = stale(check_pair(comparison))
    assert (finding.severity, finding.side) == ("error", "candidate")
    assert set(finding.records) == set(names)
    assert finding.what == "3 outputs have the same bits, those of the reference do not"
    for name, same in (("good", good), ("bad", bad)):
        pair = Comparison(*(saved(tmp_path / name / side, same) for side in "ab"))
        assert stale(check_pair(pair)) == []


def test_what_one_side_says_of_itself_is_not_said_twice(tmp_path: Path) -> None:
    good, bad = dump("step1"), dict.fromkeys(dump("step1"), noise(3, 1, 32))
    comparison = Comparison(saved(tmp_path / "a", good), saved(tmp_path / "b", bad))
    (finding,) = stale(check_pair(comparison))
    assert finding.side == "candidate" and "different modules" in finding.what


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)))
def test_innermost_modules_hold_no_other(modules: list[str]) -> None:
    kept = innermost(modules)
    assert set(kept) <= set(modules)
    assert not any(b.startswith(f"{a}.") for a in kept for b in modules)
    assert all(any(k == m or k.startswith(f"{m}.") for k in kept) for m in modules)


# One kind of module with equal outputs


def layers(part: str, outputs: Any, inputs: Any = None) -> dict[str, np.ndarray]:
    """A run whose layers move, and one part of them."""
    made: dict[str, np.ndarray] = {}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        if inputs is not None:
            made[f"{name}.{part}-input_0"] = inputs(layer)
        made[f"{name}.{part}-output"] = outputs(layer)
        made[f"{name}-output"] = noise(50 + layer)
    return made


@pytest.mark.parametrize(
    ("part", "inputs", "outputs", "severity"),
    [
        ("mlp", None, lambda _: noise(1), "error"),
        ("mlp", lambda layer: noise(layer), lambda _: noise(7), "error"),
        ("mlp", lambda _: noise(2), lambda _: noise(7), "warning"),
        ("pos_dropout", lambda _: noise(2), lambda _: noise(2), None),
        ("pos_dropout", lambda layer: noise(layer), lambda _: noise(2), "error"),
        ("pos_dropout", None, lambda _: noise(2), "warning"),
        ("mlp", None, lambda layer: noise(max(layer, 1)), "error"),
        ("mlp", lambda layer: noise(layer), lambda layer: noise(max(layer, 1)), "error"),
        ("mlp", lambda layer: noise(max(layer, 1)), lambda layer: noise(9 + max(layer, 1)),
         "warning"),
    ],
)  # fmt: skip
def test_equal_outputs_are_a_fault_where_the_inputs_differ(
    tmp_path: Path, part: str, inputs: Any, outputs: Any, severity: str | None
) -> None:
    found = stale(checked(tmp_path / "a", layers(part, outputs, inputs)))
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])


def test_a_shared_dropout_of_deberta_is_healthy(tmp_path: Path) -> None:
    config = DebertaV2Config(
        vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, relative_attention=True, position_buckets=8, pos_att_type=["c2p"],
        max_position_embeddings=32, type_vocab_size=0, norm_rel_ebd="layer_norm",
    )  # fmt: skip
    torch.manual_seed(0)
    model = DebertaV2Model(config).eval()
    ids = (torch.arange(20)[None] * 7 + 3) % 60
    for name in ("a", "b"):
        with torch.no_grad(), record(model, tmp_path / name):
            model(ids)
    capture = open_capture(tmp_path / "a")
    shared = [r.name for r in capture.records if "pos_dropout" in r.name and "output" in r.name]
    assert len(shared) == config.num_hidden_layers
    assert [f for f in check_capture(capture) if f.severity != "note"] == []
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    assert [f for f in check_pair(comparison) if f.severity != "note"] == []


def test_views_of_what_layers_share_are_healthy(tmp_path: Path) -> None:
    """Each layer's operators reshape the rotation that all of them are given."""
    config = Qwen3Config(
        vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, intermediate_size=48, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3Model(config).eval()
    with torch.no_grad(), record(model, tmp_path / "a", level="op"):
        model((torch.arange(20)[None] * 7 + 3) % 60, use_cache=False)
    capture = open_capture(tmp_path / "a")
    assert any("aten.unsqueeze" in r.name and ".self_attn/" in r.name for r in capture.records)
    assert stale(list(check_capture(capture))) == []


@pytest.mark.parametrize(
    ("module", "view"),
    [
        ("layers.0.self_attn/aten.unsqueeze.default", True), ("layers.0.mlp/aten.t.default", True),
        ("layers.0.self_attn/aten.mul.Tensor", False), ("layers.0.mlp/aten.tanh.default", False),
        ("layers.0.self_attn/aten.topk.default", False), ("layers.0.view", False),
    ],
)  # fmt: skip
def test_operators_that_compute_nothing(module: str, view: bool) -> None:
    assert is_view(module) is view


# Values coarser than their type


@pytest.mark.parametrize(
    ("name", "torch_type"),
    [
        ("bfloat16", torch.bfloat16), ("float16", torch.float16),
        ("float8_e4m3fn", torch.float8_e4m3fn), ("float8_e5m2", torch.float8_e5m2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kept", ["float32", "float64"])
def test_values_that_are_coarser_than_their_type(
    tmp_path: Path, name: str, torch_type: torch.dtype, kept: str
) -> None:
    arrays = {
        f"model.layers.{i}.mlp-output":
            torch.from_numpy(noise(i, 16, 32)).to(torch_type).float().numpy().astype(kept)
        for i in range(4)
    }  # fmt: skip
    (finding,) = checked(tmp_path / "a", arrays)
    assert (finding.severity, finding.code) == ("note", "dtype")
    assert finding.what == f"the values of 4 of 4 outputs are {name}, stored as {kept}"
    some = {
        **{f"model.layers.{i}.mlp-output": noise(9 + i, 16, 32) for i in range(4, 12)},
        **arrays,
    }
    (finding,) = checked(tmp_path / "b", {k: v.astype(kept) for k, v in some.items()})
    assert finding.what == f"4 of 12 outputs hold values of {name}, stored as {kept}"
    assert set(finding.records) == set(arrays)


def test_masks_and_counts_are_no_coarse_values(tmp_path: Path) -> None:
    arrays = {
        "model.mask_of_tokens-output": (noise(0, 16, 32) > 0).astype(np.float32),
        "model.layers.0.mlp.router-output": np.arange(512, dtype=np.float32).reshape(16, 32) % 30,
        **{f"model.layers.{i}.mlp-output": noise(i, 16, 32) for i in range(4)},
    }
    assert checked(tmp_path / "a", arrays) == []


def test_a_narrow_type_is_what_it_says(tmp_path: Path) -> None:
    arrays = {f"model.layers.{i}.mlp-output": noise(i).astype(np.float16) for i in range(4)}
    assert checked(tmp_path / "a", arrays) == []
