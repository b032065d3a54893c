"""Counts: every record of both sides is counted once, and coverage tells what was compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.records import Record
from layertui.compare.comparison import Comparison
from layertui.compare.model import Failure, Measurement, SideCounts, SideStatistics
from layertui.compare.rules.rules import HandPair, Rules
from support.drawn.sides import sides
from support.synthetic import capture, record

FINE = Measurement((2,), 2, 2, True, reference=SideStatistics(0, 0, 0, 0, 0, 0, 0, 0))


def comparison(ref: Any, cand: Any, rules: Rules | None = None) -> Comparison:
    return Comparison(capture(ref), capture(cand), rules or Rules())


def test_a_fused_record_counts_once() -> None:
    left = {f"layers.0.self_attn.{n}_proj-output": (10, 64) for n in "qkv"}
    counts = comparison(left, {"layers.0.self_attn.qkv_proj-output": (10, 192)}).counts
    assert (counts.pairs, counts.gaps_reference, counts.gaps_candidate) == (3, 0, 0)
    assert counts.records_reference == SideCounts(3, 3, 0, 0, 0)
    assert counts.records_candidate == SideCounts(1, 1, 0, 0, 0)
    assert counts.coverage == 1.0


def test_every_kind_of_record_is_counted() -> None:
    left = ["norm-output", "mlp-output", record("lm_head-output", error="cut"), "x.y-output",
            "drop-output", record("alone-output", error="cut")]  # fmt: skip
    right = ["norm-output", record("mlp-output", (3,)), "lm_head-output"]
    found = comparison(left, right, Rules(ignore=("drop",)))
    counts = found.counts
    assert counts.records_reference == SideCounts(6, 2, 1, 2, 1)
    assert counts.records_candidate == SideCounts(3, 3, 0, 0, 0)
    assert (counts.unreadable, counts.ignored, counts.pairs) == (2, 1, 3)
    assert counts.coverage == pytest.approx(2 / 3)  # lm_head was not compared


def test_a_record_that_fails_to_load_is_unreadable_on_its_side() -> None:
    found = comparison(["a-output", "b-output"], ["a-output", "b-output"])
    found.take(0, Failure("truncated", "candidate"))
    found.take(1, FINE)
    counts = found.counts
    assert counts.records_candidate == SideCounts(2, 1, 0, 1, 0)
    assert counts.records_reference == SideCounts(2, 2, 0, 0, 0)
    assert counts.coverage == 0.5
    assert found.exit_status() == 1


def test_a_failed_part_makes_the_fused_record_unreadable_once() -> None:
    left = {f"layers.0.self_attn.{n}_proj-output": (10, 64) for n in "qkv"}
    found = comparison(left, {"layers.0.self_attn.qkv_proj-output": (10, 192)})
    for index in range(3):
        found.take(index, Failure("truncated", "candidate"))
    assert found.counts.records_candidate == SideCounts(1, 0, 0, 1, 0)


def test_coverage_is_of_the_side_with_fewer_outputs() -> None:
    left = [f"layers.{i}.mlp-output" for i in range(10)]
    assert comparison(left, left[:3]).counts.coverage == 1.0
    assert comparison(left, [*left[:3], "s.a-output", "s.b-output"]).counts.coverage == 0.6
    assert comparison([*left[:1], "z.q-output"], [*left[:1], "s.a-input_0"]).counts.coverage == 1.0


def test_coverage_where_outputs_are_missing() -> None:
    only_inputs = ["norm-input_0", "mlp-input_0"]
    assert comparison(only_inputs, only_inputs).counts.coverage is None
    found = comparison([*only_inputs, "norm-output"], only_inputs)
    assert found.counts.coverage == 0.0
    for index in range(len(found.rows)):
        if found.measurable(index):
            found.take(index, FINE)
    assert found.exit_status() == 1  # not one output was compared
    assert found.exit_status(0.0) == 0


@settings(max_examples=60, deadline=None)
@given(
    sides(),
    sides(),
    st.sampled_from([(), ("*mlp*", "norm-*"), ("*",)]),
    st.lists(st.sampled_from(["fine", "reference", "candidate", "both", None]), max_size=80),
)
def test_both_sides_add_up(
    left: list[Record], right: list[Record], ignore: tuple[str, ...], fates: list[Any]
) -> None:
    found = comparison(left, right, Rules(ignore=ignore))
    for row, fate in zip(found.rows, fates, strict=False):
        if found.measurable(row.index) and fate is not None:
            side = None if fate == "both" else fate
            found.take(row.index, FINE if fate == "fine" else Failure("cut", side))
    counts = found.counts
    assert counts.pairs + counts.gaps_reference + counts.gaps_candidate == len(found.rows)
    for side, records, ignored, gap_kind in (
        (counts.records_reference, left, found.aligned.ignored_reference, "gap_reference"),
        (counts.records_candidate, right, found.aligned.ignored_candidate, "gap_candidate"),
    ):
        assert dataclasses.astuple(side)[0] == len(records)
        assert side.total == side.paired + side.gap + side.unreadable + side.ignored
        assert side.ignored == len(ignored)
        readable_gaps = [
            row for row in found.rows if row.kind == gap_kind and row.problem_level is None
        ]
        assert side.gap == len(readable_gaps)
        assert side.unreadable >= sum(
            1 for r in records if r.error is not None and r not in ignored
        )
    assert counts.coverage is None or 0.0 <= counts.coverage <= 1.0


def test_hand_pairs_count_like_any_other() -> None:
    rules = Rules(pairs=(HandPair("a-output", "z-output"), HandPair("b-output", "z-output")))
    counts = comparison(["a-output", "b-output"], ["z-output", "y-input_0"], rules).counts
    assert (counts.pairs, counts.records_candidate) == (2, SideCounts(2, 1, 1, 0, 0))
