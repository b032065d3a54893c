"""Laws on the screen: the answer in the first line, the pane, the column, the view Explain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layertui.capture.demo.shipped import unpack
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import DtypePolicy, FixedPolicy, policy_named
from layertui.compare.laws import report as law_report
from layertui.compare.model import Cause
from layertui.compare.reports import explanation
from layertui.compare.reports.law_words import cause_line
from layertui.compare.running.law_checks import LawProgress
from layertui.compare.weights.models import ModelPaths
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.columns import Extras, columns_for
from layertui.tui.pair.screen import PairScreen
from layertui.tui.present.answer import answer_line, answer_of, cause_words, laws_progress
from layertui.tui.present.laws import breaks_law, law_fields, local_text, times_text
from layertui.tui.present.row_fields import pane_fields
from layertui.tui.present.text import width_of
from layertui.tui.terminal import Terminal
from layertui.tui.theme import Look
from layertui.tui.widgets.lines import Lines, ScrolledLines
from support.screens.judged_captures import run, runs
from support.screens.tui_captures import (
    make_app,
    measured,
    settled,
    type_line,
    until,
    write_safetensors,
)

Q_NORM, GAP = 9, 4  # rows of the real pair: the first divergence, a record of one side alone
CAUSE = Cause(
    "eps", "eps 0 where the reference has 1e-2, in all 2 layers", "eps", "1e-2", "0", "1e-9",
    4e4, 1.2, 1.3, 2,
)  # fmt: skip


def sides(real: Path, name: str) -> tuple[str, str]:
    return str(real / name / "torch_dump"), str(real / name / "max_dump")


@pytest.fixture(scope="module")
def olmo(real: Path) -> Comparison:
    models = ModelPaths(str(real / "checkpoints" / "olmo2-f32"))
    comparison = open_comparison(*sides(real, "olmo2-f32"), models=models)
    assert comparison.measure(use_cache=False)
    return comparison


@pytest.fixture(scope="module")
def fitted(real: Path) -> Comparison:
    """The same without a checkpoint."""
    comparison = open_comparison(*sides(real, "olmo2-f32"))
    assert comparison.measure(use_cache=False)
    return comparison


def line(comparison: Comparison, width: int = 80, working: bool = False) -> str:
    look = Look(Terminal())
    pieces = answer_line(comparison, comparison.counts, look, width, working)
    return "".join(text for text, _ in pieces)


def answer(app: LayertuiApp) -> str:
    return app.list_screen.query_one("#answer", Lines).texts[0]


def explained(app: LayertuiApp) -> str:
    return "\n".join(app.screen.query_one("#view-explain", ScrolledLines).texts)


# Words, without a terminal


def test_a_terminal_without_the_sign_for_uncertainty(fitted: Comparison) -> None:
    look = Look(Terminal(ascii=True))
    pieces = answer_line(fitted, fitted.counts, look, 120, False)
    shown = "".join(text for text, _ in pieces)
    assert shown.isascii()
    assert "the reference has 1e-5 +- " in shown


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_answer_names_layer_and_cause_at_every_width(
    olmo: Comparison, fitted: Comparison, width: int
) -> None:
    for comparison in (olmo, fitted):
        shown = line(comparison, width)
        assert width_of(shown) < width
        assert shown.startswith(" L0 self_attn.q_norm  eps 1e-6 ")
        assert shown.endswith(" %") or width == 60
    if width == 60:  # the cause is whole rather than how much it explains
        words = " L0 self_attn.q_norm  eps 1e-6 (reference 1e-5)"
        assert line(olmo, width) == line(fitted, width) == words
    if width == 80:
        words = " L0 self_attn.q_norm  eps 1e-6 where the reference has 1e-5, explains 99.99 %"
        assert line(olmo, width) == line(fitted, width) == words


def test_what_a_cause_explains_is_never_rounded_up() -> None:
    forms = cause_words(CAUSE)
    assert forms[0].startswith("eps 0 where the reference has 1e-2, in all 2 layers, explains ")
    assert forms[2] == "eps 0 where the reference has 1e-2, explains 99.99 %"
    sure = cause_words(replace(CAUSE, text="eps 1e-6 ± 7e-11 where the reference has 1e-5 ± 3e-10"))
    assert sure[-2:] == (
        "eps 1e-6 where the reference has 1e-5, explains 99.99 %",
        "eps 1e-6 (reference 1e-5), explains 99.99 %",
    )
    half = cause_words(replace(CAUSE, before=2.0, after=2**0.5, text="weight + 1"))
    assert half[0] == "weight + 1, explains 50 %"


def test_without_a_cause_the_answer_says_where_and_why(olmo: Comparison) -> None:
    comparison = open_comparison(olmo.reference.path, olmo.candidate.path)
    for index, result in enumerate(olmo.measurements):
        if result is not None:
            comparison.take(index, result)
    comparison.settle()
    shown = line(comparison, 200, working=True)
    assert shown.startswith(" L0 self_attn.q_norm  introduced here, so far (")
    assert "explains" not in shown
    assert shown.endswith("  checking layers")
    comparison.law_progress = LawProgress(12, 32)
    assert line(comparison, 80, working=True).endswith("  checking layers 12/32")
    assert width_of(line(comparison, 80, working=True)) < 80
    comparison.law_progress = LawProgress(32, 32)
    assert laws_progress(comparison) == "looking for causes"
    assert "checking" not in line(comparison, 80)
    comparison.set_policy(DtypePolicy())
    assert laws_progress(comparison) == ""
    assert "  DIVERGED (95 % sure): looks like scale: relative L2 " in line(comparison, 200)


def test_where_nothing_diverged_the_worst_is_told(real: Path) -> None:
    comparison = open_comparison(*sides(real, "llama-f32"))
    assert line(comparison) == " no divergence so far, in 0 of 48 pairs"
    assert comparison.measure(use_cache=False)
    assert comparison.laws is not None
    wide, narrow = line(comparison, 120), line(comparison, 80)
    assert wide.startswith(" no divergence in 48 pairs; the worst is ")
    assert " x its typical rounding, L" in wide
    assert narrow.startswith(" no divergence in 48 pairs; ") and width_of(narrow) < 80
    assert wide.split(", ")[-1] == narrow.split(", ")[-1]
    rows = comparison.laws.rows
    worst = max(
        row.local.candidate / row.local.usual_candidate
        for row in rows.values()
        if row.state == "keeps"
    )
    assert f" {worst:.2g} x" in wide
    comparison.take_laws(law_report.LawReport({}))
    assert line(comparison) == " no divergence in 48 pairs"
    comparison.evidence = replace(comparison.evidence, laws=None)
    comparison.law_progress = LawProgress()
    assert "not all layers were checked" in line(comparison)
    assert line(comparison, working=True) == " no divergence in 48 pairs so far  checking layers"


def test_limits_of_sizes_do_not_hide_a_layer_that_breaks_its_law(real: Path) -> None:
    """The laws were tried for another policy: they are known, and the worst is no healthy layer."""
    comparison = open_comparison(*sides(real, "olmo2-f32"))
    assert comparison.measure(use_cache=False)
    comparison.set_policy(policy_named("fixed"))
    assert not comparison.failing
    shown = line(comparison, 120)
    assert shown == (
        " no divergence in 56 pairs; but L0 self_attn.q_norm is not what its own inputs imply"
    )


def test_what_was_not_compared_is_part_of_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {"model.a-output": [1.0, 2.0, 3.0], "model.b-output": [4.0, 5.0, 6.0]}
    left = write_safetensors(tmp_path / "a" / "x.safetensors", same)
    right = write_safetensors(tmp_path / "b" / "x.safetensors", same)
    comparison = open_comparison(str(left.parent), str(right.parent), policy=FixedPolicy())
    assert comparison.measure(use_cache=False)
    assert line(comparison) == " no divergence in 2 pairs"
    counts, look = comparison.counts, Look(Terminal())
    monkeypatch.setattr(comparison, "level_counts", lambda: {"ok": 1, "unreadable": 1})
    few = replace(counts, coverage=0.125)
    words = answer_of(comparison, few, look, False).words[0]
    assert words.endswith("in 2 pairs, but 1 cannot be read and only 12% of the outputs are paired")
    other = write_safetensors(tmp_path / "c" / "x.safetensors", {"zzz": [1.0]})
    nothing = open_comparison(str(left.parent), str(other.parent))
    assert "nothing in common" in line(nothing)


@pytest.mark.parametrize(
    ("error", "usual", "shown"),
    [
        (1.1, 1.0, "1.1x"), (0.0, 0.0, "0x"), (0.0, 2.0, "0x"), (3.0, 0.0, ""),
        (150.0, 1.5, "100x"), (99.94, 1.0, "99.9x"), (4.37e4, 1.28, "3e+04x"),
        (float("inf"), 1.0, "inf"), (float("nan"), 1.0, "nan"),
    ],
)  # fmt: skip
def test_local_errors_in_their_column(error: float, usual: float, shown: str) -> None:
    assert times_text(error, usual) == shown
    assert len(shown) <= 7


def test_a_row_in_the_pane(olmo: Comparison) -> None:
    words = {field.label: field.value for field in law_fields(olmo, Q_NORM)}
    assert words["law"].startswith("norm: violated by the candidate: every row, ")
    assert words["cause"].startswith("eps: eps 1e-6 where the reference has 1e-5")
    assert "x its rounding, typically " in words["local ref"]
    assert words["local cand"].startswith("4.13e+04 x its rounding, ")
    assert words["parameters"] == "kind RMS norm, eps 1e-5, weight checkpoint"
    assert words["checked"] == "all 10 rows"
    kept = law_fields(olmo, 7)
    assert kept[0].value == "linear: satisfied by the candidate" and kept[0].level is None
    assert law_fields(olmo, GAP) == []
    fields = [field.label for field in pane_fields(olmo, Q_NORM)]
    assert fields.index("cause") < fields.index("MSE")
    assert breaks_law(olmo, Q_NORM) and not breaks_law(olmo, 7)
    assert local_text(olmo, 7) == "1.0x" and local_text(olmo, GAP) == ""
    assert cause_line(CAUSE).endswith(
        "of the local error (4e+04 -> 1.2 x its rounding, typically 1.3 x)"
    )
    assert " (± 1e-9); explains " in cause_line(CAUSE)


def test_what_no_mistake_explains_and_what_the_reference_breaks(olmo: Comparison) -> None:
    assert olmo.laws is not None
    known, row = olmo.laws, olmo.laws.rows[Q_NORM]
    causes = (CAUSE, replace(CAUSE, name="scale", text="the output is 2 x"))
    try:
        for changed, label, words in (
            (replace(row, causes=()), "cause", "no known mistake explains it"),
            (replace(row, causes=causes), "or", "scale: the output is 2 x"),
            (replace(row, state="unknown"), "law", "norm: violated by the reference itself"),
            (replace(row, derived=("x from y", "z")), "derived", "x from y"),
        ):
            report = replace(known, rows={**known.rows, Q_NORM: changed})
            olmo.evidence = replace(olmo.evidence, laws=report)
            fields = {field.label: field.value for field in law_fields(olmo, Q_NORM)}
            assert fields[label].startswith(words)
            assert local_text(olmo, Q_NORM) == ("?" if changed.state == "unknown" else "3e+04x")
    finally:
        olmo.evidence = replace(olmo.evidence, laws=known)


@pytest.mark.parametrize(("width", "shown"), [(60, 0), (68, 0), (69, 7), (80, 7), (142, 7)])
def test_the_column_takes_only_what_names_can_spare(width: int, shown: int) -> None:
    columns = columns_for(width, 100, 11, Extras(origin=True, local=True))
    without = columns_for(width, 100, 11, Extras(origin=True))
    assert columns.local == shown
    if shown:
        assert columns.name >= 20
    else:
        assert columns == without
    assert columns_for(100, 100, 11, Extras(True, "x base", local=True)).local == 0


# The screen


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_the_list_answers_without_a_key(real: Path, size: tuple[int, int]) -> None:
    app = make_app(*sides(real, "olmo2-f32"))
    async with app.run_test(size=size) as pilot:
        await measured(pilot, app)
        assert answer(app).startswith(" L0 self_attn.q_norm  eps 1e-6 where the reference has 1e-5")
        screen = app.list_screen
        assert "local" in screen.query_one("#heading", Lines).texts[0]
        at = list(screen.pairs.view).index(Q_NORM)
        strip = screen.pairs.render_line(at)
        assert "3e+04x" in strip.text
        (cell,) = [segment for segment in strip if "3e+04x" in segment.text]
        diverged = app.look.style("diverged")
        assert cell.style is not None and cell.style.color == diverged.color
        await type_line(pilot, ":", "policy dtype")
        await measured(pilot, app)
        assert answer(app).startswith(" L0 self_attn.q_norm  eps 1e-6 where the reference has 1e-5")
        await type_line(pilot, ":", "threshold mse=1e9")
        await measured(pilot, app)
        assert answer(app).startswith(" no divergence in 56 pairs")


async def test_findings_of_the_checks_do_not_displace_the_answer(tmp_path: Path) -> None:
    paths = runs(tmp_path, ref=run(), cand=run(3e-7, 2, ids_from=9))
    app = LayertuiApp(Request(paths["ref"], paths["cand"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        assert app.session.inputs_differ and app.session.inputs_differ not in answer(app)
        comparison = screen.comparison
        assert comparison is not None and comparison.first_index is not None
        assert answer(app) == line(comparison)


class Held:
    """Laws that wait, after some progress, until they are let go or cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.runs = threading.Event(), 0
        examine = law_report.examine

        def held(
            scene: Any, told: Callable[..., None], cancelled: Callable[[], bool], *more: Any
        ) -> Any:
            self.runs += 1
            told(None, 3, 32)
            while not self.go.wait(0.01):
                if cancelled():
                    return None
            return examine(scene, told, cancelled, *more)

        monkeypatch.setattr(law_report, "examine", held)


