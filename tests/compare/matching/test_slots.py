"""Endings of names that are slots, and those that are modules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.matching.names.naming import has_meaning, read_names
from layertui.compare.matching.names.slots import endings
from support.synthetic import aligned, capture, pairs


def known(module: str) -> bool:
    return has_meaning(canonical_name(module, "", NameRules()).module)


def taken(*names: str) -> dict[str, tuple[str, str]]:
    return {name: (r.module, r.slot) for name, r in zip(
        names, read_names(capture(list(names), root="?"), NameRules()).readings, strict=True
    )}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "module", "slot"),
    [
        ("model.layers.0.mlp.output", "layers.0.mlp", "output"),
        ("model.layers.0.mlp_outputs", "layers.0.mlp", "output"),
        ("model.layers.0.mlp_inputs_args_0", "layers.0.mlp", "input_0"),
        ("model.layers.0.self_attn_inputs_kwargs_hidden_states", "layers.0.self_attn",
         "input_hidden_states"),
        ("model.layers.0.self_attn.inputs.positions", "layers.0.self_attn", "input_positions"),
        ("model.layers.0.self_attn.kwargs.mask", "layers.0.self_attn", "input_mask"),
        ("model.layers.0.self_attn.input.1", "layers.0.self_attn", "input_1"),
        ("model.layers.0.self_attn.output.1", "layers.0.self_attn", "output_1"),
        ("model/layers_0/mlp/__call__", "layers.0.mlp", "output"),
        ("model/layers_0/mlp/__call__/1", "layers.0.mlp", "output_1"),
        ("layer_3_attn_output", "layers.3.self_attn", "output"),
        ("blk.3.ffn_out", "layers.3.mlp", "output"),
        ("L07_mlp_in", "layers.7.mlp", "input"),
        ("layer_0_self_attn_0", "layers.0.self_attn", "output_0"),
        ("layer_3_self_attn_1", "layers.3.self_attn", "output_1"),
        ("model_rotary_emb_1", "rotary_emb", "output_1"),
        ("LlamaForCausalLM_outputs_logits", "model", "output_logits"),
    ],
)  # fmt: skip
def test_a_slot_at_the_end(name: str, module: str, slot: str) -> None:
    assert taken(name)[name] == (
        module,
        {"input": "input_0", "output_0": "output"}.get(slot, slot),
    )


@pytest.mark.parametrize(
    "names",
    [
        ["encoder.layer.0.attention.output", "encoder.layer.0.attention.output.dense"],
        ["encoder.blocks.0.attn.query", "encoder.blocks.0.attn.key", "encoder.blocks.0.attn.out"],
        ["layers.0.mlp.0", "layers.0.mlp.1", "layers.0.mlp.2", "layers.0.norm"],
        ["features.0", "features.1", "features.2", "features.3", "classifier.0", "classifier.1"],
        ["layers.0.mlp.fc_out", "layers.0.mlp.act"],
        ["embed_out", "norm"],
        ["layer_0_norm_0", "layer_0_norm_1"],
        ["attn_0", "attn_1", "mlp_0", "mlp_1"],
        ["layers.0.mlp.down_proj.weight", "layers.0.mlp.up_proj.weight", "norm.weight"],
    ],
)
def test_modules_that_look_like_slots(names: list[str]) -> None:
    assert endings(names, known) == {}


def test_stages_are_no_layers() -> None:
    names = ["conv1", "layer1.0.conv1", "layer1.0", "layer1", "layer2.0.conv1", "layer2"]
    assert [module for module, _ in taken(*names).values()] == names


def test_an_encoder_alone_against_both() -> None:
    both = [f"{part}.layers.{i}.mlp-output" for part in ("encoder", "decoder") for i in (0, 1)]
    one = [f"encoder.layers.{i}.mlp-output" for i in (0, 1)]
    assert pairs(aligned(both, one).rows) == {name: name for name in one}
    assert len(pairs(aligned([f"layers.{i}.mlp-output" for i in (0, 1)], one).rows)) == 2


def test_several_that_would_be_one_keep_their_names() -> None:
    names = ["layers.0.mlp.output", "layers.0.mlp_output", "layers/0/mlp/output"]
    found = taken(*names)
    assert len(set(found.values())) == 3
    assert found[names[0]] == ("layers.0.mlp", "output")


NAMES = st.text(alphabet="ab.layers0123_/:-[]()output inX漢", max_size=30)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, max_size=8))
def test_any_names_can_be_read_and_stay_apart(names: list[str]) -> None:
    made = capture(list(dict.fromkeys(names)), root="?")
    readings = read_names(made, NameRules()).readings
    assert len(readings) == len(made.records)
    own = [(r.module, r.slot, r.call) for r in readings]
    assert len(set(own)) == len(own)
