"""Engines whose modules return something else than their names say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.records import Capture
from layertui.cli.main import status_of
from layertui.compare.aligned import Aligned
from layertui.compare.comparison import open_comparison
from layertui.compare.matching.align import align
from layertui.compare.matching.leftovers import may_be_one
from layertui.compare.matching.names.canonical import NameRules
from layertui.compare.matching.names.naming import read_names
from layertui.compare.rules.rules import RulesError
from layertui.compare.rules.rules_file import read_rules
from support.synthetic import aligned, capture, gaps, pairs, record, row_of

WIDE = (1, 6, 8)
FLAT = (6, 8)


def hugging_face(layers: int = 2, inputs: bool = True) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens-output": WIDE}
    for i in range(layers):
        x = f"model.layers.{i}"
        found |= {
            f"{x}.input_layernorm-output": WIDE, f"{x}.self_attn.q_proj-output": WIDE,
            f"{x}.self_attn.k_proj-output": (1, 6, 4), f"{x}.self_attn.v_proj-output": (1, 6, 4),
            f"{x}.self_attn.o_proj-input_0": WIDE, f"{x}.self_attn.o_proj-output": WIDE,
            f"{x}.self_attn-output_0": WIDE, f"{x}.post_attention_layernorm-input_0": WIDE,
            f"{x}.post_attention_layernorm-output": WIDE,
            f"{x}.mlp.gate_proj-output": (1, 6, 12), f"{x}.mlp.act_fn-output": (1, 6, 12),
            f"{x}.mlp.up_proj-output": (1, 6, 12), f"{x}.mlp.down_proj-input_0": (1, 6, 12),
            f"{x}.mlp.down_proj-output": WIDE, f"{x}.mlp-output": WIDE, f"{x}-output": WIDE,
        }  # fmt: skip
    found |= {"model.norm-input_0": WIDE, "model.norm-output": WIDE, "lm_head-output": (1, 6, 20)}
    return {name: shape for name, shape in found.items() if inputs or "-input" not in name}


def vllm(joint: str, layers: int = 2) -> dict[str, tuple[int, ...]]:
    """Records as a hook writes them: the members of a tuple behind `joint`."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens": FLAT}
    for i in range(layers):
        x = f"model.layers.{i}"
        first = {f"{x}.input_layernorm{joint}0": FLAT, f"{x}.input_layernorm{joint}1": FLAT}
        found |= first if i else {f"{x}.input_layernorm": FLAT}
        found |= {
            f"{x}.self_attn.qkv_proj{joint}0": (6, 16), f"{x}.self_attn.attn": FLAT,
            f"{x}.self_attn.o_proj{joint}0": FLAT, f"{x}.self_attn": FLAT,
            f"{x}.post_attention_layernorm{joint}0": FLAT,
            f"{x}.post_attention_layernorm{joint}1": FLAT,
            f"{x}.mlp.gate_up_proj{joint}0": (6, 24), f"{x}.mlp.act_fn": (6, 12),
            f"{x}.mlp.down_proj{joint}0": FLAT, f"{x}.mlp": FLAT,
            f"{x}{joint}0": FLAT, f"{x}{joint}1": FLAT,
        }  # fmt: skip
    return found | {
        f"model.norm{joint}0": FLAT, f"model.norm{joint}1": FLAT, "logits_processor": (1, 20),
    }  # fmt: skip


def vllm_names(result: Aligned) -> dict[str, str]:
    return {
        row.candidate.name: row.reference.name
        for row in result.rows
        if row.reference and row.candidate
    }


@pytest.mark.parametrize("joint", ["/", ".", "-output_"])
def test_what_serving_engines_return(joint: str) -> None:
    result = aligned(hugging_face(), vllm(joint))
    found = vllm_names(result)
    x = "model.layers.1"
    assert found[f"{x}.self_attn.attn"] == f"{x}.self_attn.o_proj-input_0"
    assert found[f"{x}.mlp.act_fn"] == f"{x}.mlp.down_proj-input_0"
    assert found[f"{x}.post_attention_layernorm{joint}0"] == f"{x}.post_attention_layernorm-output"
    assert found[f"{x}.post_attention_layernorm{joint}1"] == f"{x}.post_attention_layernorm-input_0"
    assert found[f"model.norm{joint}1"] == "model.norm-input_0"
    assert found["logits_processor"] == "lm_head-output"
    for layer in range(2):
        row = row_of(result.rows, f"model.layers.{layer}-output")
        assert row.recipe_candidate == f'add("model.layers.{layer}{joint}1")'
        assert row.recipe_reference == "squeeze(0)"
    last = row_of(result.rows, "lm_head-output")
    assert (last.problem, last.recipe_reference) == (None, "[:, -1]")
    assert not [name for name in gaps(result.rows)[0] if name.endswith("q_proj-output")]


