"""`:baseline`: a further run of the reference is taken as a baseline on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.judging.policy import FixedPolicy, NoisePolicy
from layertui.tui.app import LayertuiApp
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.limits import Limits, further_captures, limits_of, with_baseline
from layertui.tui.widgets.lines import Lines
from support.screens.judged_captures import run, runs
from support.screens.tui_captures import measured, type_line, until

NOISE = 3e-7


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return runs(
        tmp_path_factory.mktemp("runs"), ref=run(), cand=run(NOISE, 2, swap_at=2),
        base=run(NOISE, 3), other=run(NOISE, 5), exact=run(NOISE / 10, 4),
    )  # fmt: skip


def app_of(paths: dict[str, str], policy: NoisePolicy | FixedPolicy | None = None) -> LayertuiApp:
    request = Request(paths["ref"], paths["cand"], policy=policy)
    return LayertuiApp(request, limits=limits_of(policy, None, None), fold="none")


def test_limits_with_a_baseline() -> None:
    one = with_baseline(Limits("fixed", {"mse": 1.0}), "a")
    assert one.policy == "noise" and further_captures(one) == (("a",), None)
    two = with_baseline(one, "b")
    assert two.options == ["--baseline", "a", "--baseline", "b"]
    assert further_captures(with_baseline(two, None)) == ((), None)
    given = limits_of(NoisePolicy(baselines=("a",), exact="e"), None, None)
    assert further_captures(with_baseline(given, "b")) == (("a", "b"), "e")
    assert further_captures(with_baseline(given, None)) == ((), "e")


async def test_it_judges_as_the_command_line_does(paths: dict[str, str]) -> None:
    expected = open_comparison(
        paths["ref"], paths["cand"], policy=NoisePolicy(baselines=(paths["base"],))
    )
    expected.measure()
    app = app_of(paths)
    async with app.run_test(size=(140, 40)) as pilot:
        await measured(pilot, app)
        comparison = app.session.comparison
        assert comparison is not None and not comparison.floors
        numbers = list(comparison.measurements)
        await type_line(pilot, ":", "baseline")
        assert "no baseline" in app.said
        await type_line(pilot, ":", f"baseline {paths['base']}")
        await measured(pilot, app)
        assert f"and of the baseline {paths['base']}" in app.said
        assert comparison.verdicts == expected.verdicts
        assert comparison.floors.keys() == expected.floors.keys() != set()
        assert all(a is b for a, b in zip(comparison.measurements, numbers, strict=True))
        assert "x base" in app.list_screen.query_one("#heading", Lines).texts[0]
        assert app.session.command_options() == ["--baseline", paths["base"]]
        await type_line(pilot, ":", f"baseline {paths['other']}")
        await measured(pilot, app)
        await type_line(pilot, ":", "baseline")
        assert app.said == f"2 baselines: {paths['base']}, {paths['other']}"
        await pilot.press("ctrl+r")  # it stays
        await measured(pilot, app)
        assert app.session.comparison is not None
        assert app.session.comparison.policy.further_captures[0] == (paths["base"], paths["other"])
        await type_line(pilot, ":", "baseline off")
        await measured(pilot, app)
        assert app.session.comparison.floors == {}
        assert "x base" not in app.list_screen.query_one("#heading", Lines).texts[0]
        await type_line(pilot, ":", "baseline off")
        assert "there is no baseline" in app.said


async def test_it_brings_the_policy_that_it_belongs_to(paths: dict[str, str]) -> None:
    app = app_of(paths, FixedPolicy())
    async with app.run_test(size=(140, 40)) as pilot:
        await measured(pilot, app)
        await type_line(pilot, ":", f"baseline {paths['base']}")
        await measured(pilot, app)
        assert app.session.comparison is not None
        assert app.session.comparison.policy.name == app.session.limits.policy == "noise"
        assert app.session.comparison.floors


async def test_what_is_no_capture_leaves_everything_as_it_was(
    paths: dict[str, str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    app = app_of(paths, NoisePolicy(baselines=(paths["base"],)))
    async with app.run_test(size=(140, 40)) as pilot:
        await measured(pilot, app)
        comparison = app.session.comparison
        assert comparison is not None
        verdicts = list(comparison.verdicts)
        for path, words in ((tmp_path / "nowhere", "no such file or directory"), (empty, "empty")):
            await type_line(pilot, ":", f"baseline {path}")
            await until(pilot, lambda words=words: words in app.said and not app.working, limit=20)
            assert comparison.verdicts == verdicts
            assert comparison.policy.further_captures[0] == (paths["base"],)
            assert further_captures(app.session.limits)[0] == (paths["base"],)
            assert app.session.request.policy == comparison.policy
        await type_line(pilot, ":", f"baseline {paths['base']}")
        assert "is a baseline already" in app.said
