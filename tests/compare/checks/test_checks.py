"""Checks of captures: each finds its fault, and none is found where nothing is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.capture import record as record_capture
from layertui.capture.open import open_capture
from layertui.capture.records import Capture
from layertui.compare.aligned import Note
from layertui.compare.checks.finding import CODES, Finding
from layertui.compare.checks.one_side import check_capture
from layertui.compare.checks.samples import Budget, Looks, look, same_bits, sampled
from layertui.compare.checks.two_sides import (
    check_before_measuring,
    check_each,
    check_pair,
    note_findings,
)
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.measuring.kernel import NO_KERNEL
from support.synthetic import capture as in_memory
from support.synthetic import record, saved

LAYERS = 4


def model(seed: int = 0, **more: Any) -> dict[str, np.ndarray]:
    """The records of a little run, in execution order; `more` replaces some by full name."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    made = {
        "model.embed_tokens-input_0": np.arange(6, dtype=np.int64)[None] + 3,
        "model.embed_tokens-output": noise(1, 6, 8),
        "model.rotary_emb-output": noise(1, 6, 4),
    }
    for layer in range(LAYERS):
        for part in ("self_attn", "mlp", ""):
            name = f"model.layers.{layer}" + (f".{part}" if part else "")
            made[f"{name}-output"] = noise(1, 6, 8)
    made["lm_head-output"] = noise(1, 6, 20)
    return {**made, **more}


def codes(found: list[Finding], severity: str | None = None) -> set[str]:
    assert all(finding.code in CODES for finding in found)
    return {f.code for f in found if severity is None or f.severity == severity}


def checked(folder: Path, arrays: Mapping[str, np.ndarray]) -> list[Finding]:
    return check_capture(saved(folder, arrays))


def pair(folder: Path, left: Mapping[str, Any], right: Mapping[str, Any]) -> Comparison:
    return Comparison(saved(folder / "a", left), saved(folder / "b", right))


def test_a_good_capture_has_no_finding(tmp_path: Path) -> None:
    assert checked(tmp_path / "a", model()) == []
    arrays = model()
    noise = np.random.default_rng(1).standard_normal((1, 6, 8)) * 1e-6
    close = {n: (a + noise).astype(a.dtype) if a.shape == (1, 6, 8) else a
             for n, a in arrays.items()}  # fmt: skip
    assert check_pair(pair(tmp_path / "p", arrays, close)) == []


@pytest.mark.parametrize("name", ["llama-f32", "llama-bf16", "llama_steps-f32", "llama_v3-f32",
                                  "llama_batch_steps-f32", "qwen3-f32"])  # fmt: skip
def test_real_clean_pairs_have_no_error_and_no_warning(real: Path, name: str) -> None:
    sides = (real / name / side for side in ("torch_dump", "max_dump"))
    found = check_pair(open_comparison(*map(str, sides)))
    assert [f for f in found if f.severity != "note"] == []


def test_one_buffer_for_every_layer(tmp_path: Path) -> None:
    stale = np.random.default_rng(9).standard_normal((1, 6, 8)).astype(np.float32)
    arrays = model(**{f"model.layers.{i}.mlp-output": stale for i in range(LAYERS)})
    (finding,) = checked(tmp_path / "a", arrays)
    assert (finding.severity, finding.code) == ("error", "stale")
    assert "4 outputs have the same bits in every layer" in finding.what
    assert set(finding.records) == {f"model.layers.{i}.mlp-output" for i in range(LAYERS)}


def test_two_layers_with_the_same_bits(tmp_path: Path) -> None:
    arrays = model()
    arrays["model.layers.3.mlp-output"] = arrays["model.layers.1.mlp-output"]
    (finding,) = checked(tmp_path / "a", arrays)
    assert (finding.severity, finding.code) == ("error", "stale")
    assert "2 outputs have the same bits in several layers" in finding.what
    arrays = model()
    arrays["model.layers.3-output"] = arrays["model.layers.2-output"]
    (finding,) = checked(tmp_path / "b", arrays)
    assert finding.severity == "warning" and "skipped" in finding.advice