def test_an_activation_is_no_product_where_inputs_are_not_recorded() -> None:
    result = aligned(hugging_face(inputs=False), vllm("/"))
    apart = {f"model.layers.{i}.{m}" for i in (0, 1) for m in ("self_attn.attn", "mlp.act_fn")}
    assert apart <= gaps(result.rows)[1]
    assert "model.layers.0.mlp.act_fn-output" in gaps(result.rows)[0]


def test_parts_of_sums_are_no_partners() -> None:
    """With inputs, and where a hook keeps the first of what a layer returns."""
    shapes = vllm("-output_") | {"model.layers.1.post_attention_layernorm-input_0": FLAT}
    shapes |= {"model.layers.1-input_0": (6,), "model.layers.1-input_1": FLAT}
    shapes |= {"model.layers.1.mlp.down_proj-input_0": (6, 12)}
    found = vllm_names(aligned(hugging_face() | {"model.layers.1-input_0": WIDE}, shapes))
    assert "model.layers.1-input_1" not in found
    assert "model.layers.1.post_attention_layernorm-input_0" not in found
    carried = "model.layers.1.post_attention_layernorm-output_1"
    assert found[carried] == "model.layers.1.post_attention_layernorm-input_0"
    assert "model.layers.1.mlp.act_fn" not in found
    assert found["model.layers.1.mlp.down_proj-input_0"] == "model.layers.1.mlp.down_proj-input_0"
    first = {
        name.removesuffix("/0"): shape for name, shape in vllm("/").items() if "/1" not in name
    }
    found = vllm_names(aligned(hugging_face(), first))
    assert "model.layers.0" not in found and found["model.norm"] == "model.norm-output"


def test_members_of_other_shapes_are_not_added() -> None:
    """A layer of transformers may return its output and a cache, or attention weights."""
    shapes = vllm("/") | {"model.layers.0/1": (2, 6, 6), "model.layers.1/1": (2, 6, 6)}
    result = aligned(hugging_face(), shapes)
    assert row_of(result.rows, "model.layers.0-output").recipe_candidate == ""


def test_sums_are_measured_and_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((2, 6, 8)).astype(np.float32) for _ in range(2))
    whole = {"model.layers.0-output": first[0] + second[0], "model.layers.1-output": first[1]}
    parts = {
        "model.layers.0/0": first[0], "model.layers.0/1": second[0],
        "model.layers.0.input_layernorm/1": first[0], "model.layers.0.input_layernorm/0": first[0],
    }  # fmt: skip
    np.savez(tmp_path / "a.npz", **whole)
    np.savez(tmp_path / "b.npz", **parts)
    comparison = open_comparison(str(tmp_path / "a.npz"), str(tmp_path / "b.npz"))
    assert comparison.measure(use_cache=False)
    row = row_of(comparison.rows, "model.layers.0-output")
    result = comparison.results.measurements[row.index]
    assert getattr(result, "identical", None) is True


def test_groups_of_heads_are_taken_apart() -> None:
    ref = {
        "model.rotary_emb-output_0": (1, 6, 2), "layers.0.input_layernorm-output": WIDE,
        "layers.0.self_attn.q_proj-output": WIDE, "layers.0.self_attn.k_proj-output": (1, 6, 4),
        "layers.0.self_attn.v_proj-output": (1, 6, 4),
    }  # fmt: skip
    cand = {"decoder.layers.0.self_attention.linear_qkv": (6, 1, 16)}
    rows = aligned(ref, cand).rows
    row = row_of(rows, "layers.0.self_attn.k_proj-output")
    assert row.recipe_candidate.startswith("reshape(6, 1, 2, 4, 2) | [:, :, :, 2:3]")
    assert row_of(rows, "layers.0.self_attn.q_proj-output").problem is None
    del ref["model.rotary_emb-output_0"]  # how wide a head is, nothing tells now
    assert pairs(aligned(ref, cand).rows) == {}


def states(count: int, pattern: str = "hidden_states_{}") -> list[str]:
    return [pattern.format(i) for i in range(count)]


STATES = ("hidden_states_{}", "hidden_states.{}", "hidden_states/{}", "all_hidden_states[{}]",
          "model.hidden_states_{}")  # fmt: skip


@pytest.mark.parametrize("pattern", STATES)
def test_hidden_states_are_outputs_of_layers(pattern: str) -> None:
    layers = [f"layer_{i}_out" for i in range(3)]
    result = aligned(states(4, pattern), ["embed", *layers, "final_norm_output"])
    names = states(4, pattern)
    assert pairs(result.rows) == {
        names[0]: "embed", names[1]: "layer_0_out", names[2]: "layer_1_out",
        names[3]: "final_norm_output",
    }  # fmt: skip
    assert any("final norm" in note.text for note in result.notes)


