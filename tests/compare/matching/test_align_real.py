"""Alignment and verdicts of captures that PyTorch and MAX wrote of the same tiny models."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from layertui.capture.open import open_capture
from layertui.compare.aligned import Aligned
from layertui.compare.matching.align import align
from support.real_pairs import measured
from support.synthetic import gaps, row_of

HEALTHY = ["llama-f32", "llama-bf16", "llama_v3-f32", "llama_steps-f32"]
ALL = [*HEALTHY, "olmo2-f32", "llama_v3_badweights-f32"]


@cache
def alignment_of(real: Path, name: str) -> Aligned:
    sides = (open_capture(real / name / side) for side in ("torch_dump", "max_dump"))
    return align(*sides)


# What only one framework has, written once for every layer.
HF_LAYER = {
    "layers.{}.mlp.gate_proj-input_0", "layers.{}.mlp.gate_proj-output",
    "layers.{}.mlp.act_fn-input_0", "layers.{}.mlp.act_fn-output",
    "layers.{}.mlp.up_proj-input_0", "layers.{}.mlp.up_proj-output",
    "layers.{}.self_attn-input_attention_mask", "layers.{}.self_attn-input_position_ids",
    "layers.{}.self_attn-input_position_embeddings_0",
    "layers.{}.self_attn-input_position_embeddings_1", "layers.{}.self_attn-output_1",
    "layers.{}-input_attention_mask", "layers.{}-input_position_ids",
    "layers.{}-input_position_embeddings_0", "layers.{}-input_position_embeddings_1",
}  # fmt: skip
HF_TOP = {
    "rotary_emb-input_0", "rotary_emb-input_position_ids", "rotary_emb-output_0",
    "rotary_emb-output_1",
}  # fmt: skip
HF_ROOT = {"model.model-output_last_hidden_state"}
MAX_LAYER = {  # layer index, rotary table, row offsets
    "layers.{}-input_0", "layers.{}-input_3", "layers.{}-input_4",
    "layers.{}.self_attn-input_0", "layers.{}.self_attn-input_3", "layers.{}.self_attn-input_4",
}  # fmt: skip
SAMPLER = {
    *(f"TopKSampler-input_{i}" for i in range(1, 9)),
    *(f"TopKSampler-output_{i}" for i in range(3)),
}
MAX_ROOT = {"model-input_2", "model-input_3"}
V3_LAYER = {
    "layers.{}-input_0", "layers.{}-input_input_row_offsets",
    "layers.{}.self_attn-input_input_row_offsets",
}  # fmt: skip
V3_ROOT = {
    "model.language_model-input_2", "model.language_model-input_3",
    "model.language_model-output_next_token_logits", *(f"model-input_{i}" for i in range(1, 10)),
}  # fmt: skip


def both(prefix: str, names: set[str]) -> set[str]:
    return {prefix + name.format(i) for name in names for i in range(2)}


def expected_gaps(name: str) -> tuple[set[str], set[str]]:
    reference = both("model.model.", HF_LAYER | HF_TOP) | HF_ROOT
    if "v3" in name:
        return reference, both("model.language_model.", V3_LAYER) | V3_ROOT | SAMPLER
    reference |= {"model.model-input_input_ids"}
    return reference, both("model.layers.", MAX_LAYER) | MAX_ROOT | SAMPLER


@pytest.mark.parametrize("name", ALL)
def test_exactly_these_records_are_gaps(real: Path, name: str) -> None:
    assert gaps(alignment_of(real, name).rows) == expected_gaps(name)


@pytest.mark.parametrize("name", ALL)
def test_every_step_has_the_same_pairs(real: Path, name: str) -> None:
    rows = [row for row in alignment_of(real, name).rows if row.kind == "pair"]
    steps = sorted({row.step for row in rows})
    assert steps == ([0, 1, 2] if name == "llama_steps-f32" else [0])
    per_step = [[row.label for row in rows if row.step == step] for step in steps]
    assert all(labels == per_step[0] for labels in per_step)
    assert len(per_step[0]) == (56 if name == "olmo2-f32" else 49 if "v3" in name else 48)


@pytest.mark.parametrize("name", ["llama-f32", "llama-bf16", "llama_v3-f32", "olmo2-f32"])
def test_who_is_paired_how(real: Path, name: str) -> None:
    rows = alignment_of(real, name).rows
    hf = "model.model."
    other = "model.language_model." if "v3" in name else "model."
    layer = other + ("layers." if "v3" in name else "layers.layers.")
    expected = [
        (f"{hf}embed_tokens-input_0", f"{other}embed_tokens-input_0", "rule", "squeeze(0)", ""),
        (f"{hf}embed_tokens-output", f"{other}embed_tokens-output", "rule", "squeeze(0)", ""),
        (f"{hf}norm-output", f"{other}norm-output", "rule", "[:, -1]", ""),
        (f"{hf}norm-input_0", f"{other}norm-input_0", "rule", "[:, -1]", ""),
    ]
    for i in range(2):
        for part, cut in (("q", "[:, 0:64]"), ("k", "[:, 64:96]"), ("v", "[:, 96:128]")):
            attention, fused = f"{hf}layers.{i}.self_attn.", f"{layer}{i}.self_attn.qkv_proj"
            expected += [
                (f"{attention}{part}_proj-input_0", f"{fused}-input_0", "fused", "squeeze(0)", ""),
                (f"{attention}{part}_proj-output", f"{fused}-output", "fused", "squeeze(0)", cut),
            ]
        for module in ("self_attn.o_proj", "mlp", "mlp.down_proj", "post_attention_layernorm"):
            for slot in ("input_0", "output"):
                left = f"{hf}layers.{i}.{module}-{slot}"
                expected.append((left, f"{layer}{i}.{module}-{slot}", "rule", "squeeze(0)", ""))
        expected += [
            (f"{hf}layers.{i}-output", f"{layer}{i}-output", "rule", "squeeze(0)", ""),
            (f"{hf}layers.{i}-input_0", f"{layer}{i}-input_1", "order", "squeeze(0)", ""),
            (f"{hf}layers.{i}.self_attn-output_0", f"{layer}{i}.self_attn-output", "rule",
             "squeeze(0)", ""),
        ]  # fmt: skip
    for left, right, matched_by, recipe_reference, recipe_candidate in expected:
        row = row_of(rows, left)
        assert row.candidate is not None
        found = (row.candidate.name, row.matched_by, row.recipe_reference, row.recipe_candidate)
        assert found == (right, matched_by, recipe_reference, recipe_candidate), left
        assert row.problem is None and row.how


@pytest.mark.parametrize("name", ALL)
def test_logits_go_with_the_last_token(real: Path, name: str) -> None:
    for row in alignment_of(real, name).rows:
        if row.canonical == "lm_head":
            assert row.kind == "pair" and "lm_head" in (row.candidate.name if row.candidate else "")
            assert row.recipe_reference == ("[:, -1]" if row.step == 0 else "squeeze(1)")
    root = row_of(alignment_of(real, name).rows, "model-output_logits")
    assert root.candidate is not None and root.matched_by == "order"
    wanted = "model-output_next_token_logits" if "v3" in name else "model-output_0"
    assert root.candidate.name == wanted


@pytest.mark.parametrize("name", ALL)
def test_inputs_stand_directly_before_their_output(real: Path, name: str) -> None:
    rows = alignment_of(real, name).rows
    blocks: list[tuple[int, str, int]] = []
    for row in rows:
        place = (row.step, row.canonical, row.call)
        if not blocks or blocks[-1] != place:
            blocks.append(place)
    assert len(blocks) == len(set(blocks))
    for step in {row.step for row in rows}:
        ours = [module for s, module, _ in blocks if s == step]
        for at, module in enumerate(ours):
            assert not any(module.startswith(earlier + ".") for earlier in ours[:at])


def test_order_is_checked_where_both_tell_it(real: Path) -> None:
    order = alignment_of(real, "llama-f32").order
    assert (order.same, order.reordered) == (True, ())


@pytest.mark.parametrize("name", [n for n in ALL if n != "llama-f32"])
def test_order_is_unknown_where_max_does_not_tell_it(real: Path, name: str) -> None:
    order = alignment_of(real, name).order
    assert order.same is None and "candidate does not record its order" in order.reason


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_pairs_agree(real: Path, name: str) -> None:
    comparison = measured(real, name)
    levels = comparison.level_counts()
    assert set(levels) <= {"identical", "ok", "missing"}, levels
    assert comparison.exit_status() == 0 and comparison.first_divergence() is None
    assert comparison.failing == []
    coverage = comparison.counts.coverage
    assert coverage is not None and coverage > 0.8


@pytest.mark.parametrize(
    ("name", "module"),
    [("olmo2-f32", "layers.0.self_attn.q_norm"), ("llama_v3_badweights-f32", "embed_tokens")],
)
def test_first_divergence_of_the_broken(real: Path, name: str, module: str) -> None:
    comparison = measured(real, name)
    first = comparison.first_divergence()
    assert first is not None
    assert (first.module, first.slot, first.verdict) == (module, "output", "diverged")
    assert comparison.exit_status() == 1


@pytest.mark.parametrize("name", ALL)
def test_counts_add_up(real: Path, name: str) -> None:
    counts = measured(real, name).counts
    reference, candidate = (len(expected) for expected in expected_gaps(name))
    steps = 3 if name == "llama_steps-f32" else 1
    assert counts.gaps_reference == steps * reference
    assert counts.gaps_candidate == steps * candidate
    for side in (counts.records_reference, counts.records_candidate):
        assert side.total == side.paired + side.gap + side.unreadable + side.ignored
        assert side.unreadable == side.ignored == 0
    # q, k and v against one fused record, input and output, in both layers
    assert counts.pairs == counts.records_reference.paired
    assert counts.pairs == counts.records_candidate.paired + steps * 2 * 2 * 2