def test_what_is_shared_by_design_is_not_stale(tmp_path: Path) -> None:
    """Tables of positions are equal in every layer; an output is the next layer's input."""
    arrays = model()
    table = arrays["model.rotary_emb-output"]
    arrays |= {f"model.layers.{i}.self_attn.rotary_emb-output": table for i in range(LAYERS)}
    arrays |= {f"model.layers.{i}.attention_mask-output": table for i in range(LAYERS)}
    for layer in range(LAYERS):
        arrays[f"model.layers.{layer}.self_attn.o_proj-output"] = arrays[
            f"model.layers.{layer}.self_attn-output"
        ]
    assert "stale" not in codes(checked(tmp_path / "a", arrays))


def test_a_difference_between_the_samples_counts(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    y = x.copy()
    y[300] += 1
    names = [f"layers.{i}.mlp-output" for i in range(2)]
    capture = saved(tmp_path / "a", dict(zip(names, (x, y), strict=True)))
    left, right = (r.locator for r in capture.records)
    assert left is not None and right is not None
    seen = look(left), look(right)
    assert seen[0] is not None and seen[1] is not None and seen[0].digest == seen[1].digest
    assert same_bits(left, left) and not same_bits(left, right)
    assert check_capture(capture) == []


def test_samples_of_views_that_lie_scattered(tmp_path: Path) -> None:
    """Transposed records are looked at through their strides; their bits count as they stand."""
    x = np.arange(60_000, dtype=np.float32).reshape(200, 300)
    capture = saved(tmp_path / "a", {"a-output": np.asfortranarray(x), "b-output": x})
    one, other = (r.locator for r in capture.records)
    assert one is not None and other is not None and one.strides is not None
    assert same_bits(one, other) and look(one) is not None


@pytest.mark.parametrize("no_kernel", [False, True])
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_samples_are_of_all_parts_of_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, no_kernel: bool
) -> None:
    if no_kernel:
        monkeypatch.setenv(NO_KERNEL, "1")
    x = np.arange(50_000, dtype=dtype)
    (found,) = saved(tmp_path / "a", {"a-output": x}).records
    assert found.locator is not None
    seen = sampled(found.locator)
    assert seen is not None and len(np.unique(seen)) == seen.size
    assert (seen[0], seen[-1]) == (0, 49_999)


def test_budget() -> None:
    (found,) = in_memory({"a-output": (10, 10)}).records
    assert found.locator is not None
    budget = Budget(900)
    assert budget.take(found.locator, 2) and budget.left == 100
    assert not budget.take(found.locator) and budget.left == 100


def test_what_was_compared_in_full_is_not_read_again(tmp_path: Path) -> None:
    flat = np.random.default_rng(0).standard_normal((10, 10)).astype(np.float32)
    one, other = saved(tmp_path / "a", {"a-output": flat, "b-output": flat.copy()}).records
    looks = Looks(Budget(1000))
    assert looks.same(one, other) and looks.budget.left == 200
    assert looks.same(one, other) and not looks.budget.spent


def test_each_capture_may_be_checked_before_the_pair(tmp_path: Path) -> None:
    arrays = model(**{"model.layers.1.mlp-output": np.zeros((1, 6, 8), np.float32)})
    comparison = pair(tmp_path, model(seed=1), arrays)
    alone = check_each(comparison)
    assert "constant" in codes(alone.found)
    assert check_pair(comparison, alone=alone) == check_pair(comparison)
    assert not check_each(comparison, lambda: True).found


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "all zeros"), (2.5, "the same number everywhere")]
)
def test_constants(tmp_path: Path, value: float, words: str) -> None:
    flat = np.full((1, 6, 8), value, np.float32)
    arrays = model(**{"model.layers.1.mlp-output": flat})
    (finding,) = checked(tmp_path / "a", arrays)
    assert (finding.severity, finding.code) == ("warning", "constant") and words in finding.what
    every = {n: np.full_like(a, value) if a.dtype == np.float32 else a for n, a in model().items()}
    assert "constant" in codes(checked(tmp_path / "b", every), "error")
    found = [f for f in check_pair(pair(tmp_path / "p", model(), arrays)) if f.code == "constant"]
    assert "warning" in {f.severity for f in found}
    comparison = pair(tmp_path / "q", model(), arrays)
    comparison.measure(use_cache=False)
    found = [f for f in check_pair(comparison) if f.severity == "error"]
    assert [(f.code, f.side) for f in found] == [("constant", "candidate")]


