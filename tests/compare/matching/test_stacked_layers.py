"""Records of all layers in one tensor; names of engines whose layers are built otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.names import parse_name
from layertui.compare.comparison import Comparison, open_comparison
from support.synthetic import aligned, pairs, record

PARTS = ("input_layernorm", "self_attn.q_proj", "self_attn.o_proj", "post_attention_layernorm",
         "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "mlp", "")  # fmt: skip
MAXTEXT = {"self_attn": "self_attention", "q_proj": "query", "o_proj": "out",
           "gate_proj": "wi_0", "up_proj": "wi_1", "down_proj": "wo",
           "input_layernorm": "pre_self_attention_layer_norm",
           "post_attention_layernorm": "post_self_attention_layer_norm"}  # fmt: skip
Tensors = dict[str, np.ndarray]


def run(layers: int) -> Tensors:
    rng = np.random.default_rng(layers)
    names = ["model.embed_tokens"]
    for layer in range(layers):
        names += [f"model.layers.{layer}.{part}".rstrip(".") for part in PARTS]
    names += ["model.norm", "lm_head"]
    return {name: rng.standard_normal((1, 5, 16)).astype(np.float32) for name in names}


def stacked(values: Tensors, axis: int, jax: bool) -> Tensors:
    """One tensor for all layers, under the names of a module that is scanned."""
    found: dict[str, list[np.ndarray]] = {}
    for name, each in values.items():
        name = re.sub(r"layers\.\d+", "layers", name)
        if jax:
            name = name.replace("model.layers", "decoder.layers")
            name = name.replace("model.norm", "decoder.decoder_norm")
            name = name.replace("model.embed_tokens", "token_embedder")
            name = ".".join(MAXTEXT.get(part, part) for part in name.split("."))
            name = name.replace(".", "/") + "/__call__/0"
        found.setdefault(name, []).append(each)
    return {n: v[0] if len(v) == 1 else np.stack(v, axis) for n, v in found.items()}


def compared(path: Path, left: Tensors, right: Tensors) -> Comparison:
    for name, tensors in (("ref", left), ("cand", right)):
        (path / name).mkdir(parents=True)
        np.savez(path / name / "run.npz", **tensors)  # type: ignore[arg-type]
    found = open_comparison(str(path / "ref"), str(path / "cand"))
    assert found.measure(use_cache=False, threads=1)
    return found


@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize("jax", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_layers_in_one_tensor_meet_layers_apart(
    tmp_path: Path, layers: int, jax: bool, axis: int
) -> None:
    values = run(layers)
    whole = stacked(values, axis, jax)
    for number, sides in enumerate([(values, whole), (whole, values)]):
        found = compared(tmp_path / f"{number}", *sides)
        assert found.exit_status() == 0 and found.counts.pairs == len(values)
        assert found.counts.gaps_reference == found.counts.gaps_candidate == 0
    name = f"model.layers.{layers - 1}.mlp.up_proj"
    wrong = {**values, name: values[name] * np.float32(1.2)}
    first = compared(tmp_path / "wrong", whole, wrong).first_divergence()
    assert first is not None and first.module == f"layers.{layers - 1}.mlp.up_proj"


def test_other_numbers_of_layers_make_no_pair(tmp_path: Path) -> None:
    whole = stacked(run(4), 0, False)
    found = compared(tmp_path, run(3), whole)
    assert not any("layers" in row.canonical for row in found.rows if row.kind == "pair")


def test_a_network_without_a_gate_is_not_cut_in_two() -> None:
    """Megatron's `linear_fc1` is GPT-NeoX's `dense_h_to_4h`, not a fused gate and up."""
    left = [record(f"gpt_neox.layers.{n}.mlp.dense_h_to_4h-output", (1, 5, 64)) for n in range(2)]
    right = [record(f"decoder.layers.{n}.mlp.linear_fc1-output", (5, 1, 64)) for n in range(2)]
    result = aligned(left, right)
    assert [row.problem for row in result.rows] == [None, None]
    assert [row.kind for row in result.rows] == ["pair", "pair"]


def test_norms_before_and_behind_have_llama_cpps_names() -> None:
    names = {"attn_norm": "input_layernorm", "attn_post_norm": "post_attention_layernorm",
             "ffn_norm": "pre_feedforward_layernorm",
             "ffn_post_norm": "post_feedforward_layernorm"}  # fmt: skip
    left = [f"model.layers.{n}.{name}-output" for n in range(2) for name in names.values()]
    right = [f"{name}-{n}" for n in range(2) for name in names]
    tensors = [record(name) for name in right]
    for each in tensors:
        each.module, each.slot = each.name, parse_name("x").slot
    found = pairs(aligned([record(name) for name in left], tensors).rows)
    assert found == dict(zip(left, right, strict=True))