async def test_progress_then_stopped_then_again(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    app = make_app(*sides(real, "olmo2-f32"))
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "checking layers 3/32" in answer(app))
        assert answer(app).startswith(" L0 self_attn.q_norm  introduced here")
        await pilot.press("enter", "8")
        await until(pilot, lambda: "checking layers 3/32" in explained(app))
        await pilot.press("escape", "ctrl+c")
        await until(pilot, lambda: not app.working)
        assert "stopped at 3 of 32 layers" in app.list_screen.prompt.message
        assert "checking" not in answer(app)
        comparison = app.list_screen.comparison
        assert comparison is not None and comparison.laws is None
        await pilot.press("enter", "8")
        await until(pilot, lambda: "not checked against their laws yet" in explained(app))
        await pilot.press("escape")
        held.go.set()
        await type_line(pilot, ":", "policy noise")
        await measured(pilot, app)
        assert comparison.laws is not None
        assert "explains" in answer(app)
        assert held.runs == 2


async def test_another_checkpoint_holds_the_layers_against_their_laws_anew(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    app = make_app(*sides(real, "olmo2-f32"))
    async with app.run_test(size=(200, 50)) as pilot:
        await until(pilot, lambda: "checking layers 3/32" in answer(app))
        await type_line(pilot, ":", f"model reference {real / 'none'}")  # stops the laws
        await until(pilot, lambda: "no such file" in app.list_screen.prompt.message)
        held.go.set()
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None and comparison.laws is not None
        assert ("weight", "fitted") in comparison.laws.rows[Q_NORM].parameters
        assert 7 not in comparison.laws.rows  # a product, whose weight is not known
        await pilot.press("f", "enter", "8")
        await until(pilot, lambda: "weight fitted" in explained(app))
        await type_line(pilot, ":", f"model reference {real / 'checkpoints' / 'olmo2-f32'}")
        await until(pilot, lambda: "weight checkpoint" in explained(app))
        await pilot.press("escape")
        await measured(pilot, app)
        assert comparison.laws.rows[Q_NORM].parameters[-1] == ("weight", "checkpoint")
        assert local_text(comparison, 7) == "1.0x"
        assert "explains" in answer(app)


# View 8


async def test_explain_shows_every_mistake_that_was_tried(real: Path) -> None:
    app = make_app(*sides(real, "olmo2-f32"))
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter", "8")
        await until(pilot, lambda: "hypotheses were tried" in explained(app))
        shown = explained(app)
        for words in ("violated by the candidate: every row", "cause      eps: ",
                      "parameters kind RMS norm", "* eps", "token-shift"):  # fmt: skip
            assert words in shown
        assert all(width_of(text) < 80 for text in shown.split("\n"))
        await type_line(pilot, ":", f"goto {GAP}")
        await until(pilot, lambda: "no law was tried: the candidate does not record" in (
            " ".join(explained(app).split())))  # fmt: skip
        await type_line(pilot, ":", "policy dtype")
        await settled(pilot)
        await type_line(pilot, ":", "view stats")
        await type_line(pilot, ":", "view explain")
        await settled(pilot)
        assert app.screen.query_one("#view-explain", ScrolledLines).display


async def test_explain_without_laws_says_why(small_pair: tuple[Path, Path]) -> None:
    request = Request(*map(str, small_pair), policy=FixedPolicy())
    app = LayertuiApp(request)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        await pilot.press("enter", "8")
        await until(pilot, lambda: ":policy noise does" in explained(app))


async def test_explaining_can_be_stopped(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    whole = explanation.explain_row

    def waits(comparison: Comparison, index: int, cancelled: Callable[[], bool]) -> list[str]:
        started.set()
        while not cancelled():
            threading.Event().wait(0.005)
        return ["half of it"]

    monkeypatch.setattr(explanation, "explain_row", waits)
    app = make_app(*sides(real, "olmo2-f32"))
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        await pilot.press("f", "enter", "8")
        await until(pilot, started.is_set)
        assert "4.13e+04 x its rounding" in explained(app)  # what is known already
        assert "trying every known mistake" in explained(app)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "stopped; 8 goes on" in explained(app))
        assert "half of it" not in explained(app)
        monkeypatch.setattr(explanation, "explain_row", whole)
        await pilot.press("8")
        await until(pilot, lambda: "hypotheses were tried" in explained(app))


def test_what_goes_on_below_stands_under_its_words(tmp_path: Path) -> None:
    async def drive() -> None:
        app = make_app(*unpack(str(tmp_path), "attention-scale"))
        async with app.run_test(size=(80, 24)) as pilot:
            await measured(pilot, app)
            await pilot.press("f", "enter")
            await until(pilot, lambda: isinstance(app.screen, PairScreen))
            await settled(pilot)
            await pilot.press("8")
            await until(pilot, lambda: "hypotheses were tried" in explained(app))
            lines = explained(app).split("\n")
            (at,) = (i for i, line in enumerate(lines) if line.startswith("   parameters heads"))
            assert lines[at + 1].startswith(" " * 14) and lines[at + 1][14] != " "

    asyncio.run(drive())
