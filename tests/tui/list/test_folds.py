"""Folds without a terminal: every row on one line, and no line better than its worst row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Failure, Row, Verdict
from layertui.compare.vocabulary import FAILING, LEVELS, Level, RowKind
from layertui.tui.list.folds.fold_state import FoldState
from layertui.tui.list.folds.fold_summary import (
    FOLD_ORDER,
    RANK,
    FoldSummary,
    label_forms,
    pooled,
    summary_of,
)
from layertui.tui.list.folds.folding import Folds
from layertui.tui.list.folds.levels import levels_of, module_of
from layertui.tui.list.folds.list_lines import ListLines
from support.screens.tui_captures import write_pair

PARTS = ("input_layernorm", "self_attn.q_proj", "self_attn.rotary", "self_attn", "mlp.up_proj", "")


def row(index: int, canonical: str, kind: RowKind = "pair", step: int = 0) -> Row:
    return Row(index, kind, None, None, canonical, "output", step)


def model(layers: int, kinds: Sequence[RowKind] = ("pair",)) -> list[Row]:
    """An embedding, `layers` of six rows, a norm; the kinds take turns."""
    names = ["embed_tokens"]
    names += [f"layers.{i}.{part}".rstrip(".") for i in range(layers) for part in PARTS]
    names.append("norm")
    return [row(i, name, kinds[i % len(kinds)]) for i, name in enumerate(names)]


def shown(folds: Folds, rows: Sequence[int]) -> list[list[int]]:
    lines = folds.lines(rows)
    return [list(lines.members(line)) for line in range(len(lines))]


@pytest.mark.parametrize(
    ("canonical", "levels"),
    [
        ("layers.3.self_attn.q_proj", ("layers.3", "layers.3.self_attn")),
        ("layers.3", ("layers.3", "layers.3")),
        ("vision.blocks.10.mlp", ("vision.blocks.10", "vision.blocks.10.mlp")),
        ("embed_tokens", ("", "embed_tokens")),
        ("model.norm", ("", "model")),
    ],
)
def test_the_levels_of_a_name(canonical: str, levels: tuple[str, str]) -> None:
    assert module_of(canonical) == levels


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(
    ["embed", "model", "model.norm", "model.layers.0.mlp", "layers.0", "layers.0.mlp",
     "layers.0.mlp.up", "layers.0.mlp.experts.1", "layers.0.mlp2", "layers.1", "layers.1.mlp"]
)), min_size=1, max_size=30))  # fmt: skip
def test_neighbours_do_not_change_the_levels_of_a_row(names: list[tuple[int, str]]) -> None:
    levels = levels_of([row(i, name, step=step) for i, (step, name) in enumerate(names)])
    for i, (step, name) in enumerate(names):
        layer, part = module_of(name)
        assert levels.modules[levels.module[i]] == (step, part)
        assert bool(levels.layer[i] == -1) is (layer == "")
        assert layer == "" or levels.layers[levels.layer[i]] == (step, layer)


def test_layers_fold_and_what_belongs_to_none_does_not() -> None:
    folds = Folds(levels_of(model(3)))
    assert shown(folds, range(20)) == [[i] for i in range(20)]
    folds.start()
    lines = folds.lines(range(20))
    assert [list(lines.places(i)) for i in range(len(lines))] == [
        [0], list(range(1, 7)), list(range(7, 13)), list(range(13, 19)), [19],
    ]  # fmt: skip
    assert [lines.kind(i) for i in range(len(lines))] == ["row", "layer", "layer", "layer", "row"]


def test_a_line_unfolds_by_one_level_after_the_other() -> None:
    folds = Folds(levels_of(model(1)))
    folds.fold_all()
    lines = folds.lines(range(8))
    assert [lines.kind(i) for i in range(3)] == ["row", "layer", "row"]
    assert folds.unfold(lines, 1)
    lines = folds.lines(range(8))
    kinds = [lines.kind(i) for i in range(len(lines))]
    assert kinds == ["row", "row", "module", "row", "row", "row"]
    assert folds.unfold(lines, 2)
    assert len(folds.lines(range(8))) == 8
    assert not folds.unfold(folds.lines(range(8)), 2)


def test_what_the_cursor_is_in_folds_by_one_level_after_the_other() -> None:
    folds = Folds(levels_of(model(2)))
    sizes = []
    for _ in range(3):
        lines = folds.lines(range(14))
        line = lines.line_at(3)  # self_attn.rotary of the first layer
        sizes.append(len(lines.members(line)))
        assert folds.fold(lines, line) is (len(sizes) < 3)  # a layer is the outermost
    assert sizes == [1, 3, 6]


def test_a_run_of_gaps_is_one_line_and_stays_in_its_layer() -> None:
    kinds: tuple[RowKind, ...] = ("gap_reference",)
    rows = model(2, kinds)
    folds = Folds(levels_of(rows))
    folds.start()
    folds.reveal(3)
    lines = folds.lines(range(14))
    # The gap of the first layer that is revealed opens its run; the second layer stays folded.
    assert len(lines.members(lines.line_at(3))) == 1
    assert lines.kind(lines.line_at(8)) == "layer"
    assert folds.fold(lines, lines.line_at(3))
    lines = folds.lines(range(14))
    line = lines.line_at(3)
    assert lines.kind(line) == "gaps"
    assert list(lines.members(line)) == list(range(1, 7))


def test_gaps_of_both_sides_are_two_runs() -> None:
    rows = [row(i, f"layers.0.a{i}", "gap_reference" if i < 3 else "gap_candidate")
            for i in range(6)]  # fmt: skip
    folds = Folds(levels_of(rows))
    folds.start()
    folds.reveal(0)
    folds.fold(folds.lines(range(6)), 0)
    assert shown(folds, range(6)) == [[0, 1, 2], [3, 4, 5]]


def test_steps_fold_apart() -> None:
    rows = [row(i, "layers.0.mlp", step=i // 2) for i in range(4)]
    folds = Folds(levels_of(rows))
    folds.start()
    assert shown(folds, range(4)) == [[0, 1], [2, 3]]


def test_other_rows_keep_what_the_user_folded() -> None:
    old = Folds(levels_of(model(3)))
    old.fold(old.lines(range(20)), 1)  # a row that is its module alone: its layer
    new = Folds(levels_of([*model(3), row(20, "lm_head")]))
    new.like(old)
    assert [len(line) for line in shown(new, range(21))][:3] == [1, 6, 1]


def test_nothing_shown_is_no_line() -> None:
    folds = Folds(levels_of(model(2)))
    folds.fold_all()
    assert len(folds.lines([])) == 0
    assert len(folds.lines(range(0))) == 0


ROWS = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 2), st.sampled_from(PARTS),
        st.sampled_from(["pair", "pair", "gap_reference", "gap_candidate"]),
    ),
    min_size=1, max_size=40,
)  # fmt: skip
ACTIONS = st.lists(st.tuples(st.sampled_from("+-MRv"), st.integers(0, 39)), max_size=12)


def _act(folds: Folds, rows: Sequence[int], actions: list[tuple[str, int]]) -> ListLines:
    lines = folds.lines(rows)
    for action, at in actions:
        if action == "M":
            folds.fold_all()
        elif action == "R":
            folds.unfold_all()
        elif action == "v":
            folds.reveal(rows[at % len(rows)])
        elif action == "-":
            before = len(lines)
            folded = folds.fold(lines, at % len(lines))
            after = len(folds.lines(rows))
            # A module may take some of a run of gaps: what is left of it is apart then.
            apart = any(lines.kind(line) == "gaps" for line in range(before))
            assert not folded or after < before or (apart and after == before)
        else:
            line = at % len(lines)
            before, many = len(lines), len(lines.members(line)) > 1
            assert folds.unfold(lines, line) is many
            assert len(folds.lines(rows)) > before or not many
        lines = folds.lines(rows)
    return lines


@given(ROWS, ACTIONS, st.sets(st.integers(0, 39)))
@settings(max_examples=300, deadline=None)
def test_every_row_shown_is_on_one_line_alone_or_with_its_neighbours(
    drawn: list[tuple[int, int, str, RowKind]], actions: list[tuple[str, int]], hidden: set[int]
) -> None:
    made = [
        row(i, f"layers.{layer}.{part}".rstrip("."), kind, step)
        for i, (step, layer, part, kind) in enumerate(drawn)
    ]
    rows = [i for i in range(len(made)) if i not in hidden] or [0]
    folds = Folds(levels_of(made))
    lines = _act(folds, rows, actions)
    members = [list(lines.members(line)) for line in range(len(lines))]
    assert [each for line in members for each in line] == rows
    for line, found in enumerate(members):
        assert lines.first(line) == found[0]
        assert all(lines.line_at(place) == line for place in lines.places(line))
        assert (lines.kind(line) == "row") == (len(found) == 1)
        assert len({made[i].step for i in found}) == 1
        if lines.kind(line) in ("layer", "module"):
            assert len({module_of(made[i].canonical)[0] for i in found}) == 1
        if lines.kind(line) == "gaps":
            assert len({made[i].kind for i in found}) == 1 and made[found[0]].kind != "pair"


@given(ROWS, ACTIONS, st.integers(0, 39))
@settings(max_examples=200, deadline=None)
def test_what_is_revealed_has_a_line_for_itself(
    drawn: list[tuple[int, int, str, RowKind]], actions: list[tuple[str, int]], at: int
) -> None:
    made = [
        row(i, f"layers.{layer}.{part}".rstrip("."), kind, step)
        for i, (step, layer, part, kind) in enumerate(drawn)
    ]
    folds = Folds(levels_of(made))
    _act(folds, range(len(made)), actions)
    folds.reveal(at % len(made))
    lines = folds.lines(range(len(made)))
    assert lines.kind(lines.line_at(at % len(made))) == "row"


# What a folded line says


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """40 rows in four layers, all equal: verdicts are set by the tests."""
    paths = write_pair(tmp_path_factory.mktemp("folds"), 40)
    comparison = open_comparison(*map(str, paths))
    assert comparison.measure(use_cache=False)
    return comparison


def _judged(comparison: Comparison, levels: Sequence[Level], made: set[int]) -> FoldSummary:
    for index, level in enumerate(levels):
        origin = None
        if level in FAILING:
            origin = "made" if index in made else "inherited"
        comparison.verdicts[index] = Verdict(level, origin=origin)
    found = levels_of(comparison.rows)
    return summary_of(comparison, found, "layer", range(len(levels)))


@given(st.lists(st.sampled_from(LEVELS), min_size=2, max_size=10), st.sets(st.integers(0, 9)))
@settings(max_examples=300, deadline=None)
def test_a_folded_line_is_no_better_than_its_worst_row(
    compared: Comparison, levels: list[Level], made: set[int]
) -> None:
    said = _judged(compared, levels, made)
    assert RANK[said.level] == max(RANK[level] for level in levels)
    assert levels[said.worst] == said.level
    failing = [i for i, level in enumerate(levels) if level in FAILING]
    introduced = [i for i in failing if i in made]
    assert said.origin == ("made" if introduced else "inherited" if failing else None)
    assert said.row == (introduced[0] if introduced else said.worst)
    counts = dict(said.counts)
    assert all(counts.get(level, 0) == levels.count(level)
               for level in (*FAILING, "unreadable", "drift", "pending", "missing"))  # fmt: skip
    assert sum(counts.values()) + sum(
        levels.count(level) for level in ("identical", "ok", "noise")
    ) == len(levels)
    # All of what failed is told by mark and number however narrow the column is.
    told = [f"{level}{count}" for level, count in said.counts]
    assert all(all(mark in form for mark in told) for form in label_forms(said, told))


@given(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=60), st.integers(1, 30))
def test_a_strip_shows_the_worst_of_each_slice(levels: list[Level], width: int) -> None:
    cells = pooled(levels, width)
    assert len(cells) == min(width, len(levels))
    assert max(cells, key=RANK.__getitem__) == max(levels, key=RANK.__getitem__)
    if len(levels) <= width:
        assert cells == levels


def test_every_level_has_a_place_in_the_order() -> None:
    assert sorted(FOLD_ORDER) == sorted(LEVELS)
    known = [level for level in FOLD_ORDER if level != "pending"]
    assert known == [level for level in LEVELS if level != "pending"]
    assert RANK["noise"] < RANK["pending"] < RANK["drift"]


def test_the_words_of_a_folded_line(compared: Comparison) -> None:
    levels: list[Level] = ["ok", "diverged", "diverged", "nan", "missing", "missing", "noise"]
    assert _judged(compared, levels, {2}).words == (
        "L0: 7 rows folded: 1 NAN, 2 DIVERGED, 1 of them introduced, 2 gaps, 2 passed"
    )
    assert _judged(compared, levels[:3], {1, 2}).words == (
        "L0: 3 rows folded: 2 DIVERGED introduced, 1 passed"
    )
    assert _judged(compared, levels[:3], set()).words == (
        "L0: 3 rows folded: 2 DIVERGED inherited, 1 passed"
    )
    levels = ["ok", "pending", "drift"]
    assert _judged(compared, levels, set()).words == (
        "L0: 3 rows folded: 1 drift, 1 not measured yet, 1 passed"
    )


def test_what_is_said_follows_the_verdicts(tmp_path: Path) -> None:
    comparison = open_comparison(*map(str, write_pair(tmp_path, 40)))
    assert comparison.measure(use_cache=False)
    state = FoldState("layers")
    state.new_rows(comparison, 40, 10)
    lines = state.lines(range(40))
    assert len(lines) == 4
    before = state.summary(lines, 1)
    assert before is not None and before.level == "identical"
    comparison.take(13, Failure("cut short", "candidate"))
    state.forget(lines.rows, [13])
    after = state.summary(lines, 1)
    assert after is not None and after.level == "unreadable" and after.worst == 13
    other = state.summary(lines, 0)
    assert other is not None and other.level == "identical"


@pytest.mark.parametrize(
    ("start", "height", "lines"), [("auto", 40, 40), ("auto", 39, 4), ("layers", 50, 4),
                                   ("none", 10, 40)],
)  # fmt: skip
def test_layers_start_folded_where_the_list_is_longer_than_the_screen(
    compared: Comparison, start: str, height: int, lines: int
) -> None:
    state = FoldState(start)
    state.new_rows(compared, 40, height)
    assert len(state.lines(range(40))) == lines


def test_filtered_rows_are_flat(compared: Comparison) -> None:
    state = FoldState("layers")
    state.new_rows(compared, 40, 10)
    state.flat = True
    assert len(state.lines(range(40))) == 40
    assert not state.possible
