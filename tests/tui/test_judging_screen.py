"""Noise or bug on the screen: origins, symptoms, baselines, policies, checks of the captures."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from layertui import capture
from layertui.compare.checks import two_sides
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import NoisePolicy, Policy
from layertui.compare.model import Symptom
from layertui.compare.rules.learned_limits import load_thresholds
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.limits import limits_of
from layertui.tui.list.row_model import ComparedRows
from layertui.tui.pair.screen import PairScreen
from layertui.tui.present.origin import (
    first_known,
    first_place,
    first_sentence,
    made_rows,
    ratio_text,
    sure_text,
)
from layertui.tui.present.row_fields import pane_fields
from layertui.tui.terminal import Terminal
from layertui.tui.widgets.lines import Lines, ScrolledLines
from layertui.tui.widgets.prompt import Entry
from support.screens.judged_captures import run, runs
from support.screens.tui_captures import measured, settled, until

BLAMED = 32  # layers.2.self_attn.o_proj-input_0
NOISE = 3e-7


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return runs(
        tmp_path_factory.mktemp("runs"), ref=run(), cand=run(NOISE, 2, swap_at=2),
        nan=run(NOISE, 2, spoil_at=3), base=run(NOISE, 3), exact=run(NOISE / 10, 4),
        ids=run(NOISE, 2, ids_from=9),
    )  # fmt: skip


def app_of(
    paths: dict[str, str], candidate: str = "cand", policy: Policy | None = None, **more: Any
) -> LayertuiApp:
    terminal = more.pop("terminal", None)
    request = Request(paths["ref"], paths[candidate], policy=policy, **more)
    limits = limits_of(policy, None, None)
    return LayertuiApp(request, terminal=terminal, limits=limits, fold="none")


def compared(paths: dict[str, str], candidate: str = "cand", **more: Any) -> Comparison:
    policy = NoisePolicy(**more)
    comparison = open_comparison(paths["ref"], paths[candidate], policy=policy)
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


async def command(pilot: Pilot[None], text: str) -> None:
    await pilot.press("colon")
    pilot.app.screen.query_one(Entry).value = text
    await pilot.press("enter")
    await pilot.pause()


def line_of(app: LayertuiApp, row: int) -> str:
    pairs = app.list_screen.pairs
    return pairs.render_line(list(pairs.view).index(row) - pairs.scroll_offset.y).text


def counts(app: LayertuiApp) -> str:
    return app.list_screen.query_one("#counts", Lines).texts[0]


def pane(app: LayertuiApp) -> str:
    texts = app.list_screen.query_one("#left .values", Lines).texts
    return " ".join(text.strip() for text in texts)


# Words, without a terminal


def test_the_first_divergence_in_words(paths: dict[str, str]) -> None:
    comparison = compared(paths)
    first = first_known(comparison)
    assert first is not None
    assert (first.index, first.module) == (BLAMED, "layers.2.self_attn")
    assert first_place(comparison, first) == "introduced inside layers.2.self_attn"
    words = first_sentence(comparison, first)
    start = "first divergence: introduced inside layers.2.self_attn (over 99 % sure): "
    assert words.startswith(f"{start}looks like permuted")
    assert words.count("introduced inside") == 1  # not once more in the reason
    assert made_rows(comparison) == [BLAMED]
    assert sure_text(0.53) == "53 % sure"


def never(*_: object) -> None:
    raise AssertionError("an analysis was asked for")


def test_while_measuring_nothing_is_analysed(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked many times a second, on the thread that draws."""
    done = compared(paths)
    comparison = open_comparison(paths["ref"], paths["cand"], policy=NoisePolicy())
    for row, result in enumerate(done.measurements):
        if row != 5 and result is not None:
            comparison.take(row, result)
    assert not comparison.analysed
    monkeypatch.setattr(Comparison, "analysis", never)
    first = first_known(comparison)
    assert first is not None
    assert first.confidence is None
    assert first.symptoms == ()
    assert "so far" in first_sentence(comparison, first)


def test_another_policy_keeps_the_analysis(paths: dict[str, str]) -> None:
    comparison = compared(paths)
    known = comparison.analysis()
    from layertui.compare.judging.policy import FixedPolicy

    comparison.set_policy(FixedPolicy())
    assert comparison.analysed
    assert comparison.analysis() is known
    fields = {field.label: field.value for field in pane_fields(comparison, BLAMED)}
    assert fields["verdict"].startswith("DIVERGED introduced here (over 99 % sure)  ")
    assert "permuted, explains 100 %" in fields["looks like"]