def test_one_element_apart_is_not_constant(tmp_path: Path) -> None:
    x = np.zeros(50_000, np.float32)
    x[300] = 1  # between two samples
    assert checked(tmp_path / "a", {"layers.0.mlp-output": x}) == []


def test_nan(tmp_path: Path) -> None:
    whole, some = (
        np.full((1, 6, 8), np.nan, np.float32),
        model()["model.layers.1.mlp-output"].copy(),
    )
    some[0, 0, 0] = np.nan
    arrays = model(**{"model.layers.0.mlp-output": whole, "model.layers.1.mlp-output": some})
    found = checked(tmp_path / "a", arrays)
    assert [(f.severity, f.code) for f in found] == [("error", "nan"), ("warning", "nan")]


def test_missing_layers_and_steps(tmp_path: Path) -> None:
    arrays = {n: a for n, a in model().items() if ".layers.2" not in n}
    (finding,) = checked(tmp_path / "a", arrays)
    assert finding.code == "layers" and "no record of layers.2" in finding.what
    records = [record("model.layers.0.mlp-output", step=step) for step in (0, 1, 4)]
    (finding,) = check_capture(in_memory(records))
    assert (finding.severity, finding.code) == ("error", "steps")
    assert "steps 2, 3 are missing" in finding.what


def test_a_lone_step_is_no_fault(tmp_path: Path) -> None:
    """An iteration of training, or the step that somebody chose; two that lack others are one."""
    (finding,) = check_capture(in_memory([record("model.layers.0.mlp-output", step=10)]))
    assert (finding.severity, finding.what) == ("note", "only step 10 is there")
    records = [record("model.layers.0.mlp-output", step=step) for step in (10, 11)]
    (finding,) = check_capture(in_memory(records))
    assert (finding.severity, finding.code) == ("error", "steps")


def test_a_step_that_was_cut_short(tmp_path: Path) -> None:
    names = [f"model.layers.{i}.mlp-output" for i in range(LAYERS)]
    records = [record(n, step=s) for s in range(5) for n in names[: 2 if s == 3 else None]]
    (finding,) = check_capture(in_memory(records))
    assert finding.code == "steps" and "step 3 lacks 2 modules" in finding.what
    assert finding.records == ("layers.2.mlp", "layers.3.mlp")


def test_steps_that_repeat(tmp_path: Path) -> None:
    """A replayed graph whose buffers were not read again; of both sides it is the input."""
    for side, seeds in (("a", (0, 1)), ("b", (0, 0))):
        for step, seed in enumerate(seeds):
            saved(tmp_path / side / str(step), model(seed))
    (finding,) = check_capture(open_capture(tmp_path / "b"))
    assert finding.severity == "warning" and "step 1 repeats step 0" in finding.what
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    found = [f for f in check_pair(comparison) if f.code == "stale"]
    assert [(f.severity, f.side) for f in found] == [("error", "candidate")]
    comparison = open_comparison(str(tmp_path / "b"), str(tmp_path / "b"))
    found = [f for f in check_pair(comparison) if f.code == "stale"]
    assert {f.severity for f in found} == {"warning"}


