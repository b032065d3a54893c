"""Pairs by values, for records whose names say nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertui.capture.load import load
from layertui.capture.open import open_capture
from layertui.capture.records import Capture, Record
from layertui.capture.values import upcast
from layertui.compare.aligned import Aligned
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.align import align
from layertui.compare.matching.content import search as content_search
from layertui.compare.matching.content.found import Content, decoded, encoded
from layertui.compare.matching.content.search import find_content
from layertui.compare.running.content_matching import match_content
from support.synthetic import gaps, pairs, row_of, saved

Arrays = dict[str, np.ndarray]
REAL = ["llama-f32", "llama-bf16", "olmo2-f32", "llama_v3-f32"]


def renamed(capture: Capture, random: Random | None = None, keep: float = 1.0) -> Capture:
    """The records called `t0001`, `t0002` and so on; with `random` some of them, in disorder,
    called by words of no meaning.
    """
    records = list(capture.records)
    if random is not None:
        records = [record for record in records if random.random() < keep]
        random.shuffle(records)
    made: list[Record] = []
    for number, record in enumerate(records):
        word = "".join(random.choices("abcdefghiklmnoprstuvz", k=9)) if random else ""
        name = word or f"t{number + 1:04d}"
        made.append(
            replace(record, name=name, module=name, slot="value", call=1, module_class=None)
        )
    return replace(capture, records=made, root="", order_known=random is None)


def by_values(reference: Capture, candidate: Capture) -> Aligned:
    return match_content(align(reference, candidate))


def place_of(record: Record) -> tuple[object, ...]:
    """What a record is, whatever its name: where its values lie."""
    assert record.locator is not None
    return (record.locator.path, record.locator.offset, record.locator.key)


def numbers_of(record: Record) -> np.ndarray:
    assert record.locator is not None and record.dtype is not None
    return upcast(np.asarray(load(record.locator)), record.dtype).reshape(-1)


def wrong_pairs(aligned: Aligned, truth: Capture) -> list[tuple[str, str]]:
    """Pairs of two records of which neither the name nor the values are the same; `truth` is the
    candidate before it was renamed.
    """
    names = {place_of(record): record.name for record in truth.records}
    found: list[tuple[str, str]] = []
    for row in aligned.rows:
        if row.reference is None or row.candidate is None:
            continue
        name = names[place_of(row.candidate)]
        ours, theirs = numbers_of(row.reference), numbers_of(row.candidate)
        if row.reference.name != name and not np.array_equal(ours, theirs):
            found.append((row.reference.name, name))
    return found


@pytest.mark.parametrize("name", REAL)
def test_numbered_names_pair_by_values(real: Path, name: str) -> None:
    capture = open_capture(real / name / "torch_dump")
    aligned = by_values(capture, renamed(capture))
    found = [row for row in aligned.rows if row.kind == "pair"]
    right = [
        row for row in found
        if row.reference and row.candidate and place_of(row.reference) == place_of(row.candidate)
    ]  # fmt: skip
    assert len(right) == len(found) >= 0.95 * len(capture.records)
    assert {row.matched_by for row in found} == {"content", "order"}
    assert all(row.sure is not None and 0 < row.sure < 1 for row in found)


@pytest.mark.parametrize("name", REAL)
def test_another_engines_renamed_records_are_paired_as_by_name(real: Path, name: str) -> None:
    reference = open_capture(real / name / "torch_dump")
    candidate = open_capture(real / name / "max_dump")
    truth = {
        (row.reference.name, place_of(row.candidate))
        for row in align(reference, candidate).rows
        if row.reference is not None and row.candidate is not None
    }
    found = {
        (row.reference.name, place_of(row.candidate))
        for row in by_values(reference, renamed(candidate)).rows
        if row.reference is not None and row.candidate is not None
    }
    assert len(found) >= 12
    assert found <= truth


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(REAL), seed=st.integers(0, 10**6), keep=st.sampled_from([0.7, 0.9, 1]))
def test_no_pair_is_wrong_however_records_are_renamed_dropped_and_shuffled(
    real: Path, name: str, seed: int, keep: float
) -> None:
    capture = open_capture(real / name / "torch_dump")
    random = Random(seed)
    fewer = replace(capture, records=[r for r in capture.records if random.random() < keep])
    for candidate in (renamed(capture, random, keep), _dropped(capture, random, keep)):
        content = find_content(align(fewer, candidate))
        assert wrong_pairs(align(fewer, candidate, content=content), capture) == []


def _dropped(capture: Capture, random: Random, keep: float) -> Capture:
    kept = [record for record in capture.records if random.random() < keep]
    return renamed(replace(capture, records=kept))


# Chains of layers made here, so that a fault can be planted and every value is known.


def run(layers: int = 6, fault: int = -1, seed: int = 1, garbage: bool = False) -> Arrays:
    """A residual network of `layers` with two projections each, one of which may be wrong."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((12, 32))
    found: Arrays = {"embed": x}
    for layer in range(layers):
        up, down = rng.standard_normal((32, 48)) / 6, rng.standard_normal((48, 32)) / 7
        if layer == fault:
            down = np.random.default_rng(99).standard_normal(down.shape) if garbage else down * 1.2
        hidden = np.tanh(x @ up)
        made = hidden @ down
        x = x + made
        found[f"layers.{layer}.up"] = hidden
        found[f"layers.{layer}.down"] = made
        found[f"layers.{layer}"] = x
    return {name: value.astype(np.float32) for name, value in found.items()}


