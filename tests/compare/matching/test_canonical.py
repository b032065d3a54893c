"""Canonical names: the same module under one name, whatever the engine calls it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.matching.named_records import side_of
from layertui.compare.matching.names.canonical import (
    NameRules,
    canonical_name,
    layer_number,
    parent_of,
    usual_order,
)
from layertui.compare.rules.rules import Rules
from support.synthetic import aligned, capture, gaps, pairs

NAMES = [
    # as dumped, its root, canonical
    ("model.model.embed_tokens", "model", "embed_tokens"),
    ("model.layers.layers.3.mlp", "model", "layers.3.mlp"),
    ("model.language_model.layers.1.self_attn.o_proj", "model", "layers.1.self_attn.o_proj"),
    ("model", "model", "model"),
    ("", "", "model"),
    ("model.model", "model", "model.model"),
    ("model.language_model", "model", "model.model"),
    ("_orig_mod.model.layers.0.mlp", "", "layers.0.mlp"),
    ("module.model.layers.0.mlp", "", "layers.0.mlp"),
    ("model.layers.0._fsdp_wrapped_module.mlp", "", "layers.0.mlp"),
    ("model.layers.0._checkpoint_wrapped_module.mlp", "", "layers.0.mlp"),
    ("layers.0.self_attn._shards.0.q_proj", "", "layers.0.self_attn.q_proj"),
    ("layers.0.self_attn_shards.0.o_proj", "", "layers.0.self_attn.o_proj"),
    ("layers.0.self_attn_shards.1.o_proj", "", "layers.0.self_attn_shards.1.o_proj"),
    ("lm_head.distributed_linear_layers.0", "", "lm_head"),
    # gpt2
    ("transformer.wte", "", "embed_tokens"),
    ("transformer.wpe", "", "embed_positions"),
    ("transformer.h.11.ln_1", "", "layers.11.input_layernorm"),
    ("transformer.h.0.attn.c_attn", "", "layers.0.self_attn.qkv_proj"),
    ("transformer.h.0.attn.c_proj", "", "layers.0.self_attn.o_proj"),
    ("transformer.h.0.mlp.c_fc", "", "layers.0.mlp.up_proj"),
    ("transformer.h.0.mlp.c_proj", "", "layers.0.mlp.down_proj"),
    ("transformer.ln_f", "", "norm"),
    # gpt-neox, falcon
    ("gpt_neox.embed_in", "", "embed_tokens"),
    ("gpt_neox.layers.2.attention.dense", "", "layers.2.self_attn.o_proj"),
    ("gpt_neox.layers.2.attention.query_key_value", "", "layers.2.self_attn.qkv_proj"),
    ("gpt_neox.layers.2.mlp.dense_h_to_4h", "", "layers.2.mlp.up_proj"),
    ("gpt_neox.final_layer_norm", "", "norm"),
    ("embed_out", "", "lm_head"),
    ("transformer.word_embeddings", "", "embed_tokens"),
    ("transformer.h.1.self_attention.dense", "", "layers.1.self_attn.o_proj"),
    ("transformer.h.1.mlp.dense_4h_to_h", "", "layers.1.mlp.down_proj"),
    # torchtitan
    ("tok_embeddings", "", "embed_tokens"),
    ("layers.0.attention.wq", "", "layers.0.self_attn.q_proj"),
    ("layers.0.attention.wo", "", "layers.0.self_attn.o_proj"),
    ("layers.0.attention_norm", "", "layers.0.input_layernorm"),
    ("layers.0.ffn_norm", "", "layers.0.post_attention_layernorm"),
    ("layers.0.feed_forward.w1", "", "layers.0.mlp.gate_proj"),
    ("layers.0.feed_forward.w2", "", "layers.0.mlp.down_proj"),
    ("layers.0.feed_forward.w3", "", "layers.0.mlp.up_proj"),
    ("output", "", "lm_head"),
    # bert
    ("bert.embeddings.word_embeddings", "", "embed_tokens"),
    ("bert.encoder.layer.4", "", "layers.4"),
    ("bert.encoder.layer.4.attention.self.query", "", "layers.4.self_attn.q_proj"),
    ("encoder.layer.4.attention.self.value", "", "layers.4.self_attn.v_proj"),
    ("bert.encoder.layer.4.attention.output.dense", "", "layers.4.self_attn.o_proj"),
    ("bert.encoder.layer.4.intermediate.dense", "", "layers.4.mlp.up_proj"),
    ("bert.encoder.layer.4.output.dense", "", "layers.4.mlp.down_proj"),
    # llama.cpp: weights' names
    ("token_embd", "", "embed_tokens"),
    ("blk.7.attn_q", "", "layers.7.self_attn.q_proj"),
    ("blk.7.attn_output", "", "layers.7.self_attn.o_proj"),
    ("blk.7.ffn_gate", "", "layers.7.mlp.gate_proj"),
    ("output_norm", "", "norm"),
    # numbers may repeat, words may not
    ("features.0.0", "", "features.0.0"),
    ("blocks.1.1.conv", "", "layers.1.1.conv"),
]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("layer 0 self_attn q_proj", "layers.0.self_attn.q_proj"),
        ("Layer 12 mlp down_proj", "layers.12.mlp.down_proj"),
        ("layer 3", "layers.3"),
        ("layer_0/self_attn_q_proj", "layers.0.self_attn.q_proj"),
        ("model.layers.0.mlp_down_proj", "layers.0.mlp.down_proj"),
        ("model-embed_tokens", "embed_tokens"),
        ("top/model_embed_tokens", "embed_tokens"),
        ("emb", "embed_tokens"),
    ],
)
def test_layers_as_people_print_them(printed: str, expected: str) -> None:
    assert canonical_name(printed, "", NameRules()).module == expected


@pytest.mark.parametrize(("module", "root", "expected"), NAMES)
def test_names_of_known_engines(module: str, root: str, expected: str) -> None:
    assert canonical_name(module, root, NameRules()).module == expected


@pytest.mark.parametrize(
    ("name", "module", "slot"),
    [
        ("input_embeddings", "embed_tokens", "output"),
        ("layer_3_input_hidden_states", "layers.3", "input_0"),
        ("layer_3_attn_norm_output", "layers.3.input_layernorm", "output"),
        ("layer_3_attn_q_proj_raw", "layers.3.self_attn.q_proj", "output"),
        ("layer_3_attn_q_normed", "layers.3.self_attn.q_norm", "output"),
        ("layer_3_attn_k_rope", "layers.3.self_attn.k_rope", "output"),
        ("layer_3_attn_residual_output", "layers.3.post_attention_layernorm", "input_0"),
        ("layer_3_mlp_intermediate", "layers.3.mlp.down_proj", "input_0"),
        ("layer_3_layer_output", "layers.3", "output"),
        ("layer_3_output", "layers.3", "output"),
        ("final_norm_output", "norm", "output"),
        ("Qcur-12", "layers.12.self_attn.q_proj", "output"),
        ("kqv_out-12", "layers.12.self_attn.o_proj", "input_0"),
        ("ffn_inp-12", "layers.12.post_attention_layernorm", "input_0"),
        ("l_out-12", "layers.12", "output"),
        ("result_output", "lm_head", "output"),
    ],
)
def test_quantities_name_module_and_slot(name: str, module: str, slot: str | None) -> None:
    found = canonical_name(name, "", NameRules())
    assert (found.module, found.slot) == (module, slot)


def test_users_renames_come_first_and_in_order() -> None:
    renames = (
        (re.compile(r"^blocks\."), "layers."),
        (re.compile(r"^layers\.(\d+)\.X"), r"h.\1.attn"),
    )
    rules = NameRules(renames, (("foo", "bar"), ("foo", "o_proj")))
    assert canonical_name("blocks.3.X.foo", "", rules).module == "layers.3.self_attn.o_proj"


@pytest.mark.parametrize(
    ("module", "parent"),
    [
        ("layers.0.self_attn.q_proj", "layers.0.self_attn"),
        ("layers.0", "model"),
        ("encoder.layers.0", "encoder"),
        ("mylayers.0", "mylayers"),
        ("norm", "model"),
        ("model", "model"),
    ],
)
def test_parents(module: str, parent: str) -> None:
    assert parent_of(module) == parent


def test_layer_numbers() -> None:
    assert layer_number("layers.12.mlp") == 12
    assert layer_number("encoder.layers.3") == 3
    assert layer_number("norm") is None
    assert layer_number("layers." + "9" * 5000) is None


def test_usual_order_puts_children_before_parents() -> None:
    wanted = [
        "embed_tokens", "layers.0.input_layernorm", "layers.0.self_attn.q_proj",
        "layers.0.self_attn", "layers.0.mlp", "layers.0", "layers.1.self_attn", "layers.1",
        "layers.10", "norm", "model.model", "lm_head", "model",
    ]  # fmt: skip
    shuffled = random.Random(1).sample(wanted, len(wanted))
    assert sorted(shuffled, key=usual_order) == wanted


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abx.0123_-() 漢", max_size=40), st.sampled_from(["", "model"]))
def test_any_name_has_a_canonical_one_that_can_be_sorted(name: str, root: str) -> None:
    module = canonical_name(name, root, NameRules()).module
    assert module
    assert usual_order(module) <= usual_order(module)
    assert isinstance(parent_of(module), str)


def test_endless_numbers_in_names_are_names() -> None:
    """Python refuses to turn more than 4,300 digits into a number."""
    digits = "9" * 5000
    names = [f"layers.{digits}.mlp-output", f"norm({digits})-output", f"blk.{digits}.attn_q"]
    result = aligned(names, names, order=(False, False))
    assert pairs(result.rows) == {name: name for name in names}


# Collisions


def test_two_modules_never_share_a_name() -> None:
    names = [
        "model.language_model-output", "model-output", "-output", "layers.0.attn-output",
        "layers.0.attention-output", "layers.0.self_attn-output", "layers.0._orig_mod-output",
        "layers.0-output", "model.model.model-output",
    ]  # fmt: skip
    side = side_of(capture(names, root="?"), NameRules(), Rules())
    owners: dict[str, set[str]] = {}
    for item in side.items:
        owners.setdefault(item.module, set()).add(item.record.module)
    assert {len(modules) for modules in owners.values()} == {1}
    named = {item.record.module: item.module for item in side.items}
    assert named["layers.0.self_attn"] == "layers.0.self_attn"  # is called so already
    assert named["layers.0"] == "layers.0"


def test_collisions_are_resolved_alike_whatever_the_order() -> None:
    names = ["h.0.attn-output", "h.0.attention-output", "h.0._orig_mod.attn-output"]
    forward = aligned(names, list(reversed(names)))
    assert pairs(forward.rows) == {name: name for name in names}


def test_a_wrapper_beside_what_it_wraps() -> None:
    wrapped = aligned(["layers.0._orig_mod-output", "layers.0-output"], ["model.layers.0-output"])
    assert pairs(wrapped.rows) == {"layers.0-output": "model.layers.0-output"}
    assert gaps(wrapped.rows) == ({"layers.0._orig_mod-output"}, set())
