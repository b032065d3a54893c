"""The noise floor from further captures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.errors import CaptureError
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.noise.floor import ratio_of
from layertui.compare.judging.policy import NoisePolicy
from support.synthetic import saved

LAYERS = 4


def runs(tmp_path: Path, **noises: float) -> dict[str, str]:
    """Captures of the same values, each with relative noise of its own size."""
    found: dict[str, str] = {}
    for number, (name, noise) in enumerate(noises.items()):
        values, own = np.random.default_rng(0), np.random.default_rng(number + 1)
        arrays: dict[str, np.ndarray] = {}
        for layer in range(LAYERS):
            x = values.standard_normal((40, 16))
            arrays[f"model.layers.{layer}.mlp-output"] = (
                x + noise * own.standard_normal(x.shape)
            ).astype(np.float32)
        saved(tmp_path / name, arrays)
        found[name] = str(tmp_path / name)
    return found


def judged(paths: dict[str, str], **more: object) -> Comparison:
    policy = NoisePolicy(**more)  # type: ignore[arg-type]
    comparison = open_comparison(paths["reference"], paths["candidate"], policy=policy)
    assert comparison.measure(use_cache=False, threads=1)
    return comparison


def test_no_more_than_the_baseline_is_noise(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=1e-2, baseline=1e-2)
    comparison = judged(paths, baselines=(paths["baseline"],))
    assert comparison.exit_status() == 0
    for floor in comparison.floors.values():
        assert floor.baseline is not None
        assert floor.baseline.low < 1.0 < floor.baseline.high
        assert floor.baseline.ratio == pytest.approx(1.0, abs=0.15)


def test_a_baseline_that_is_equal_bit_for_bit_is_not_used(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=1e-7, baseline=0.0, exact=0.0)
    comparison = judged(paths, baselines=(paths["baseline"],), exact=paths["exact"])
    assert comparison.floors == {}
    assert comparison.exit_status() == 0
    said = f"usable for 0 of {LAYERS} differing pairs ({LAYERS} are bitwise equal"
    assert sum(said in note for note in comparison.notes("reference")) == 2


def test_a_baseline_of_something_else_hides_nothing(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=0.3, baseline=2.0)
    comparison = judged(paths, baselines=(paths["baseline"],))
    assert comparison.floors == {}
    assert comparison.exit_status() == 1
    assert any(
        f"{LAYERS} differ by more than rounding" in note for note in comparison.notes("reference")
    )


def test_more_than_the_baseline_is_diverged(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=3e-5, baseline=1e-5)
    comparison = judged(paths, baselines=(paths["baseline"],))
    assert comparison.exit_status() == 1
    assert {verdict.level for verdict in comparison.verdicts} == {"diverged"}
    assert "the baseline's error" in comparison.verdicts[0].reason


def test_the_worst_baseline_counts(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=3e-5, small=1e-6, large=3e-5)
    comparison = judged(paths, baselines=(paths["small"], paths["large"]))
    assert comparison.exit_status() == 0
    assert {floor.baseline_path for floor in comparison.floors.values()} == {paths["large"]}


@pytest.mark.parametrize(
    ("reference", "candidate", "off"),
    [(1e-6, 1e-3, "candidate"), (1e-3, 1e-6, "reference"), (1e-3, 1e-3, None)],
)
def test_the_exact_capture_says_which_side_is_off(
    tmp_path: Path, reference: float, candidate: float, off: str | None
) -> None:
    paths = runs(tmp_path, exact=0.0, reference=reference, candidate=candidate)
    comparison = judged(paths, exact=paths["exact"])
    assert {floor.off for floor in comparison.floors.values()} == {off}


def test_a_ratio_needs_both_errors() -> None:
    one = np.ones(4), np.ones(4)
    assert ratio_of(one, None) is None and ratio_of((np.ones(4), np.zeros(4)), one) is None
    ratio = ratio_of((4 * np.ones(4), np.ones(4)), one)
    assert ratio is not None and (ratio.ratio, ratio.low, ratio.high) == (2.0, 2.0, 2.0)
    still = ratio_of(one, (np.zeros(4), np.ones(4)), least=0.5)
    assert still is not None and still.ratio == 2.0


def test_a_baseline_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=1e-6)
    missing = str(tmp_path / "nothing")
    with pytest.raises(CaptureError):
        judged(paths, baselines=(missing,))
    arguments = ["compare", paths["reference"], paths["candidate"]]
    assert status_of([*arguments, "--baseline", missing]) == 2
    assert "nothing" in capsys.readouterr().err
    assert status_of([*arguments, "--baseline", missing, "--policy", "fixed"]) == 2
    assert "--policy noise" in capsys.readouterr().err


def test_the_command_line_reports_the_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=3e-5, baseline=1e-5, exact=1e-6)
    arguments = ["compare", paths["reference"], paths["candidate"], "--format", "json"]
    further = ["--baseline", paths["baseline"], "--exact", paths["exact"]]
    assert status_of([*arguments, *further]) == 1
    plain = capsys.readouterr().out
    assert status_of([*arguments, *further, "--policy", "default"]) == 1  # another word for noise
    again = capsys.readouterr().out
    assert json.loads(again)["rows"] == json.loads(plain)["rows"]
    assert status_of([*arguments, *further]) == 1
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["baseline"]["low"] < row["baseline"]["ratio"] < row["baseline"]["high"]
    assert row["baseline"]["ratio"] == pytest.approx(3.0, rel=0.2)
    assert row["baseline"]["path"] == paths["baseline"]
    assert row["exact"]["off"] == "candidate"


def test_a_policy_that_cannot_be_had_leaves_the_baselines_there(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=3e-5, baseline=1e-5)
    comparison = judged(paths, baselines=(paths["baseline"],))
    floors = dict(comparison.floors)
    with pytest.raises(CaptureError):
        comparison.set_policy(NoisePolicy(baselines=(str(tmp_path / "nothing"),)))
    # What is read anew comes from the baselines that are still there.
    comparison.evidence = replace(comparison.evidence, floors={})
    comparison.measure(use_cache=False)
    assert comparison.floors == floors and len(floors) == LAYERS
    assert {verdict.level for verdict in comparison.verdicts} == {"diverged"}


def test_pairs_that_the_exact_capture_lacks_are_counted(tmp_path: Path) -> None:
    paths = runs(tmp_path, reference=0.0, candidate=3e-5, exact=1e-6)
    first = min((tmp_path / "exact").iterdir())
    first.unlink()
    comparison = judged(paths, exact=paths["exact"])
    said = f"usable for {LAYERS - 1} of {LAYERS} differing pairs (1 are missing)"
    assert any(said in note for note in comparison.notes("reference"))