def numbered(arrays: Mapping[str, Any]) -> Arrays:
    return {f"t{number:04d}": np.asarray(value) for number, value in enumerate(arrays.values())}


def two(tmp_path: Path, reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> Comparison:
    saved(tmp_path / "reference", reference)
    saved(tmp_path / "candidate", candidate)
    return open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))


def expected(reference: Arrays) -> dict[str, str]:
    return {name: f"t{number:04d}" for number, name in enumerate(reference)}


@pytest.mark.parametrize("garbage", [False, True])
def test_what_stands_behind_a_fault_is_paired_and_the_fault_is_named(
    tmp_path: Path, garbage: bool
) -> None:
    reference = run()
    comparison = two(tmp_path, reference, numbered(run(fault=3, garbage=garbage)))
    assert pairs(comparison.rows) == expected(reference)
    comparison.measure(use_cache=False)
    first = comparison.first_divergence()
    assert first is not None
    assert first.reference == "layers.3.down"


def test_rounding_to_bfloat16_leaves_the_pairs(tmp_path: Path) -> None:
    reference = run()
    coarse = {
        name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32)
        for name, value in reference.items()
    }
    assert pairs(two(tmp_path, reference, numbered(coarse)).rows) == expected(reference)


def test_a_record_that_only_one_side_has_stays_a_gap(tmp_path: Path) -> None:
    reference = run()
    candidate = numbered(reference)
    del candidate["t0004"], candidate["t0008"]
    del reference["layers.4.up"]
    comparison = two(tmp_path, reference, candidate)
    found = pairs(comparison.rows)
    names = dict(zip(run(), numbered(run()), strict=True))
    assert found == {name: names[name] for name in found}
    assert len(found) == len(reference) - 2


def test_behind_a_fault_nothing_is_paired_by_order_where_records_are_missing(
    tmp_path: Path,
) -> None:
    reference = run()
    candidate = numbered(run(fault=3, garbage=True))
    names = dict(zip(run(), candidate, strict=True))
    del reference["layers.4.up"], candidate[names["layers.1.up"]], candidate[names["layers.5.up"]]
    found = pairs(two(tmp_path, reference, candidate).rows)
    assert found == {name: names[name] for name in found}
    assert "layers.2" in found and "layers.5.down" not in found


def test_a_fault_that_nothing_can_be_paired_with_is_a_doubt(tmp_path: Path) -> None:
    """Without an order what lies behind a fault stays unpaired: that is no agreement."""
    reference, faulty = run(), numbered(run(fault=5))
    shuffled = dict(Random(3).sample(list(faulty.items()), len(faulty)))
    comparison = two(tmp_path, reference, shuffled)
    comparison.measure(use_cache=False)
    assert {verdict.level for verdict in comparison.verdicts} == {"identical", "missing"}
    assert any("a difference may be hidden there" in doubt for doubt in comparison.outcome().doubts)