def test_a_row_of_the_pane(paths: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(paths, baselines=(paths["base"],), exact=paths["exact"])
    fields = [(field.label, field.value) for field in pane_fields(comparison, BLAMED)]
    words = dict(fields)
    assert words["verdict"].startswith("DIVERGED introduced here (over 99 % sure)  ")
    assert "the median of the same output in 4 other layers" in words["verdict"]
    assert f"the error of {paths['base']}" in words["baseline"]
    assert "over 24 tokens" in words["baseline"]
    assert words["exact"].startswith("the candidate is off: candidate 0.9")
    later = {f.label: f.value for f in pane_fields(comparison, BLAMED + 1)}
    assert later["verdict"].startswith("DIVERGED inherited (90 % sure)")
    assert later["looks like"] == "not diagnosed yet: press S"
    known = {**comparison.evidence.symptoms, BLAMED + 1: ()}
    comparison.evidence = replace(comparison.evidence, symptoms=known)
    later = {f.label: f.value for f in pane_fields(comparison, BLAMED + 1)}
    assert later["looks like"].startswith("unknown: not enough")
    floor = comparison.floors[BLAMED]
    assert floor.baseline is not None
    assert float(ratio_text(floor).removesuffix("x")) == pytest.approx(floor.baseline.ratio, 0.1)
    assert ratio_text(None) == ""


def test_nan_is_born_and_passed_on(paths: dict[str, str]) -> None:
    comparison = compared(paths, "nan")
    first = comparison.first_index
    assert first is not None
    assert "NAN first appears here" in pane_fields(comparison, first)[1].value
    assert "NAN propagated" in pane_fields(comparison, first + 2)[1].value
    model = ComparedRows(comparison)
    assert [model.origin(row) for row in (first - 1, first, first + 2)] == [
        None, "made", "inherited",
    ]  # fmt: skip


def test_rules_of_thumb_stand_below_the_symptoms(paths: dict[str, str]) -> None:
    comparison = compared(paths)
    lines = [
        field.value
        for row in comparison.failing
        for field in pane_fields(comparison, row)
        if field.label == "usually"
    ]
    hints = [row for row in comparison.failing if _thumb(comparison, row)]
    assert len(lines) == len(hints)


def _thumb(comparison: Comparison, row: int) -> list[str]:
    from layertui.compare.symptoms.thumb import rules_of_thumb

    return rules_of_thumb(comparison.measurements[row])


# The list


@pytest.mark.parametrize(
    ("size", "terminal", "made", "inherited", "top"),
    [
        ((80, 24), Terminal(), "█◆", "█↓", "28 DIVERGED ◆1 (13 hidden)"),
        ((80, 24), Terminal("none", ascii=True), "X@", "Xv", "28 DIVERGED @1 (13 hidden)"),
        ((120, 30), Terminal(), "DIVERGED introduced", "DIVERGED inherited",
         "28 DIVERGED (◆ 1 introduced) (13 hidden)"),
        ((200, 50), Terminal("none"), "DIVERGED introduced", "DIVERGED inherited",
         "28 DIVERGED (◆ 1 introduced) (13 hidden)"),
    ],
)  # fmt: skip
async def test_made_and_inherited_on_the_list(
    paths: dict[str, str], size: tuple[int, int], terminal: Terminal, made: str, inherited: str,
    top: str,
) -> None:  # fmt: skip
    app = app_of(paths, policy=NoisePolicy(), terminal=terminal)
    async with app.run_test(size=size) as pilot:
        await measured(pilot, app)
        answer = app.list_screen.query_one("#answer", Lines).texts[0]
        assert answer.startswith(" L2 self_attn  introduced inside")
        assert "introduced inside layers.2.self_attn" in app.list_screen.prompt.message
        assert app.list_screen.row == BLAMED  # an input: it was revealed
        await command(pilot, "show outputs")
        assert top in counts(app)
        await pilot.press("f")
        assert app.list_screen.row == BLAMED
        assert made in line_of(app, BLAMED)
        assert inherited in line_of(app, BLAMED + 1)
        assert made not in line_of(app, BLAMED + 1)


async def test_keys_walk_over_what_was_made(paths: dict[str, str]) -> None:
    app = app_of(paths, policy=NoisePolicy())
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        screen = app.list_screen
        await command(pilot, "show everything")
        await pilot.press("G", "left_parenthesis")
        assert screen.row == BLAMED
        await pilot.press("right_parenthesis")
        assert screen.row == BLAMED
        assert "no introduced divergence below" in screen.prompt.message
        await pilot.press("right_square_bracket", "enter")
        await pilot.pause(0.1)
        assert isinstance(app.screen, PairScreen)
        title = app.screen.query_one("#title", Lines)
        assert "DIVERGED inherited" in title.texts[0]
        await pilot.press("left_parenthesis")
        assert screen.row == BLAMED
        assert "DIVERGED introduced" in title.texts[0]
        await pilot.press("escape")
        await command(pilot, "policy dtype")
        await pilot.press("right_parenthesis")
        assert ":policy noise does" in screen.prompt.message


async def test_symptoms_on_demand(paths: dict[str, str]) -> None:
    app = app_of(paths, policy=NoisePolicy())
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        await command(pilot, f"goto {BLAMED + 1}")
        await settled(pilot)
        assert "not diagnosed yet" in pane(app)
        assert not comparison.has_symptoms(BLAMED + 1)
        await pilot.press("S")
        await said(pilot, app, "no simple mistake explains it")
        assert comparison.has_symptoms(BLAMED + 1)
        assert "no simple mistake explains it" in pane(app)
        await pilot.press("space", "space", "S")
        await said(pilot, app, "2 of 2")
        last = max(app.list_screen.pairs.marks)
        assert comparison.has_symptoms(last)


async def said(pilot: Pilot[None], app: LayertuiApp, words: str) -> None:
    for _ in range(200):
        await pilot.pause(0.02)
        if words in app.work_screen().prompt.message:
            await settled(pilot)
            return
    raise AssertionError(app.work_screen().prompt.message)


async def test_stats_tell_where_from_and_what_it_looks_like(paths: dict[str, str]) -> None:
    policy = NoisePolicy(baselines=(paths["base"],), exact=paths["exact"])
    app = app_of(paths, policy=policy)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        assert "x base" in app.list_screen.query_one("#heading", Lines).texts[0]
        await command(pilot, f"goto {BLAMED + 1}")
        assert "x" in app.list_screen.pairs.model.ratio(BLAMED + 1)  # type: ignore[union-attr]
        await pilot.press("enter")

        def shown() -> str:
            return "\n".join(app.screen.query_one("#view-stats", ScrolledLines).texts)

        await until(pilot, lambda: "no simple mistake" in shown())
        for words in ("inherited (90 % sure)", "baseline ", "exact ", "the candidate is off",
                      "no simple mistake"):  # fmt: skip
            assert words in shown()


async def test_a_low_pane_keeps_room_for_the_numbers(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several symptoms the best, in the signs of the terminal."""
    app = app_of(paths, policy=NoisePolicy(), terminal=Terminal("none", ascii=True))
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        long = Symptom("scale", 0.98, "words that go on for lines and lines " * 9)
        known = {BLAMED: (long, replace(long, name="offset"))}
        comparison.evidence = replace(comparison.evidence, symptoms=known)
        await pilot.press("g", "f")
        await settled(pilot)
        shown = pane(app)
        assert "scale, explains 98 %" in shown
        assert "offset" not in shown
        assert shown.isascii()
        assert "\\u" not in shown
        labels = app.list_screen.query_one("#left .labels", Lines).texts
        assert labels.index("MSE") < 10


# Policies


async def test_a_policy_that_looks_at_all_rows_runs_beside_the_screen(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    judge = Comparison.set_policy

    def noted(self: Comparison, policy: Policy) -> None:
        threads.append(threading.current_thread().name)
        judge(self, policy)

    policy = NoisePolicy(baselines=(paths["base"],))
    app = app_of(paths, policy=policy)
    async with app.run_test(size=(120, 40)) as pilot:
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        numbers = list(comparison.measurements)
        floors = len(comparison.floors)
        await command(pilot, "policy fixed")
        assert comparison.verdicts[BLAMED].origin is None
        assert comparison.floors == {}
        assert "policy fixed" in counts(app)
        monkeypatch.setattr(Comparison, "set_policy", noted)
        await command(pilot, "policy noise")
        await measured(pilot, app)
        assert threads == ["layertui-job"]
        assert comparison.verdicts[BLAMED].origin == "made"
        assert len(comparison.floors) == floors > 0  # the baseline of the command line is back
        assert all(a is b for a, b in zip(comparison.measurements, numbers, strict=True))
        assert "policy" not in counts(app)
        await command(pilot, "policy")
        assert "noise, dtype, fixed, default; now noise:" in app.list_screen.prompt.message


async def test_a_policy_chosen_while_headers_are_read(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    read = capture.read_headers

    def held(*arguments: Any) -> bool:
        assert go_on.wait(20)
        return read(*arguments)

    monkeypatch.setattr(capture, "read_headers", held)
    app = app_of(paths)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause(0.2)
        assert app.list_screen.comparison is None
        await command(pilot, "policy noise")
        go_on.set()
        await measured(pilot, app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert comparison.policy.name == "noise"
        assert made_rows(comparison) == [BLAMED]


async def test_a_baseline_that_went_away_leaves_the_policy_as_it_was(
    paths: dict[str, str], tmp_path: Path
) -> None:
    baseline = runs(tmp_path, gone=run(NOISE, 3))["gone"]
    app = app_of(paths, policy=NoisePolicy(baselines=(baseline,)))
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await command(pilot, "policy fixed")
        (Path(baseline) / "model.safetensors").unlink()
        await command(pilot, "policy noise")
        await said(pilot, app, f"{baseline}: ")
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert comparison.policy.name == app.session.limits.policy == "fixed"
        assert "policy fixed" in counts(app)
        assert app.is_running


async def test_limits_of_a_file_are_named_and_unknown_layers_said(
    paths: dict[str, str], tmp_path: Path
) -> None:
    from layertui.compare.rules.rules import Rules

    text = (
        '{"schema": "layertui.thresholds/1", "made_from": [], "percentile": 99, "margin": 1.5,'
        ' "layers": {"layers.2.self_attn.o_proj-input_0": {"relative_l2": 0.01}}}'
    )
    (tmp_path / "good.json").write_text(text)
    rules = Rules(thresholds=(load_thresholds(str(tmp_path / "good.json")),))
    app = app_of(paths, rules=rules)
    async with app.run_test(size=(200, 50)) as pilot:
        await measured(pilot, app)
        assert "has no limits for 61 of 62 layers" in app.list_screen.prompt.message
        await pilot.press("f")
        await settled(pilot)
        assert "relative_l2 9.150e-01 > limit of" in pane(app)
        assert "good.json: layers.2.self_attn.o_" in pane(app)
        await command(pilot, "notes")
        notes = "\n".join(app.screen.query_one(ScrolledLines).texts)
        assert "has no limits for 61 of 62 layers" in notes


def test_a_further_capture_that_is_not_there_ends_in_one_line(
    paths: dict[str, str], tmp_path: Path
) -> None:
    """The screen opens first; the reason comes on stderr, with status 2."""
    import asyncio

    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "nowhere", tmp_path / "empty"):
        for more in ({"baselines": (str(bad),)}, {"exact": str(bad)}):
            app = app_of(paths, policy=NoisePolicy(**more))  # type: ignore[arg-type]

            async def opened(app: LayertuiApp = app) -> None:
                async with app.run_test(size=(80, 24)) as pilot:
                    for _ in range(200):
                        await pilot.pause(0.02)
                        if app.last_words is not None:
                            break

            asyncio.run(opened())
            assert app.return_code == 2
            assert app.last_words is not None
            assert app.last_words.startswith(f"layertui: {bad}: ")
            assert "\n" not in app.last_words


# The captures themselves


async def test_other_inputs_are_said_before_anything_is_measured(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    measure = Comparison.measure

    def held(self: Comparison, **more: Any) -> bool:
        assert go_on.wait(20)
        return measure(self, **more)

    monkeypatch.setattr(Comparison, "measure", held)
    app = app_of(paths, "ids")
    async with app.run_test(size=(80, 24)) as pilot:
        await said(pilot, app, "error: different token ids: 24 of 24")
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert comparison.measured == 0
        assert counts(app).startswith(" DIFFERENT TOKEN IDS ")
        go_on.set()
        await measured(pilot, app)
        assert comparison.complete
        assert counts(app).startswith(" DIFFERENT TOKEN IDS ")
        await pilot.press("f")
        assert app.list_screen.prompt.message.startswith("DIFFERENT TOKEN IDS, which explains it")


async def test_the_costly_checks_come_once_also_after_another_policy(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy chosen while pairs are measured stops that work, checks included."""
    checks: list[int] = []
    check = two_sides.check_pair

    def counted(comparison: Comparison, *more: Any) -> Any:
        checks.append(comparison.measured)
        return check(comparison, *more)

    measure, go_on, first = Comparison.measure, threading.Event(), threading.Event()

    def held(self: Comparison, **more: Any) -> bool:
        if not first.is_set():
            first.set()
            assert go_on.wait(20)
        return measure(self, **more)

    monkeypatch.setattr(two_sides, "check_pair", counted)
    monkeypatch.setattr(Comparison, "measure", held)
    app = app_of(paths)
    async with app.run_test(size=(120, 30)) as pilot:
        while not first.is_set():
            await pilot.pause(0.02)
        await command(pilot, "policy noise")
        go_on.set()
        await measured(pilot, app)
        assert checks == [62]
        comparison = app.list_screen.comparison
        assert comparison is not None
        assert comparison.policy.name == "noise"
        assert made_rows(comparison) == [BLAMED]
        await command(pilot, "policy fixed")
        await command(pilot, "policy noise")
        await measured(pilot, app)
        assert checks == [62]


# Exports


async def test_an_export_has_all_of_it(paths: dict[str, str], tmp_path: Path) -> None:
    policy = NoisePolicy(baselines=(paths["base"],), exact=paths["exact"])
    app = app_of(paths, policy=policy)
    target = tmp_path / "row.txt"
    async with app.run_test(size=(120, 30)) as pilot:
        await measured(pilot, app)
        await command(pilot, f"goto {BLAMED + 1}")
        await command(pilot, f"export {target}")
        await said(pilot, app, "wrote 1 row")
    text = target.read_text()
    for words in (
        "origin      inherited (90 % sure)", "looks like  none: no simple mistake",
        f"baseline    {_ratio(text)}", "exact       the candidate is off",
        f" --baseline {paths['base']} --exact {paths['exact']}",
    ):  # fmt: skip
        assert words in text


def _ratio(text: str) -> str:
    """The ratio with its interval, as the reason has it."""
    reason = next(line for line in text.splitlines() if line.startswith("  reason"))
    return reason.removeprefix("  reason").strip().partition(" the baseline's error")[0]


@pytest.mark.parametrize("width", [80, 140])
async def test_doubtful_pairs_are_said_in_the_list_the_answer_and_the_pane(
    tmp_path: Path, width: int
) -> None:
    """Two engines that mean different things by one name, all else being equal."""
    rng = np.random.default_rng(0)
    names = [
        f"layers.{layer}.mlp{part}" for layer in range(3) for part in (".act_fn", ".down_proj", "")
    ]
    left = {f"model.{name}-output": normal(rng) for name in names}
    right = {
        f"{name}-output": normal(rng) if "act_fn" in name else left[f"model.{name}-output"]
        for name in names
    }
    app = app_of(runs(tmp_path, ref=left, cand=right))
    async with app.run_test(size=(width, 40)) as pilot:
        await measured(pilot, app)
        answer = app.list_screen.query_one("#answer", Lines).texts[0]
        assert "no divergence in 9 pairs, but 3 of them are doubtful" in answer
        assert "doubtful" in line_of(app, 0) and "doubtful" not in line_of(app, 1)
        assert "3 doubtful" in counts(app) or "(3?)" in counts(app)
        comparison = app.list_screen.comparison
        assert comparison is not None
        fields = {field.label: field.value for field in pane_fields(comparison, 0)}
        assert fields["verdict"].startswith("doubtful  of the same name, the two differ by")
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, PairScreen)
        assert "doubtful" in app.screen.query_one("#title", Lines).texts[0]


async def test_a_candidate_that_is_the_reference_is_said_in_the_answer(
    paths: dict[str, str],
) -> None:
    app = app_of(paths, "ref")
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        answer = app.list_screen.query_one("#answer", Lines).texts[0]
        assert "but the candidate is the reference itself" in answer


def normal(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((8, 16)).astype(np.float32)
