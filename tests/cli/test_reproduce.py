"""The command that a text prints under REPRODUCE prints the same text again."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertui.cli.commands.open import not_on_the_screen
from layertui.cli.main import status_of
from layertui.compare.judging.options import JudgingOptions
from layertui.compare.judging.policy import PolicyError
from layertui.tui.jobs.compare_job import Request
from layertui.tui.list.limits import limits_of
from layertui.tui.session import Session

NAMES = ("a", "b", "c")
VIEWS = ("--view", "stats", "--view", "top")  # of `show` where none are asked for


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A reference, a candidate that diverges, a baseline and an exact run."""
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((6, 8)).astype(np.float32) for _ in NAMES]
    paths = {}
    for run, size in (("ref", 0.0), ("cand", 3e-2), ("base", 1e-5), ("exact", 1e-6)):
        paths[run] = str(root / run)
        (root / run).mkdir()
        for name, layer in zip(NAMES, layers, strict=True):
            noise = size * rng.standard_normal(layer.shape).astype(np.float32)
            np.save(root / run / f"model.{name}-output.npy", layer + noise)
    return paths


@st.composite
def asked(draw: st.DrawFn) -> JudgingOptions:
    """Options that may go together, further captures by their names in `runs`."""
    tolerance = draw(st.sampled_from([None, 1e-3, 0.1]))
    return JudgingOptions(
        metric=draw(st.sampled_from(["mse", "ulp", "cosine"])),
        policy=draw(st.sampled_from([None, "noise", "dtype", "fixed", "default"])),
        thresholds=draw(st.sampled_from([(), (("mse", 1e-4),), (("cosine", 0.123456789),)])),
        rtol=tolerance, atol=tolerance,
        min_coverage=draw(st.sampled_from([0.5, 1.0])),
        allow_early_end=draw(st.booleans()),
        baselines=draw(st.sampled_from([(), ("base",)])),
        exact=draw(st.sampled_from([None, "exact"])),
    )  # fmt: skip


def _is_valid(options: JudgingOptions) -> bool:
    try:
        options.make_policy()
    except PolicyError:
        return False
    return True


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(options=asked())
def test_a_printed_command_prints_the_same(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str], options: JudgingOptions
) -> None:
    further = [word for name in options.baselines for word in ("--baseline", runs[name])]
    further += [] if options.exact is None else ["--exact", runs[options.exact]]
    rest = JudgingOptions(
        options.metric, options.policy, options.thresholds, None, options.rtol, options.atol,
        min_coverage=options.min_coverage, allow_early_end=options.allow_early_end,
    )  # fmt: skip
    arguments = ["show", runs["ref"], runs["cand"], "#1", *further, *rest.to_arguments()]
    try:
        options.make_policy()
    except PolicyError:
        assert status_of(arguments) == 2
        capsys.readouterr()
        return
    status = status_of(arguments)
    text = capsys.readouterr().out
    printed = text.split("REPRODUCE\n---------\n")[1].splitlines()
    show, whole = (shlex.split(line) for line in printed)
    assert status_of(show[1:]) == status
    assert capsys.readouterr().out == text
    assert whole[:3] == ["layertui", runs["ref"], runs["cand"]]
    for word in (*further, *rest.to_arguments()):
        assert word in show and word in whole


@pytest.mark.parametrize("form", ["text", "json", "junit", "html", "markdown"])
def test_a_status_of_1_has_its_reason_in_every_form(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in NAMES:
        file = few / f"model.{name if name != 'b' else 'zzz'}-output.npy"
        np.save(
            file,
            np.load(Path(runs["ref"]) / f"model.{name}-output.npy")[:, : 4 + 4 * (name != "b")],
        )
    arguments = ["compare", runs["ref"], str(few), "--format", form]
    assert status_of([*arguments, "--min-coverage", "1.0"]) == 1
    assert "of the outputs are paired, 100.0% required" in capsys.readouterr().out


def _report(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[Any], str]:
    """Exit status, the rows with verdicts and reasons, and the printed command."""
    status = status_of(["compare", *arguments, "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"]["status"] == status
    return status, [found["first_divergence"], found["rows"]], found["command"]


@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(options=asked().filter(_is_valid), pair=st.sampled_from(["llama-f32", "qwen3-f32"]))
def test_every_printed_command_gives_the_same_verdicts(
    real: Path, capsys: pytest.CaptureFixture[str], options: JudgingOptions, pair: str
) -> None:
    """Those of a report, of a text of one pair (both lines), and of the screens and exports."""
    reference, candidate = (str(real / pair / side) for side in ("torch_dump", "max_dump"))
    options = replace(
        options, baselines=(candidate,) if options.baselines else (),
        exact=None if options.exact is None else reference,
    )  # fmt: skip
    asked_for = [reference, candidate, *options.to_arguments()]
    status, rows, command = _report(asked_for, capsys)
    assert _report(_compared(command), capsys)[:2] == (status, rows)

    status_of(["show", reference, candidate, "#1", *options.to_arguments()])
    printed = capsys.readouterr().out.split("REPRODUCE\n---------\n")[1].splitlines()
    assert shlex.split(printed[0])[5:] == [*options.to_arguments(), *VIEWS]
    assert _report(shlex.split(printed[1])[1:], capsys)[:2] == (status, rows)

    policy = options.make_policy() if options.asks_for_a_policy else None
    kept = Session(
        Request(reference, candidate), limits_of(policy, options.rtol, options.atol),
        metric=options.metric, options=tuple(not_on_the_screen(options).to_arguments()),
    )  # fmt: skip
    assert _report([reference, candidate, *kept.command_options()], capsys)[:2] == (status, rows)


def _compared(command: str) -> list[str]:
    """The arguments of a printed `layertui compare`, without its form."""
    words = shlex.split(command)
    assert words[:2] == ["layertui", "compare"]
    at = words.index("--format")
    return [*words[2:at], *words[at + 2 :]]
