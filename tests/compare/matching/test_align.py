"""Alignment of whole captures: who is paired with whom, how, and where the rows stand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.records import Record
from layertui.compare.matching.align import align
from layertui.compare.model import Row
from layertui.compare.rules.rules import (
    BUILT_IN_FUSED,
    FusedRule,
    HandPair,
    RecipeRule,
    Rules,
)
from support.drawn.sides import sides
from support.synthetic import aligned, capture, check_rows, gaps, pairs, record, row_of

ATTENTION = "layers.0.self_attn."
QKV = {
    ATTENTION + "q_proj-output": (1, 10, 64),
    ATTENTION + "k_proj-output": (1, 10, 32),
    ATTENTION + "v_proj-output": (1, 10, 32),
}
FUSED = {ATTENTION + "qkv_proj-output": (10, 128)}


# Fused modules


def test_fused_on_the_candidate() -> None:
    rows = aligned(QKV, FUSED).rows
    assert [(r.label, r.matched_by, r.recipe_candidate) for r in rows] == [
        (ATTENTION + "q_proj-output", "fused", "[:, 0:64]"),
        (ATTENTION + "k_proj-output", "fused", "[:, 64:96]"),
        (ATTENTION + "v_proj-output", "fused", "[:, 96:128]"),
    ]
    assert {r.recipe_reference for r in rows} == {"squeeze(0)"}


def test_fused_on_the_reference() -> None:
    reference = {"transformer.h.0.attn.c_attn-output": (1, 10, 192)}
    candidate = {f"layers.0.self_attn.{n}_proj-output": (10, 64) for n in "qkv"}
    rows = aligned(reference, candidate).rows
    assert [(r.canonical, r.recipe_reference) for r in rows] == [
        ("layers.0.self_attn.q_proj", "[:, :, 0:64] | squeeze(0)"),
        ("layers.0.self_attn.k_proj", "[:, :, 64:128] | squeeze(0)"),
        ("layers.0.self_attn.v_proj", "[:, :, 128:192] | squeeze(0)"),
    ]


def test_one_part_of_a_fused_reference_names_its_row() -> None:
    reference = {"h.0.attn.c_attn-output": (1, 10, 192)}
    (row,) = aligned(reference, {"layers.0.self_attn.q_proj-output": (10, 64)}).rows
    assert row.canonical == "layers.0.self_attn.q_proj"


def test_gate_and_up() -> None:
    reference = {f"layers.0.mlp.{n}_proj-output": (10, 128) for n in ("gate", "up")}
    rows = aligned(reference, {"layers.0.mlp.gate_up_proj-output": (10, 256)}).rows
    assert [r.recipe_candidate for r in rows] == ["[:, 0:128]", "[:, 128:256]"]


def test_keys_and_values_fused() -> None:
    rows = aligned(
        QKV, {ATTENTION + "q_proj-output": (10, 64), ATTENTION + "kv_proj-output": (10, 64)}
    ).rows
    assert [r.matched_by for r in rows] == ["name", "fused", "fused"]
    assert [r.recipe_candidate for r in rows] == ["", "[:, 0:32]", "[:, 32:64]"]


def test_all_three_fused_against_query_and_the_other_two() -> None:
    reference = {
        ATTENTION + "q_proj-output": (1, 10, 64),
        ATTENTION + "kv_proj-output": (1, 10, 64),
    }
    rows = aligned(reference, FUSED).rows
    assert [(r.kind, r.recipe_candidate) for r in rows] == [
        ("pair", "[:, 0:64]"), ("pair", "[:, 64:128]"),
    ]  # fmt: skip


def test_fused_inputs_are_shared_whole() -> None:
    reference = {ATTENTION + f"{n}_proj-input_0": (1, 10, 64) for n in "qkv"}
    rows = aligned(reference, {ATTENTION + "qkv_proj-input_0": (10, 64)}).rows
    assert [(r.matched_by, r.recipe_candidate) for r in rows] == [("fused", "")] * 3


@pytest.mark.parametrize("width", [127, 129, 64])
def test_widths_that_do_not_add_up(width: int) -> None:
    rows = aligned(QKV, {ATTENTION + "qkv_proj-output": (10, width)}).rows
    assert [r.problem_level for r in rows] == ["shape"] * 3
    assert all("do not add up" in (r.problem or "") for r in rows)


def test_missing_parts_leave_gaps_and_keep_the_others_in_place() -> None:
    for missing, expected in {
        "q": {"k": "[:, 64:96]", "v": "[:, 96:128]"},
        "k": {"q": "[:, 0:64]", "v": "[:, 96:128]"},
        "v": {"q": "[:, 0:64]", "k": "[:, 64:96]"},
    }.items():
        left = {name: shape for name, shape in QKV.items() if f".{missing}_" not in name}
        rows = aligned(left, FUSED).rows
        assert {r.canonical[-6]: r.recipe_candidate for r in rows} == expected


def test_a_part_of_unknown_place_is_a_gap_not_a_wrong_slice() -> None:
    norm = {"norm-output": (10, 64)}
    result = aligned({ATTENTION + "k_proj-output": (1, 10, 32), **norm}, {**FUSED, **norm})
    assert pairs(result.rows) == {"norm-output": "norm-output"}


def test_missing_parts_whose_place_is_taken() -> None:
    left = {ATTENTION + "q_proj-output": (1, 10, 64), ATTENTION + "k_proj-output": (1, 10, 64)}
    assert {r.problem_level for r in aligned(left, FUSED).rows} == {"shape"}


def test_an_unreadable_fused_record_is_unreadable_on_every_part() -> None:
    rows = aligned(QKV, [record(ATTENTION + "qkv_proj-output", error="truncated")]).rows
    assert [(r.kind, r.problem_level) for r in rows] == [("pair", "unreadable")] * 3
    assert all("truncated" in (r.problem or "") for r in rows)


def test_an_unreadable_part_is_unreadable_and_the_others_are_compared() -> None:
    left = [record(name, shape) for name, shape in QKV.items()]
    left[1] = record(ATTENTION + "k_proj-output", error="truncated")
    rows = aligned(left, FUSED).rows
    assert [r.problem_level for r in rows] == [None, "unreadable", None]
    assert rows[2].recipe_candidate == "[:, 96:128]"


def test_fused_dtypes_that_cannot_be_compared() -> None:
    rows = aligned(QKV, [record(ATTENTION + "qkv_proj-output", (10, 128), "int32")]).rows
    assert {r.problem_level for r in rows} == {"shape"}
    assert "float32 and int32" in (rows[0].problem or "")


def test_taps_without_a_slot_are_fused_too() -> None:
    left = {"blk.0.attn_q": (10, 64), "blk.0.attn_k": (10, 32), "blk.0.attn_v": (10, 32)}
    rows = aligned(left, {"layers.0.self_attn.qkv_proj": (10, 128)}).rows
    assert [r.matched_by for r in rows] == ["fused"] * 3


def test_the_users_fused_rule_wins_and_a_positive_axis_counts_from_the_fused_record() -> None:
    order = (ATTENTION[9:] + "v_proj", "self_attn.k_proj", "self_attn.q_proj")
    rule = FusedRule("self_attn.qkv_proj", order, axis=1)
    rows = aligned(QKV, FUSED, Rules(fused=(rule, *BUILT_IN_FUSED))).rows
    assert [r.recipe_candidate for r in rows] == ["[:, 64:128]", "[:, 32:64]", "[:, 0:32]"]


# Shapes, slots and kinds


def one(
    ref: tuple[int, ...], cand: tuple[int, ...], name: str = "layers.0.mlp-output"
) -> tuple[str, str]:
    (row,) = aligned({name: ref}, {name: cand}).rows
    assert row.problem is None
    return row.recipe_reference, row.recipe_candidate


def test_layouts_of_one_module() -> None:
    assert one((2, 5, 64), (10, 64)) == ("reshape(10, 64)", "")
    assert one((1, 10, 4, 16), (10, 64)) == ("reshape(10, 64)", "")
    assert one((1, 4, 10, 16), (10, 4, 16)) == ("transpose(1, 2) | squeeze(0)", "")
    assert one((2, 5, 320), (2, 320), "lm_head-output") == ("[:, -1]", "")
    assert one((1, 320), (1, 10, 320), "lm_head-output") == ("", "[:, -1]")


def test_last_tokens_only_behind_the_layers() -> None:
    (row,) = aligned({"layers.0.mlp-output": (1, 10, 64)}, {"layers.0.mlp-output": (1, 64)}).rows
    assert row.problem_level == "shape"


@pytest.mark.parametrize(("width", "kinds"), [(64, ["pair", "pair"]), (16, ["gap", "gap", "pair"])])
def test_a_tap_as_wide_as_the_output_but_of_other_tokens_is_a_finding(
    width: int, kinds: list[str]
) -> None:
    reference = {"layers.0.mlp-output": (1, 8, 64), "norm-output": (1, 8, 64)}
    rows = aligned(reference, {"layers.0.mlp": (1, 3, width), "norm": (1, 8, 64)}).rows
    assert sorted(row.kind.partition("_")[0] for row in rows) == kinds
    assert {row.problem_level for row in rows} == ({"shape", None} if width == 64 else {None})


def test_outputs_whose_shapes_do_not_go_together_are_one_finding() -> None:
    (row,) = aligned({"norm-output": (10, 64)}, {"norm-output": (10, 65)}).rows
    assert (row.kind, row.problem_level) == ("pair", "shape")
    assert "[10, 64] and [10, 65]" in (row.problem or "")


def test_dtype_kinds_that_cannot_be_compared() -> None:
    (row,) = aligned(["norm-output"], [record("norm-output", (10, 64), "int8")]).rows
    assert row.problem_level == "shape"
    assert row.problem == "dtypes float32 and int8 cannot be compared"


def test_widths_of_one_kind_are_compared() -> None:
    (row,) = aligned(["norm-output"], [record("norm-output", (10, 64), "bfloat16")]).rows
    assert row.problem is None


def test_unreadable_and_stats_only_records_keep_their_pair() -> None:
    broken = record("norm-output", error="file is cut short")
    bare = Record("mlp-output", "mlp", "output", path="m", shape=(3,), dtype="float32", stats={})
    result = aligned(["norm-output", record("mlp-output", (3,))], [broken, bare])
    assert [row.problem_level for row in result.rows] == ["unreadable", "unreadable"]
    assert "file is cut short" in (result.rows[0].problem or "")
    assert "statistics only" in (result.rows[1].problem or "")


def test_an_unreadable_record_without_partner_says_so() -> None:
    result = aligned([record("norm-output", error="cut"), "mlp-output"], ["mlp-output"])
    row = row_of(result.rows, "norm-output")
    assert (row.kind, row.problem_level) == ("gap_reference", "unreadable")


DECODE_HF = {
    "hidden_states": ((1, 1, 64), "float32"),
    "attention_mask": ((1, 1, 1, 11), "float32"),
    "position_ids": ((1, 1), "int64"),
    "position_embeddings_0": ((1, 1, 16), "float32"),
}
DECODE_MAX = {
    "0": ((), "uint32"), "1": ((1, 64), "float32"), "3": ((256, 16), "float32"),
    "4": ((2,), "uint32"),
}  # fmt: skip


@pytest.mark.parametrize("dropped", [None, "hidden_states", "1"])
@pytest.mark.parametrize("seed", range(4))
def test_decode_inputs_are_not_mistaken(dropped: str | None, seed: int) -> None:
    """Position ids [1, 1] are no layer index, masks no hidden states, whatever else is missing."""
    module = "layers.0.self_attn-input_"
    left = [record(module + n, s, d) for n, (s, d) in DECODE_HF.items() if n != dropped]
    right = [record(module + n, s, d) for n, (s, d) in DECODE_MAX.items() if n != dropped]
    random.Random(seed).shuffle(left)
    random.Random(seed + 1).shuffle(right)
    found = pairs(aligned(left, right).rows)
    assert found == ({} if dropped else {module + "hidden_states": module + "1"})


def test_position_ids_are_no_row_offsets() -> None:
    left = [record("layers.0-input_position_ids", (1, 2), "int64")]
    right = [
        record("layers.0-input_4", (2,), "uint32"),
        record("layers.0-input_row_offsets", (2,), "int64"),
    ]
    assert pairs(aligned(left, right).rows) == {}


def test_further_positional_inputs_of_other_shapes_are_gaps() -> None:
    left = {"layers.0-input_0": (1, 10, 64), "layers.0-input_1": (1, 1, 10, 10)}
    right = {"layers.0-input_0": (10, 64), "layers.0-input_1": (256, 16)}
    result = aligned(left, right)
    assert gaps(result.rows) == ({"layers.0-input_1"}, {"layers.0-input_1"})
    assert all(row.problem is None for row in result.rows)


def test_main_inputs_of_other_shapes_are_a_finding() -> None:
    (row,) = aligned({"layers.0-input_0": (10, 64)}, {"layers.0-input_0": (10, 32)}).rows
    assert row.problem_level == "shape"


def test_a_renamed_output_is_matched_by_order() -> None:
    (row,) = aligned({"model-output_logits": (1, 10, 320)}, {"model-output_0": (1, 320)}).rows
    assert (row.matched_by, row.recipe_reference) == ("order", "[:, -1]")
    assert "output_logits" in row.how


# Calls


ECHO_REF = {"norm-output": (1, 10, 64), "lm_head-output": (1, 10, 320)}


@pytest.mark.parametrize("last_first", [True, False])
@pytest.mark.parametrize("swap", [False, True])
def test_echo_pairs_both_calls_with_the_one(last_first: bool, swap: bool) -> None:
    rows = [((1, 64), (1, 320)), ((10, 64), (10, 320))]
    first, second = rows if last_first else rows[::-1]
    echo = {
        "norm-output": first[0], "lm_head-output": first[1],
        "norm(2)-output": second[0], "lm_head(2)-output": second[1],
    }  # fmt: skip
    result = aligned(echo, ECHO_REF) if swap else aligned(ECHO_REF, echo)
    assert gaps(result.rows) == (set(), set())
    assert len(result.rows) == 4
    assert result.order.same is not False


def test_echo_with_a_leading_axis() -> None:
    """The side with few rows may be the one that is squeezed."""
    right = {"lm_head-output": (1, 1, 320), "lm_head(2)-output": (10, 320)}
    assert gaps(aligned({"lm_head-output": (10, 320)}, right).rows) == (set(), set())
    assert gaps(aligned(right, {"lm_head-output": (10, 320)}).rows) == (set(), set())


def test_a_second_call_of_the_same_size_is_another_call() -> None:
    left = {"norm-output": (10, 64)}
    result = aligned(left, {"norm-output": (10, 64), "norm(2)-output": (10, 64)})
    assert gaps(result.rows) == (set(), {"norm(2)-output"})


def test_calls_go_with_calls_and_steps_with_steps() -> None:
    records = [record("norm-output"), record("norm(2)-output"), record("norm-output")]
    records[2].step = 1
    result = align(capture(records), capture(list(reversed(records)), order=False))
    assert all(r.reference is r.candidate for r in result.rows)
    assert [(r.step, r.call) for r in result.rows] == [(0, 1), (0, 2), (1, 1)]


# Names of other engines


def test_text_dumps_of_both_sides_and_against_modules() -> None:
    names = [
        "input_embeddings", "layer_0_input_hidden_states", "layer_0_attn_norm_output",
        "layer_0_attn_q_proj_raw", "layer_0_attn_k_proj_raw", "layer_0_attn_v_proj_raw",
        "layer_0_attn_o_proj", "layer_0_attn_residual_output", "layer_0_mlp_norm_output",
        "layer_0_mlp_gate_proj", "layer_0_mlp_up_proj", "layer_0_mlp_intermediate",
        "layer_0_output", "final_norm_output",
    ]  # fmt: skip
    assert pairs(aligned(names, names).rows) == {name: name for name in names}
    modules = [
        "model.embed_tokens-output", "model.layers.0-input_0",
        "model.layers.0.input_layernorm-output", "model.layers.0.self_attn.q_proj-output",
        "model.layers.0.self_attn.k_proj-output", "model.layers.0.self_attn.v_proj-output",
        "model.layers.0.self_attn.o_proj-output",
        "model.layers.0.post_attention_layernorm-input_0",
        "model.layers.0.post_attention_layernorm-output", "model.layers.0.mlp.gate_proj-output",
        "model.layers.0.mlp.up_proj-output", "model.layers.0.mlp.down_proj-input_0",
        "model.layers.0-output", "model.norm-output",
    ]  # fmt: skip
    result = aligned(names, modules)
    assert pairs(result.rows) == dict(zip(names, modules, strict=True))
    assert {row.matched_by for row in result.rows} == {"rule"}


def test_llama_cpp_against_hf() -> None:
    left = {f"model.layers.2.self_attn.{n}_proj-output": (1, 10, 64) for n in "qkv"}
    right = {f"blk.2.attn_{n}": (10, 64) for n in "qkv"}
    found = pairs(aligned(left, right).rows)
    assert found == dict(zip(left, right, strict=True))


def test_gpt2_against_torchtitan() -> None:
    same = {
        "transformer.wte": "tok_embeddings",
        "transformer.h.0.ln_1": "layers.0.attention_norm",
        "transformer.h.0.attn.c_proj": "layers.0.attention.wo",
        "transformer.h.0.mlp.c_proj": "layers.0.feed_forward.w2",
        "transformer.ln_f": "norm",
        "lm_head": "output",
    }
    expected = {f"{a}-output": f"{b}-output" for a, b in same.items()}
    assert pairs(aligned(list(expected), list(expected.values())).rows) == expected


MODULES = ("norm_in", "query", "kernel_x", "result_y", "norm_out")
WIDTHS = (64, 96, 32, 64, 64)


def alien(prefix: str, layers: range, words: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        for word, width in zip(words, WIDTHS, strict=True):
            found[f"{prefix}{layer}.{word}-output"] = (1, 10, width)
    return found


@pytest.mark.parametrize("first", [0, 1, 7])
@pytest.mark.parametrize("order", [(True, True), (False, False), (True, False)])
def test_shapes_and_places_alone_make_no_pair(first: int, order: tuple[bool, bool]) -> None:
    left = alien("blk", range(4), MODULES)
    right = alien("stufe", range(first, first + 4), ("zz", "yy", "xx", "ww", "vv"))
    assert pairs(aligned(left, right, order=order).rows) == {}


def llama(first: int, count: int, prefix: str) -> list[str]:
    names = [
        f"{prefix}.{i}.{m}-output"
        for i in range(first, first + count)
        for m in ("mlp.down_proj", "mlp")
    ]
    return ["embed_tokens-output", *names, "norm-output"]


@pytest.mark.parametrize("swap", [False, True])
def test_layers_counted_from_one(swap: bool) -> None:
    left, right = llama(0, 3, "layers"), llama(1, 3, "blocks")
    result = aligned(right, left) if swap else aligned(left, right)
    expected = dict(zip(right, left, strict=True)) if swap else dict(zip(left, right, strict=True))
    assert pairs(result.rows) == expected
    assert result.rows[1].canonical == "layers.0.mlp.down_proj"


def test_layers_of_one_scheme_are_not_renumbered() -> None:
    left, right = llama(0, 3, "layers"), llama(1, 3, "layers")
    result = aligned(left, right)
    assert all(a == b for a, b in pairs(result.rows).items())
    assert len(pairs(result.rows)) == 6


def test_alien_modules_between_named_ones_count_layers_alike() -> None:
    left = ["embed_tokens-output", "norm-output", "lm_head-output"]
    right = list(left)
    for i in range(3):
        left.insert(-2, f"layers.{i}.mixer.alpha_gate-output")
        right.insert(-2, f"stage_{i + 1}.alpha_gate-output")
    result = aligned(left, right)
    assert pairs(result.rows) == dict(zip(left, right, strict=True))


def test_unnamed_rest_is_aligned_inside_its_layer_only() -> None:
    left = ["layers.0.mlp-output", "layers.0.rope_a-output", "layers.1.mlp-output"]
    right = ["layers.0.mlp-output", "layers.1.mlp-output", "layers.1.rope_b-output"]
    assert gaps(aligned(left, right).rows) == (
        {"layers.0.rope_a-output"},
        {"layers.1.rope_b-output"},
    )
    right[2] = "layers.0.MyRopeA-output"
    row = row_of(aligned(left, right).rows, "layers.0.MyRopeA-output")
    assert row.matched_by == "order" and "rope_a" in row.how


@pytest.mark.parametrize(
    "left, right",
    [
        ("layers.0.mixer.rope_a", "layers.0.mixer.rope_b"),
        ("layers.0.self_attn.q_a_proj", "layers.0.self_attn.q_b_proj"),
        ("layers.0.ff_norm1", "layers.0.ff_norm2"),
        ("layers.0.mixer.alpha_gate", "layers.1.mixer.alpha_gate"),
        ("layers.0.mixer.alpha_gate", "mixer.alpha_gate"),
        ("layers.0.self_attn.special", "layers.0.mlp.special"),
        ("layers.0.self_attn.o_proj", "layers.0.self_attn.special_q_proj"),
        ("embed_tokens", "layers.0.special_embed_tokens"),
    ],
)
def test_names_that_contradict_are_gaps(left: str, right: str) -> None:
    common = ["layers.0.mlp-output", "layers.1.mlp-output"]
    rows = aligned([f"{left}-output", *common], [f"{right}-output", *common]).rows
    assert pairs(rows) == {name: name for name in common}


def test_two_that_may_be_the_same_are_gaps() -> None:
    left = ["layers.0.mixer.alpha_gate-output"]
    right = ["layers.0.mixer.my_alpha_gate-output", "layers.0.mixer.alpha_gate_fn-output"]
    assert pairs(aligned(left, right).rows) == {}
    assert len(pairs(aligned(left, right[:1]).rows)) == 1


def test_modules_of_known_meaning_are_not_paired_with_one_another() -> None:
    left = ["embed_tokens-output", "layers.0.self_attn.o_proj-output", "layers.0.mlp-output"]
    right = ["embed_tokens-output", "layers.0.mlp.down_proj-output", "layers.0.mlp-output"]
    assert gaps(aligned(left, right).rows) == ({left[1]}, {right[1]})
    alien = aligned(["layers.0.self_attn.o_proj-output"] * 1 + ["q1"], [right[1], "q2"])
    assert left[1] not in pairs(alien.rows)


# Rules: pairs by hand, recipes, ignored


def test_pairs_by_hand_come_first() -> None:
    rules = Rules(pairs=(HandPair("a-output", "b-output"), HandPair("a-output", "b-output")))
    result = aligned(["a-output", "b-output"], ["a-output", "b-output"], rules)
    assert pairs(result.rows) == {"a-output": "b-output"}
    assert gaps(result.rows) == ({"b-output"}, {"a-output"})
    assert {row.matched_by for row in result.rows if row.kind == "pair"} == {"hand"}
    assert len(result.rows) == 3


def test_hand_pairs_that_do_not_fit() -> None:
    given = ("ax", "by", "cz", "?z")
    rules = Rules(pairs=tuple(HandPair(f"{a}-output", f"{b}-output") for a, b in given))
    left = [record("a-output", (10, 64)), record("b-output", (4,)), record("c-output", error="cut")]
    right = [record("x-output", (64, 10)), record("y-output", (4,), "int32"), record("z-output")]
    result = aligned(left, right, rules)
    assert [r.problem_level for r in result.rows] == ["shape", "shape", "unreadable"]
    assert "[10, 64] and [64, 10]" in (result.rows[0].problem or "")
    assert "float32 and int32" in (result.rows[1].problem or "")


def test_pairs_taken_apart() -> None:
    rules = Rules(unpaired=(HandPair("norm-output", "norm-output"),))
    result = aligned(["norm-output"], ["norm-output"], rules)
    assert gaps(result.rows) == ({"norm-output"}, {"norm-output"})


def test_a_recipe_of_the_rules() -> None:
    match = "layers.*.self_attn.q_proj-output"
    cut = "[:, 0:64] | reshape(10, 4, 16) | transpose(0, 1)"
    rules = Rules(recipes=(
        RecipeRule("*", candidate="reshape(1)"),
        RecipeRule(match, reference="reshape(10, 4, 16) | transpose(0, 1)", candidate=cut),
    ))  # fmt: skip
    rows = aligned(QKV, FUSED, rules).rows
    assert (rows[0].recipe_candidate, rows[0].problem) == (cut, None)
    assert rows[0].how.endswith("recipe of the rules file")
    assert rows[1].problem_level == "shape" and "reshape(1)" in (rows[1].problem or "")


def test_a_recipe_finds_a_part_of_a_fused_reference_by_its_own_name() -> None:
    rule = RecipeRule("*.q_proj-output", reference="[:, 0:32]", candidate="[:, 0:32]")
    rows = aligned({"h.0.attn.c_attn-output": (10, 192)},
                   {f"layers.0.self_attn.{n}_proj-output": (10, 64) for n in "qkv"},
                   Rules(recipes=(rule,))).rows  # fmt: skip
    assert [r.recipe_reference for r in rows] == ["[:, 0:32]", "[:, 64:128]", "[:, 128:192]"]


def test_a_recipe_that_cannot_be_read_is_a_problem_of_its_row() -> None:
    (row,) = aligned(
        ["norm-output"], ["norm-output"], Rules(recipes=(RecipeRule("norm-output", "fold(3)"),))
    ).rows
    assert row.problem_level == "shape" and "fold" in (row.problem or "")


def test_a_recipe_repairs_a_shape_and_a_wrong_one_breaks_it() -> None:
    left, right = {"norm-output": (64, 10)}, {"norm-output": (10, 64)}
    (row,) = aligned(
        left, right, Rules(recipes=(RecipeRule("norm-output", "transpose(0, 1)"),))
    ).rows
    assert row.problem is None
    (row,) = aligned(
        right, right, Rules(recipes=(RecipeRule("norm-output", "transpose(0, 1)"),))
    ).rows
    assert row.problem == (
        "recipes give [64, 10] of the reference against [10, 64] of the candidate"
    )


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("recipe", ["reshape(1, 10, 64)", "[:]", "unsqueeze(0) | flip(2)"])
def test_one_sides_recipe_is_not_undone_by_a_built_in_one(swap: bool, recipe: str) -> None:
    """A built-in rule drops the axis of size 1; whoever writes a recipe need not know that."""
    shapes = {"norm-output": (1, 10, 64)}, {"norm-output": (10, 64)}
    given = {"reference" if swap else "candidate": recipe}
    left, right = reversed(shapes) if swap else shapes
    (row,) = aligned(left, right, Rules(recipes=(RecipeRule("norm-output", **given),))).rows
    assert row.problem is None
    assert (row.recipe_reference if swap else row.recipe_candidate) == recipe


@pytest.mark.parametrize("swap", [False, True])
def test_reshaping_is_for_those_who_ask(swap: bool) -> None:
    shapes = {"norm-output": (4, 30)}, {"norm-output": (8, 15)}
    left, right = reversed(shapes) if swap else shapes
    (row,) = aligned(left, right).rows
    assert row.problem_level == "shape"
    (row,) = aligned(left, right, Rules(allow_reshape=True)).rows
    assert (row.problem, row.recipe_candidate) == (None, "")
    assert row.recipe_reference == f"reshape({', '.join(map(str, right['norm-output']))})"
    (row,) = aligned(
        {"norm-output": (4, 30)}, {"norm-output": (8, 16)}, Rules(allow_reshape=True)
    ).rows
    assert row.problem_level == "shape"


def test_layouts_come_before_reshaping() -> None:
    left, right = {"q_proj-output": (1, 4, 10, 16)}, {"q_proj-output": (1, 10, 64)}
    plain, asked = aligned(left, right), aligned(left, right, Rules(allow_reshape=True))
    assert plain.rows == asked.rows


def test_recipes_with_a_shift_are_held_to_the_shapes_they_make() -> None:
    shapes = {"norm-output": (64, 10)}, {"norm-output": (65, 10)}
    for candidate, problem in (
        ("[:-1] | shift(1, 0)", None),
        ("shift(1, 0)", "recipes give [63, 10] of the reference against [64, 10] of the candidate"),
        ("[0:64] | shift(64, 0)", "shift(64, 0): axis 0 of [64, 10] has too few elements"),
        ("shift(1, 0) | [0:64]", "shift: must come after all other layout steps"),
    ):
        rule = RecipeRule("norm-output", candidate=candidate)
        (row,) = aligned(*shapes, Rules(recipes=(rule,))).rows
        assert row.problem == problem


def test_a_recipe_of_unlike_kinds_needs_a_cast() -> None:
    sides = [record("norm-output", (4, 5))], [record("norm-output", (5, 4), "int32")]
    for candidate, problem in (
        ("transpose(0, 1)", "dtypes float32 and int32 cannot be compared: a cast is needed"),
        ("transpose(0, 1) | cast(float32)", None),
    ):
        rule = RecipeRule("norm-output", candidate=candidate)
        (row,) = aligned(*sides, Rules(recipes=(rule,))).rows
        assert (row.problem, row.problem_level) == (problem, "shape" if problem else None)


def test_ignored_records_are_on_no_row_but_kept() -> None:
    rules = Rules(ignore=("TopKSampler*", "layers.*.mlp-input_*"))
    left = ["norm-output", "layers.3.mlp-input_0"]
    result = aligned(left, ["norm-output", "TopKSampler-output_0"], rules)
    assert [r.name for r in result.ignored_reference] == ["layers.3.mlp-input_0"]
    assert [r.name for r in result.ignored_candidate] == ["TopKSampler-output_0"]
    assert len(result.rows) == 1


# Order of rows


RUN = [
    "embed_tokens-input_0", "embed_tokens-output", "layers.0.self_attn.o_proj-input_0",
    "layers.0.self_attn.o_proj-output", "layers.0.self_attn-input_0",
    "layers.0.self_attn-output", "layers.0.mlp.act_fn-input_0", "layers.0.mlp.act_fn-output",
    "layers.0.mlp.down_proj-input_0", "layers.0.mlp.down_proj-output", "layers.0.mlp-input_0",
    "layers.0.mlp-output", "layers.0-input_0", "layers.0-output", "layers.1.mlp-input_0",
    "layers.1.mlp-output", "layers.1-input_0", "layers.1-output", "norm-input_0", "norm-output",
    "lm_head-input_0", "lm_head-output", "model-input_input_ids", "model-output_logits",
]  # fmt: skip


def names_in_rows(rows: list[Row]) -> list[str]:
    return [record.name for row in rows if (record := row.reference or row.candidate)]


@pytest.mark.parametrize("order", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("seed", range(5))
def test_rows_stand_in_execution_order(order: tuple[bool, bool], seed: int) -> None:
    """Records lost on either side or both: the rows keep the order of a run all the same."""
    rng = random.Random(seed)
    sides: list[list[str]] = []
    for known in order:
        kept = [name for name in RUN if rng.random() > 0.3]
        sides.append(kept if known else sorted(kept))
    rows = aligned(sides[0], sides[1], order=order).rows
    found = names_in_rows(rows)
    expected = [name for name in RUN if name in found]
    assert_sane(found)
    assert found == expected


def assert_sane(names: list[str]) -> None:
    """Children before parents, inputs directly before the outputs of their module."""
    outputs = [name.rpartition("-")[0] for name in names if "-output" in name]
    for at, module in enumerate(outputs):
        assert not any(module.startswith(parent + ".") for parent in outputs[:at])
    modules = [name.rpartition("-")[0] for name in names]
    blocks = [m for i, m in enumerate(modules) if i == 0 or m != modules[i - 1]]
    assert len(blocks) == len(set(blocks))


def test_gap_inputs_stand_with_their_module_not_behind_the_other_sides_extras() -> None:
    left = [
        "a-output",
        "extra_1-output",
        "extra_2-output",
        "layers.0-input_hidden_states",
        "layers.0-output",
    ]
    right = ["a-output", "layers.0-input_3", "layers.0-input_4", "layers.0-output"]
    right_records = [record(n, (2,) if "input" in n else (10, 64), "float32") for n in right]
    found = names_in_rows(aligned(left, right_records).rows)
    assert sorted(found[3:6]) == [
        "layers.0-input_3",
        "layers.0-input_4",
        "layers.0-input_hidden_states",
    ]


@pytest.mark.parametrize("cand_order", [True, False])
def test_children_come_before_a_parent_that_only_the_other_side_has(cand_order: bool) -> None:
    left = ["layers.0.mlp-output", "layers.0-output", "layers.2-output", "norm-output"]
    right = [
        "layers.0.mlp.down_proj-output",
        "layers.0.mlp-output",
        "layers.1.mlp-output",
        "layers.1-output",
        "norm-output",
    ]
    found = names_in_rows(aligned(left, right, order=(True, cand_order)).rows)
    assert found.index("layers.0.mlp.down_proj-output") < found.index("layers.0.mlp-output")
    assert (
        found.index("layers.0-output") < found.index("layers.1-output") < found.index("norm-output")
    )


def test_gaps_of_later_calls_stand_with_their_call() -> None:
    left = ["norm-output", "lm_head-output", "norm(2)-output"]
    right = [record(n) for n in ("norm-output", "norm(2)-input_mask", "norm(2)-output")]
    found = names_in_rows(aligned(left, right, order=(True, False)).rows)
    assert found == ["norm-output", "lm_head-output", "norm(2)-input_mask", "norm(2)-output"]


def test_gaps_of_an_earlier_step_come_first() -> None:
    late = record("norm-output")
    late.step = 1
    early = [record("mlp-output"), record("norm-output")]
    result = align(capture([late]), capture(early, order=False))
    assert [row.step for row in result.rows] == [0, 0, 1]


# Execution order


def test_the_same_order() -> None:
    order = aligned(RUN, RUN).order
    assert order.same is True and "12 pairs" in order.reason and order.reordered == ()


@pytest.mark.parametrize(
    ("known", "word"), [((False, True), "reference"), ((True, False), "candidate")]
)
def test_an_unknown_order_is_said(known: tuple[bool, bool], word: str) -> None:
    order = aligned(RUN, RUN, order=known).order
    assert order.same is None and f"the {word} does not record its order" in order.reason


def test_nothing_to_compare_orders_by() -> None:
    order = aligned(["norm-input_0", "mlp-output"], ["norm-input_0"]).order
    assert order.same is None and "no pair of outputs" in order.reason


def test_two_modules_that_ran_the_other_way_round() -> None:
    swapped = list(RUN)
    one, two = swapped.index("layers.0.mlp-output"), swapped.index("layers.0.self_attn-output")
    swapped[one], swapped[two] = swapped[two], swapped[one]
    order = aligned(RUN, swapped).order
    assert order.same is False
    named = {moved.reference for moved in order.reordered}
    assert "layers.0.mlp-output" in named and "layers.0.self_attn-output" in named
    assert all(m.reference == RUN[m.index_reference] for m in order.reordered)
    assert all(m.candidate == swapped[m.index_candidate] for m in order.reordered)


def test_neighbours_that_changed_places() -> None:
    left = ["embed_tokens-output", *QKV, "norm-output"]
    right = [left[0], left[2], left[1], *left[3:]]
    order = aligned(left, right).order
    assert order.same is False and len(order.reordered) == 1
    assert order.reordered[0].reference in (left[1], left[2])


def test_a_fused_module_is_not_out_of_order() -> None:
    left = [
        ATTENTION + n
        for n in (
            "q_proj-output",
            "q_norm-output",
            "k_proj-output",
            "k_norm-output",
            "v_proj-output",
        )
    ]
    shapes = {left[0]: (10, 64), left[2]: (10, 32), left[4]: (10, 32)}
    reference = [record(n, shapes.get(n, (10, 64))) for n in left]
    candidate = [record(ATTENTION + "qkv_proj-output", (10, 128)), record(left[1]), record(left[3])]
    assert aligned(reference, candidate).order.same is True


# Steps that are counted from 1


def step_runs(steps: Iterable[int], prompt: int = 5) -> list[Record]:
    """A prompt, then a token a step; `embed_tokens` and a layer of each."""
    found = []
    for number, step in enumerate(steps):
        rows = 1 if number else prompt
        for name in ("embed_tokens-output", "layers.0-output"):
            found.append(replace(record(name, (1, rows, 64)), step=step))
    return found


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("swapped", [False, True])
def test_steps_counted_from_one_meet_those_from_zero(count: int, swapped: bool) -> None:
    sides = step_runs(range(count)), step_runs(range(1, count + 1))
    result = aligned(*(reversed(sides) if swapped else sides))
    assert [row.kind for row in result.rows] == ["pair"] * (2 * count)
    for row in result.rows:
        assert row.reference and row.candidate
        assert abs(row.reference.step - row.candidate.step) == 1
    (note,) = [note for note in result.notes if "counts its steps from 1" in note.text]
    assert note.side == ("reference" if swapped else "candidate")


def test_steps_of_other_token_counts_are_other_steps() -> None:
    later = step_runs(range(4))[2:]  # the prompt was not captured
    result = aligned(step_runs(range(3)), later)
    assert not any("counts its steps" in note.text for note in result.notes)
    assert sum(row.kind == "pair" for row in result.rows) == 4
    assert not any(
        "counts its steps" in note.text
        for note in aligned(step_runs(range(3)), step_runs(range(1, 5))).notes
    )


# Every record is where it should be


@settings(max_examples=120, deadline=None)
@given(
    sides(),
    sides(),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([(), ("*norm*",), ("*-input_*", "lm_head")]),
)
def test_nothing_is_dropped(
    left: list[Record], right: list[Record], known: tuple[bool, bool], ignore: tuple[str, ...]
) -> None:
    captures = capture(left, known[0]), capture(right, known[1])
    result = align(*captures, Rules(ignore=ignore))
    moved = any(
        "holds one step" in note.text or "counts its steps from 1" in note.text
        for note in result.notes
    )
    check_rows(result)
    for records, side, ignored in (
        (left, "reference", result.ignored_reference),
        (right, "candidate", result.ignored_candidate),
    ):
        rows = [(row, getattr(row, side)) for row in result.rows if getattr(row, side) is not None]
        seen = Counter(id(r) for _, r in rows) + Counter(id(r) for r in ignored)
        assert seen.keys() == {id(r) for r in records}
        gap_ids = [id(r) for row, r in rows if row.kind != "pair"]
        pair_ids = {id(r) for row, r in rows if row.kind == "pair"}
        assert len(gap_ids) == len(set(gap_ids)) and not pair_ids & set(gap_ids)
        several = {i for i, n in seen.items() if n > 1}
        for row, r in rows:
            assert row.kind == "pair" or row.kind == f"gap_{side}"
            assert id(r) not in several or row.matched_by in ("fused", "rule", "name", "order")
            unreadable = r.error is not None
            assert not unreadable or row.problem_level == "unreadable"
        assert bool(ignored) <= bool(ignore)
    for row in result.rows:
        assert not any(fnmatchcase(row.canonical, glob) for glob in ignore if "-" not in glob)
        if row.kind == "pair" and row.reference and row.candidate and len(left) + len(right) > 2:
            assert moved or row.reference.step == row.candidate.step


@settings(max_examples=30, deadline=None)
@given(sides(), st.booleans())
def test_a_capture_with_itself(records: list[Record], known: bool) -> None:
    """Whatever the names, each record finds itself; collisions and repeats included."""
    result = align(capture(records, known), capture(records, known))
    check_rows(result)
    assert all(row.reference is row.candidate for row in result.rows)
    assert {row.matched_by for row in result.rows} <= {"name"}
    assert result.order.same in (
        (True,) if known and any("output" in r.slot for r in records) else (None,)
    )


def test_a_cache_is_no_logits_though_it_has_as_many_elements() -> None:
    """What a hook that records caches sees of the inner model, against an engine's only output."""
    left = capture(
        [
            record("model-output_last_hidden_state", (1, 10, 64)),
            record("model-output_past_key_values_0_keys", (1, 2, 10, 16)),
            record("model-output_past_key_values_0_values", (1, 2, 10, 16)),
            record("lm_head-output", (1, 10, 320)),
        ]
    )
    right = capture(
        [record("model-output_next_token_logits", (1, 320)), record("lm_head-output", (1, 320))]
    )
    rows = align(left, right).rows
    assert [row.canonical for row in rows if row.kind == "pair"] == ["lm_head"]


@pytest.mark.parametrize(
    ("left", "right", "paired"),
    [
        ((1, 10, 320), (1, 320), True),
        ((1, 10, 320), (10, 320), True),
        ((1, 5, 64), (1, 320), False),
    ],
)
def test_outputs_of_other_names_must_be_equally_wide(
    left: tuple[int, ...], right: tuple[int, ...], paired: bool
) -> None:
    both = record("b-output", (1, 3))
    sides = (
        capture([record("a-output_logits", left), both]),
        capture([record("a-output_first", right), both]),
    )
    assert (align(*sides).rows[0].kind == "pair") == paired