def test_the_last_hidden_state_is_told_by_the_other_sides_layers() -> None:
    layers = [f"model.layers.{i}-output" for i in range(6)]
    assert pairs(aligned(layers, states(4)).rows) == {
        f"model.layers.{i}-output": f"hidden_states_{i + 1}" for i in range(3)
    }


def test_layers_are_counted_from_the_end() -> None:
    left = [f"layers.{i}.mlp" for i in range(4)]
    assert pairs(aligned(left, ["layer_-1_mlp", "layers.-2.mlp"]).rows) == {
        "layers.3.mlp": "layer_-1_mlp", "layers.2.mlp": "layers.-2.mlp",
    }  # fmt: skip


def graph(order: bool) -> Capture:
    x = "/model/layers.0"
    names = {
        f"{x}/input_layernorm/Pow_output_0": WIDE,
        f"{x}/input_layernorm/ReduceMean_output_0": (1, 6, 1),
        f"{x}/input_layernorm/Mul_output_0": WIDE, f"{x}/input_layernorm/Mul_1_output_0": WIDE,
        f"{x}/self_attn/Constant_output_0": (), f"{x}/self_attn/q_proj/MatMul_output_0": WIDE,
        f"{x}/self_attn/Reshape_3_output_0": WIDE, f"{x}/self_attn/o_proj/MatMul_output_0": WIDE,
        f"{x}/Add_output_0": WIDE, f"{x}/mlp/down_proj/MatMul_output_0": WIDE,
        f"{x}/Add_1_output_0": WIDE, "logits": (1, 6, 20),
    }  # fmt: skip
    made = capture([record(name, shape) for name, shape in names.items()], order)
    shape = record(f"{x}/self_attn/Shape_output_0", (3,), "int64")
    return replace(made, records=[*made.records, shape])


@pytest.mark.parametrize("order", [True, False])
def test_the_last_value_of_a_scope_is_its_modules_output(order: bool) -> None:
    result = align(capture(hugging_face(1)), graph(order))
    x = "model.layers.0"
    found = {row.reference.name: row.candidate.name for row in result.rows
             if row.reference and row.candidate}  # fmt: skip
    assert found[f"{x}.input_layernorm-output"] == "/model/layers.0/input_layernorm/Mul_1_output_0"
    assert found[f"{x}-output"] == "/model/layers.0/Add_1_output_0"
    assert found["lm_head-output"] == "logits"
    own = found.get(f"{x}.self_attn-output_0")
    assert own == ("/model/layers.0/self_attn/o_proj/MatMul_output_0" if order else None)
    assert {r.name.rpartition("/")[2] for r in result.ignored_candidate} == {
        "Constant_output_0", "Shape_output_0",
    }  # fmt: skip


def test_values_in_the_order_of_their_names_have_no_order() -> None:
    made = graph(True)
    made.records.sort(key=lambda one: one.name)
    found = pairs(align(capture(hugging_face(1)), made).rows)
    assert "model.layers.0.self_attn-output_0" not in found
    assert found["model.layers.0-output"] == "/model/layers.0/Add_1_output_0"


def test_operators_that_are_quantities() -> None:
    attention = "layers.0.self_attn"
    ops = ["view.default", *["mul.Tensor", "neg.default", "cat.default", "add.Tensor"] * 2]
    names = [f"{attention}.q_proj-output"]
    seen: dict[str, int] = {}
    for op in ops:
        seen[op] = seen.get(op, 0) + 1
        call = f"({seen[op]})" if seen[op] > 1 else ""
        names.append(f"{attention}/aten.{op}{call}-output")
    names += ["layers.0/aten.add.Tensor-output", "layers.0/aten.add.Tensor(2)-output"]
    dumped = ["layer_0_attn_q_rope", "layer_0_attn_k_rope", "layer_0_attn_residual_output",
              "layer_0_layer_output"]  # fmt: skip
    result = aligned(names, dumped)
    assert pairs(result.rows) == {
        f"{attention}/aten.add.Tensor-output": "layer_0_attn_q_rope",
        f"{attention}/aten.add.Tensor(2)-output": "layer_0_attn_k_rope",
        "layers.0/aten.add.Tensor-output": "layer_0_attn_residual_output",
        "layers.0/aten.add.Tensor(2)-output": "layer_0_layer_output",
    }
    assert pairs(aligned(names, dumped, order=(False, False)).rows) == {}