def test_values_that_say_nothing_are_not_paired(tmp_path: Path) -> None:
    same = {
        "zeros": np.zeros((4, 8), np.float32), "ones": np.ones((4, 8), np.float32),
        "few": np.array([0.1, 0.7, 0.3], np.float32), "scalar": np.float32(0.3),
        "mask": np.where(np.tri(8) > 0, 0, -np.inf).astype(np.float32),
        "counted": np.arange(16), "flags": np.arange(20) % 3 == 0,
    }  # fmt: skip
    other = dict(reversed(numbered(same).items()))
    comparison = two(tmp_path, same, other)
    assert "content" not in {row.matched_by for row in comparison.rows}


def test_of_equal_records_the_order_tells_which_is_which(tmp_path: Path) -> None:
    reference = run()
    twice: Arrays = {}
    for name, value in reference.items():
        twice[name] = value
        if name.endswith("down"):
            twice[f"{name}-again"] = value
    assert pairs(two(tmp_path, twice, numbered(twice)).rows) == expected(twice)


def test_equal_records_without_an_order_are_gaps(tmp_path: Path) -> None:
    reference = {**run(), "copy": run()["layers.2"]}
    names = dict(zip(reference, numbered(reference), strict=True))
    candidate = {names[name]: reference[name] for name in sorted(names, key=lambda n: n[::-1])}
    saved(tmp_path / "reference", reference, order=False)
    saved(tmp_path / "candidate", dict(Random(3).sample(list(candidate.items()), len(names))))
    comparison = open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))
    found = pairs(comparison.rows)
    assert found == {name: names[name] for name in found}
    assert {"copy", "layers.2"}.isdisjoint(found)
    assert len(found) == len(reference) - 2


def test_a_value_that_names_its_layer_is_the_output_handed_on(tmp_path: Path) -> None:
    """What a layer returned stands in the reference as the next modules' inputs, too."""
    reference = run()
    outputs = {f"{name}-output": value for name, value in reference.items()}
    handed = {f"{name}.own-input_0": value for name, value in reference.items()}
    short = {re.sub(r"^layers.(\d+)", r"L\1_what", name): v for name, v in reference.items()}
    saved(tmp_path / "reference", {**outputs, **handed}, order=False)
    saved(tmp_path / "candidate", short, order=False)
    comparison = open_comparison(str(tmp_path / "reference"), str(tmp_path / "candidate"))
    found = pairs(comparison.rows)
    assert found == {f"{name}-output": other for name, other in zip(reference, short, strict=True)}


@pytest.mark.parametrize(
    ("layout", "recipe"),
    [
        (lambda x: x.transpose(1, 0, 2), "transpose(0, 1)"),
        (lambda x: x.reshape(2, 12, 4, 8), "reshape(2, 12, 32)"),
        (lambda x: x.reshape(2, 12, 4, 8).transpose(0, 2, 1, 3), "transpose(1, 2) | reshape"),
    ],
)  # fmt: skip
def test_another_layout_is_found_and_the_pair_has_its_recipe(
    tmp_path: Path, layout: Any, recipe: str
) -> None:
    rng = np.random.default_rng(5)
    reference = {f"block{n}": rng.standard_normal((2, 12, 32)).astype(np.float32) for n in range(9)}
    candidate = {f"t{n}": np.ascontiguousarray(layout(x)) for n, x in enumerate(reference.values())}
    comparison = two(tmp_path, reference, candidate)
    assert pairs(comparison.rows) == {f"block{n}": f"t{n}" for n in range(9)}
    row = row_of(comparison.rows, "block4")
    assert recipe in row.recipe_candidate + row.recipe_reference
    assert row.matched_by == "content"
    comparison.measure(use_cache=False)
    assert {verdict.level for verdict in comparison.verdicts} == {"identical"}


def test_a_layout_is_no_excuse_for_channels_in_another_order(tmp_path: Path) -> None:
    reference = run()
    order = np.random.default_rng(2).permutation(32)
    candidate = numbered(reference)
    candidate["t0005"] = candidate["t0005"][:, order]
    comparison = two(tmp_path, reference, candidate)
    row = row_of(comparison.rows, list(reference)[5])
    assert row.recipe_candidate == row.recipe_reference == ""
    assert row.kind != "pair" or row.matched_by == "order"