def test_order_that_goes_backwards(tmp_path: Path) -> None:
    names = list(model())
    assert check_capture(in_memory(names)) == []
    swapped = names.copy()
    one, other = (swapped.index(f"model.layers.{i}-output") for i in (1, 2))
    swapped[one], swapped[other] = swapped[other], swapped[one]
    (finding,) = check_capture(in_memory(swapped))
    assert (finding.severity, finding.code) == ("warning", "order")
    early = ["model.layers.0-output", *(n for n in names if n != "model.layers.0-output")]
    (finding,) = check_capture(in_memory(early))
    assert "2 outputs" in finding.what  # self_attn and mlp come after what holds them
    assert check_capture(in_memory(swapped, order=False)) == []  # nobody claims to know


def test_incomplete_and_unreadable(tmp_path: Path) -> None:
    capture = in_memory([record("a-output"), record("b-output", error="truncated")])
    capture.complete = False
    found = check_capture(capture)
    assert codes(found, "error") == {"incomplete", "unreadable"}
    unreadable = next(f for f in found if f.code == "unreadable")
    assert unreadable.records == ("b-output",) and "truncated" in unreadable.what
    assert codes(check_capture(in_memory([record("a-input_0")])), "warning") == {"empty"}


@pytest.mark.torch
def test_statistics_and_partial_records(tmp_path: Path) -> None:
    with record_capture(None, tmp_path / "s", stats_only=True) as recorder:
        recorder.add("layers.0.mlp", np.arange(8, dtype=np.float32), slot="output")
    assert codes(check_capture(open_capture(tmp_path / "s")), "note") == {"statistics"}
    assert "partial" in codes(
        check_capture(in_memory([record("a-output", partial=(3, 9))])), "note"
    )


# Two sides


def first_of(comparison: Comparison) -> Finding:
    found = check_pair(comparison)
    assert found
    return found[0]


def test_different_token_ids_come_first(tmp_path: Path) -> None:
    ids = np.arange(6, dtype=np.int64)[None] + 3
    ids[0, 4] = 99
    wrong = model(1, **{"model.embed_tokens-input_0": ids})
    stale = wrong["model.layers.0.mlp-output"]
    wrong |= {f"model.layers.{i}.mlp-output": stale for i in range(LAYERS)}
    found = check_pair(pair(tmp_path, model(), wrong))
    assert codes(found, "error") >= {"inputs", "stale"}
    assert found[0].code == "inputs" and found[0].advice.startswith("stop here")
    assert found[0].what == "different token ids: 1 of 6, such as 7 and 99 at [0, 4]"


def test_other_shapes_of_the_same_ids_agree(tmp_path: Path) -> None:
    flat = {n: a[0] if a.shape[:2] == (1, 6) else a for n, a in model().items()}
    assert "inputs" not in codes(check_pair(pair(tmp_path, model(), flat)))


def told(capture: Capture, **fields: Any) -> Capture:
    for name, value in fields.items():
        setattr(capture, name, value)
    return capture


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ({"prompt": "a"}, {"prompt": "b"}, "different prompts: 'a' and 'b'"),
        (
            {"input_ids": [[1, 2, 3]]},
            {"input_ids": [[1, 2, 4]]},
            "1 of 3, the first at position 2 (3 and 4)",
        ),
        ({"input_ids": [[1, 2, 3]]}, {"input_ids": [1, 2]}, "3 tokens and 2"),
        ({"input_ids": [[1, 2, 3]]}, {"input_ids": [1, 2, 3]}, None),
        ({"input_ids": [[1, 2, 3]]}, {"input_ids": [["x"]]}, None),
        ({"prompt": "a"}, {"input_ids": [1]}, None),
    ],
)
def test_what_the_captures_say_of_their_inputs(
    left: dict[str, Any], right: dict[str, Any], words: str | None
) -> None:
    names = ["layers.0.mlp-output"]
    comparison = Comparison(told(in_memory(names), **left), told(in_memory(names), **right))
    found = [f for f in check_pair(comparison) if f.code == "inputs"]
    assert (words is None) == (found == [])
    assert words is None or (found[0].severity == "error" and words in found[0].what)