def test_quantities_stand_in_the_order_of_a_run() -> None:
    names = ["input_embeddings"]
    for i in range(2):
        names += [f"layer_{i}_{n}" for n in (
            "input_hidden_states", "attn_norm_output", "attn_q_proj_raw", "attn_k_proj_raw",
            "attn_v_proj_raw", "attn_q_normed", "attn_k_normed", "attn_q_rope", "attn_k_rope",
            "attn_o_proj", "attn_residual_output", "mlp_norm_output", "mlp_gate_proj",
            "mlp_up_proj", "mlp_intermediate", "layer_output",
        )]  # fmt: skip
    names.append("final_norm_output")
    rows = aligned(sorted(names), sorted(names, reverse=True), order=(False, False)).rows
    assert [row.reference.name for row in rows if row.reference] == names


def test_the_engine_can_be_named() -> None:
    names = ["model.layers.0.mlp.act_fn", "model.layers.0.mlp.down_proj"]
    reading = read_names(capture(names), NameRules(engine="vLLM, SGLang")).readings[0]
    assert (reading.module, reading.slot) == ("layers.0.mlp.down_proj", "input_0")
    assert read_names(capture(names), NameRules()).engine is None
    rules = read_rules(b'[names]\ncandidate_engine = "megatron"', "x")
    assert (rules.reference.engine, rules.candidate.engine) == (None, "Megatron")
    none = read_rules(b'[names]\nreference_engine = ""', "x").reference
    assert read_names(capture(["blocks.0.hook_resid_pre"]), none).engine is None
    with pytest.raises(RulesError, match="candidate_engine: must be one of"):
        read_rules(b'[names]\ncandidate_engine = "nobody"', "x")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    status = status_of([str(arg) for arg in args])
    return status, capsys.readouterr().out


def test_names_say_what_was_taken_for_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ones = np.ones((4, 8), np.float32)
    np.savez(tmp_path / "a.npz", **{"model.layers.0.mlp": ones, "model.layers.0.zz_top": ones})
    np.savez(tmp_path / "b.npz", **{"layers.0.mlp/output": ones, "layers.0.beta": ones})
    status, text = run(capsys, "names", tmp_path / "a.npz")
    assert status == 0 and "layers.0.mlp-value" in text
    assert "unknown: 'zz_top' is in no table of names" in text
    status, text = run(capsys, "names", tmp_path / "a.npz", tmp_path / "b.npz")
    assert status == 0 and "slot output by the ending of the name" in text
    assert "nothing" in text and "2 records, 1 of unknown names" in text
    status, text = run(capsys, "names", tmp_path / "a.npz", tmp_path / "b.npz", "--format", "rules")
    assert status == 0 and read_rules(text.encode(), "x").pairs == ()
    uncommented = "\n".join(
        line.replace("# [[pair]]", "[[pair]]")
        .replace("# reference", "reference")
        .replace("# candidate", "candidate")
        for line in text.splitlines()
    )
    pair = read_rules(uncommented.encode(), "x").pairs[0]
    assert (pair.reference, pair.candidate) == ("model.layers.0.zz_top", "layers.0.beta")
    assert run(capsys, "names", tmp_path / "nothing")[0] == 2


def mixture(prefix: str, router: str, expert: tuple[str, str, str]) -> list[str]:
    names = ["layers.0.input_layernorm-output", f"layers.0.{prefix}.{router}-output"]
    names += [f"layers.0.{prefix}.experts.{e}.{w}-output" for e in range(2) for w in expert]
    return [*names, f"layers.0.{prefix}-output"]


def test_mixtures_of_experts_by_any_name() -> None:
    left = mixture("block_sparse_moe", "gate", ("w1", "w3", "w2"))
    for router in ("gate", "router"):
        right = mixture("mlp", router, ("gate_proj", "up_proj", "down_proj"))
        assert pairs(aligned(left, right).rows) == dict(zip(left, right, strict=True))


def test_a_module_under_its_own_name_comes_before_what_tables_take_for_it() -> None:
    rows = aligned(
        {"lm_head-output": (1, 8, 16)}, {"logits": (1, 8, 16), "lm_head": (1, 8, 16)}
    ).rows
    assert [row.candidate and row.candidate.name for row in rows if row.kind == "pair"] == [
        "lm_head"
    ]
    rows = aligned({"lm_head-output": (1, 8, 16)}, {"logits": (1, 8, 16)}).rows
    assert [row.kind for row in rows] == ["pair"]


def test_words_of_slots_make_no_pair() -> None:
    names = "my_norm.input", "special_attn_15.input"
    assert not may_be_one(*names)
    assert may_be_one("layers.0.alpha_gate_input", "layers.0.my_alpha_gate_input")
    assert not may_be_one("layers.0.alpha_gate", "layers.0.my_alpha_gate_input")