def test_parts_of_a_joined_projection_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    reference: Arrays = {}
    candidate: Arrays = {}
    for layer in range(3):
        q, k, v = (rng.standard_normal((1, 12, n)).astype(np.float32) for n in (32, 16, 16))
        reference |= {f"l{layer}.q": q, f"l{layer}.k": k, f"l{layer}.v": v}
        candidate[f"t{layer}"] = np.concatenate([q, k, v], axis=-1)[0]
    comparison = two(tmp_path, reference, candidate)
    assert pairs(comparison.rows) == {name: f"t{name[1]}" for name in reference}
    comparison.measure(use_cache=False)
    assert {verdict.level for verdict in comparison.verdicts} == {"identical"}
    assert comparison.counts.records_candidate.gap == 0


def test_a_part_alone_is_no_pair(tmp_path: Path) -> None:
    reference = {**run(), "wide": np.random.default_rng(5).standard_normal((12, 50))}
    candidate = {**numbered(run()), "half": reference["wide"][:, :25]}
    found = pairs(two(tmp_path, reference, candidate).rows)
    assert "wide" not in found and len(found) == len(run())


def test_the_last_token_of_the_logits_is_found_and_of_a_layer_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    logits, hidden = rng.standard_normal((1, 12, 50)), rng.standard_normal((1, 12, 40))
    reference = {**run(), "lm_head-output": logits, "layers.9.mlp-output": hidden}
    candidate = {**numbered(run()), "x": logits[0, -1:], "y": hidden[0, -1:]}
    found = pairs(two(tmp_path, reference, candidate).rows)
    assert found["lm_head-output"] == "x"
    assert "layers.9.mlp-output" not in found


def test_names_that_pair_everything_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Content:
        raise AssertionError("values were looked at")

    monkeypatch.setattr(content_search, "find_content", never)
    reference = run()
    comparison = two(tmp_path, reference, reference)
    assert len(pairs(comparison.rows)) == len(reference)


def test_a_pair_by_name_stays_and_what_equals_it_is_offered(tmp_path: Path) -> None:
    reference = run()
    candidate = dict(reference)
    candidate["layers.2.down"], candidate["spare"] = (
        np.random.default_rng(8).standard_normal((12, 32)).astype(np.float32),
        reference["layers.2.down"],
    )
    reference["other"] = np.random.default_rng(9).standard_normal((5, 9)).astype(np.float32)
    comparison = two(tmp_path, reference, candidate)
    row = row_of(comparison.rows, "layers.2.down")
    assert row.matched_by == "name"
    offer = comparison.offer(row.index)
    assert offer is not None
    assert "spare of the candidate" in offer.words
    comparison.repair([offer.pair], offer.apart)
    assert pairs(comparison.rows)["layers.2.down"] == "spare"
    assert gaps(comparison.rows)[1] == {"layers.2.down"}


def test_nothing_is_offered_for_what_names_pair_in_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((12, n)).astype(np.float32) for n in (32, 16, 16))
    names = [f"model.layers.0.self_attn.{each}_proj-output" for each in "qkv"]
    reference = {**run(), **dict(zip(names, (q, k, v), strict=True)), "only": q[:5]}
    joined = {"model.layers.0.self_attn.qkv_proj-output": np.concatenate([q, k, v], axis=-1)}
    comparison = two(tmp_path, reference, {**run(), **joined, "spare": q, "other": q[:3]})
    assert [comparison.offer(row.index) for row in comparison.rows if row.kind == "pair"] == (
        [None] * comparison.counts.pairs
    )


def test_pairs_by_values_stay_when_rules_change(tmp_path: Path) -> None:
    reference = run()
    comparison = two(tmp_path, reference, numbered(reference))
    row = row_of(comparison.rows, "layers.2")
    assert row.reference is not None and row.candidate is not None
    comparison.repair(apart=[_hand(row.reference, row.candidate)])
    assert len(pairs(comparison.rows)) == len(reference) - 1


def _hand(reference: Record, candidate: Record) -> Any:
    from layertui.compare.rules.rules import HandPair

    return HandPair(reference.name, candidate.name)


def test_a_search_that_is_stopped_changes_nothing(tmp_path: Path) -> None:
    reference = saved(tmp_path / "reference", run())
    candidate = saved(tmp_path / "candidate", numbered(run()))
    aligned = align(reference, candidate)
    assert match_content(aligned, lambda: True) is aligned


def test_what_was_found_survives_being_written(tmp_path: Path) -> None:
    reference = saved(tmp_path / "reference", run())
    content = find_content(align(reference, saved(tmp_path / "candidate", numbered(run()))))
    assert content
    assert decoded(encoded(content)) == content
    assert decoded("{}") is None