def test_ids_of_one_side_s_record_and_the_other_s_metadata(tmp_path: Path) -> None:
    left = saved(tmp_path / "a", model())
    right = saved(tmp_path / "b", {"model.layers.0.mlp-output": np.ones((1, 6, 8), np.float32)})
    right.input_ids = [[3, 4, 5, 6, 7, 9]]
    finding = first_of(Comparison(left, right))
    assert finding.what == "different token ids: 1 of 6, the first at position 5 (8 and 9)"


def test_embeddings_tell_where_no_ids_are_recorded(tmp_path: Path) -> None:
    bare = {n: a for n, a in model().items() if not n.endswith("input_0")}
    swapped = dict(bare)
    table = bare["model.embed_tokens-output"].copy()
    table[0, 2] = np.random.default_rng(7).standard_normal(8)
    swapped["model.embed_tokens-output"] = table
    finding = first_of(pair(tmp_path / "p", bare, swapped))
    assert finding.code == "inputs" and "1 of 6 tokens" in finding.what
    assert "the first at position 2" in finding.what
    swapped["model.embed_tokens-output"] = table[:, ::-1] * -1
    finding = first_of(pair(tmp_path / "q", bare, swapped))
    assert "the embeddings of all tokens differ" in finding.what


def test_tokens_that_a_print_leaves_out_are_not_other_tokens(tmp_path: Path) -> None:
    values = np.random.default_rng(3).standard_normal((10, 64)).round(4)
    texts = [[f"{value:.4f}" for value in row] for row in values]
    rows = [f"[{', '.join(row)}]" for row in texts]
    short = [f"[{', '.join([*row[:3], '...', *row[-3:]])}]" for row in texts]
    name = "model.embed_tokens-output"
    shape = "dtype=f32, shape=[10,64]"
    whole = f"{name} = tensor([{', '.join(rows)}], {shape})"
    for changed in (None, 1):
        lines = [*short[:3], " ..., \n", *short[-3:]]
        if changed is not None:
            lines[changed] = short[changed + 3]
        cut = ",\n".join(lines).replace(" ..., \n,", " ..., \n")
        for side, text in (("a", whole), ("b", f"{name} = tensor([{cut}], {shape})")):
            (tmp_path / f"{side}.log").write_text(text + "\n")
        comparison = open_comparison(str(tmp_path / "a.log"), str(tmp_path / "b.log"))
        (row,) = comparison.rows
        assert row.partial is not None
        told = [found.what for found in check_pair(comparison) if found.code == "inputs"]
        if changed is None:
            assert told == []
        else:
            assert told[0].startswith("the embeddings of 1 of 6 tokens differ")
            assert told[0].endswith("the first at position 1")


def test_what_is_told_before_measuring_is_part_of_the_whole(tmp_path: Path) -> None:
    """No number is measured for it, and the whole check repeats it word by word."""
    right = {n: a for n, a in model().items() if not n.startswith("model.layers.1")}
    right["model.embed_tokens-input_0"] = right["model.embed_tokens-input_0"] + 1
    right["model.layers.0.mlp-output"] = np.zeros((1, 6, 8), np.float32)
    comparison = pair(tmp_path, model(), right)
    early = check_before_measuring(comparison)
    assert not comparison.measured
    assert [f.code for f in early] == ["inputs", "layers"]
    assert early[0].what.startswith("different token ids: 6 of 6")
    whole = check_pair(comparison)
    assert [f for f in whole if f in early] == early
    assert codes(whole) - codes(early) == {"constant"}
    assert check_before_measuring(comparison, lambda: True) == []


