"""The command that a text prints under REPRODUCE prints the same text again."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertui.cli.main import status_of
from layertui.compare.judging.options import JudgingOptions
from layertui.compare.judging.policy import PolicyError

NAMES = ("a", "b", "c")


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
    assert "of the outputs are paired, 100.0% wanted" in capsys.readouterr().out