def test_other_weights(tmp_path: Path, real: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    left, right = (model(**{"model.layers.0.mlp.weight-value": w}) for w in (weight, weight * 1.5))
    assert codes(check_pair(pair(tmp_path / "p", left, left))) == set()
    found = check_pair(pair(tmp_path / "q", left, right))
    assert [(f.severity, f.code) for f in found] == [("error", "weights")]
    sides = (real / "llama_v3_badweights-f32" / side for side in ("torch_dump", "max_dump"))
    found = check_pair(open_comparison(*map(str, sides)))
    assert "the embedding gives other outputs for the same token ids" in [f.what for f in found]


def recorded(folder: Path, **meta: Any) -> Path:
    with record_capture(None, folder) as recorder:
        recorder.meta(**meta)
        recorder.add("layers.0.mlp", np.arange(32, dtype=np.float32), slot="output")
    return folder


@pytest.mark.torch
def test_hashes_and_configs_of_the_runs(tmp_path: Path) -> None:
    left = recorded(tmp_path / "a", weights_sha256="aa", config={"rope_theta": 1e4, "heads": 4},
                    model="org/Tiny", device="cpu")  # fmt: skip
    right = recorded(tmp_path / "b", weights_sha256="bb", config={"rope_theta": 5e5, "heads": 4},
                     model="/models/other", device="cuda", training=True)  # fmt: skip
    assert check_pair(open_comparison(str(left), str(left))) == []
    found = check_pair(open_comparison(str(left), str(right)))
    said = "\n".join(f.line for f in found)
    assert found[0].code == "weights" and "weights_sha256 differs: 'aa' and 'bb'" in said
    assert "config.rope_theta ('10000.0' and '500000.0')" in said and "config.heads" not in said
    assert "training mode" in said and "ran on 'cpu', the candidate on 'cuda'" in said
    assert "the reference ran 'org/Tiny', the candidate '/models/other'" in said


def test_other_dtypes_and_steps(tmp_path: Path) -> None:
    left = model()
    right = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in left.items()}
    (finding,) = check_pair(pair(tmp_path / "p", left, right))
    assert (finding.severity, finding.code) == ("note", "dtype")
    name = "model.layers.0.mlp-output"
    one = in_memory([record(name, step=step) for step in range(3)])
    two = in_memory([record(name, step=step) for step in range(2)])
    found = check_pair(Comparison(one, two))
    assert [f.what for f in found if f.code == "steps"] == ["step 2 is only in the reference"]


def test_findings_become_notes_once(tmp_path: Path) -> None:
    comparison = pair(tmp_path, model(), model(1))
    comparison.remarks = (Note("candidate", "an old note"),)
    found = [*check_pair(comparison), Finding("note", "dtype", "x", "y", side="candidate")]
    for _ in range(2):
        note_findings(comparison, found)
    assert comparison.notes("candidate") == ["note on the candidate: x; y", "an old note"]
    assert comparison.notes("reference")[0].startswith("warning: the embedding gives other")


def test_cancelling_stops_early(tmp_path: Path) -> None:
    capture = saved(tmp_path / "a", {n: a * 0 for n, a in model().items()})
    assert check_capture(capture, cancelled=lambda: True) == []
    assert json.dumps([f.as_json() for f in check_capture(capture)])


def test_what_rests_on_samples_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layertui.compare.checks import one_side

    monkeypatch.setattr(one_side, "Budget", lambda: Budget(300))
    stale = np.random.default_rng(9).standard_normal((1, 6, 8)).astype(np.float32)
    arrays = model(**{f"model.layers.{i}.mlp-output": stale for i in range(LAYERS)})
    found = checked(tmp_path / "a", arrays)
    assert codes(found, "error") == {"stale"} and codes(found, "note") == {"partial"}


def test_one_is_not_called_many(tmp_path: Path) -> None:
    """A finding about one record has its verb and noun in the singular."""
    arrays = model()
    arrays["model.empty-output"] = np.zeros((1, 0, 8), np.float32)
    arrays["model.nan-output"] = np.full((1, 6, 8), np.nan, np.float32)
    said = [finding.what for finding in checked(tmp_path / "a", arrays)]
    assert "1 record has no elements" in said
    assert "1 output seems to hold nothing but NaN" in said
    arrays["model.empty_too-output"] = arrays["model.empty-output"]
    arrays["model.nan_too-output"] = arrays["model.nan-output"]
    said = [finding.what for finding in checked(tmp_path / "b", arrays)]
    assert "2 records have no elements" in said
    assert "2 outputs seem to hold nothing but NaN" in said
