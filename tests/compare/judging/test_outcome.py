"""Exit statuses and their reasons, in every form of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.reports import Settings, part_of, whole
from support.synthetic import saved

Array = np.ndarray


def layers(count: int, seed: int = 0) -> dict[str, Array]:
    """Outputs of so many layers behind an embedding."""
    rng = np.random.default_rng(seed)
    names = [
        "embed_tokens",
        *(f"layers.{i}.{part}" for i in range(count) for part in ("self_attn", "mlp")),
    ]
    return {
        f"model.{name}-output": rng.standard_normal((6, 16)).astype(np.float32) for name in names
    }


def compared(
    tmp_path: Path, left: dict[str, Array], right: dict[str, Array], **more: Any
) -> Comparison:
    for name, side in (("left", left), ("right", right)):
        if not (tmp_path / name).exists():
            saved(tmp_path / name, side)
    comparison = open_comparison(str(tmp_path / "left"), str(tmp_path / "right"), **more)
    comparison.measure(use_cache=False)
    return comparison


def first(arrays: dict[str, Array], count: int) -> dict[str, Array]:
    return dict(list(arrays.items())[:count])


def test_equal_captures_have_no_reasons(tmp_path: Path) -> None:
    outcome = compared(tmp_path, layers(12), layers(12)).outcome()
    assert (outcome.status, outcome.reasons) == (0, ())


@pytest.mark.parametrize(("missing", "status"), [(1, 0), (2, 1), (10, 1)])
def test_a_tenth_of_the_layers_at_the_end_is_missed(
    tmp_path: Path, missing: int, status: int
) -> None:
    whole_run = layers(20)
    outcome = compared(tmp_path, whole_run, first(whole_run, 41 - 2 * missing)).outcome()
    assert outcome.status == status
    if status:
        assert f"layers.{20 - missing}" in outcome.reasons[0]
        assert "ends early" in outcome.reasons[0]


def test_layers_missing_in_the_middle_are_only_gaps(tmp_path: Path) -> None:
    run = layers(20)
    some = {name: array for name, array in run.items() if ".9." not in name and ".10." not in name}
    assert compared(tmp_path, run, some).outcome().status == 0


def test_an_early_end_may_be_allowed_or_said_by_the_capture(tmp_path: Path) -> None:
    run = layers(10)
    assert compared(tmp_path, run, first(run, 9)).outcome().status == 1
    assert compared(tmp_path, run, first(run, 9), allow_early_end=True).outcome().status == 0
    (tmp_path / "right" / "layertui.json").write_text(
        '{"schema": "layertui.capture/1", "model_source": {"layers": 4}}'
    )
    assert compared(tmp_path, run, first(run, 9)).outcome().status == 0
    (tmp_path / "right" / "layertui.json").write_text(
        '{"schema": "layertui.capture/1", "model_source": {"layers": 5}}'
    )
    assert compared(tmp_path, run, first(run, 9)).outcome().status == 1


def test_without_layers_the_order_of_outputs_tells(tmp_path: Path) -> None:
    run = {f"model.{name}-output": np.ones((4, 4), np.float32) * at
           for at, name in enumerate("abcdefghij", 1)}  # fmt: skip
    outcome = compared(tmp_path, run, first(run, 9)).outcome(0.1)
    assert "last 1 of the reference's 10 outputs" in outcome.reasons[0]


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (0.0, "zeros")])
def test_both_sides_empty_from_some_layer_on(tmp_path: Path, value: float, word: str) -> None:
    run = layers(6)
    for name in list(run)[9:]:
        run[name] = np.full_like(run[name], value)
    outcome = compared(tmp_path, run, dict(run)).outcome()
    assert outcome.status == 1
    assert outcome.reasons == (
        f"both sides hold nothing but {word} from {list(run)[9].removeprefix('model.')} on: their "
        "agreement means nothing",
    )


def test_zeros_in_the_middle_are_no_reason(tmp_path: Path) -> None:
    run = layers(6)
    run["model.layers.2.self_attn-output"] = np.zeros((6, 16), np.float32)
    assert compared(tmp_path, run, dict(run)).outcome().status == 0


@pytest.mark.parametrize("form", ["text", "json", "html", "markdown", "junit"])
def test_every_form_says_why(tmp_path: Path, form: str) -> None:
    run = layers(3)
    settings = Settings("layertui compare a b")
    assert part_of(compared(tmp_path, run, dict(run)), form, settings).status == 0
    part = part_of(compared(tmp_path, run, dict(run), min_coverage=1.1), form, settings)
    assert part.status == 1
    text = whole([part], form, settings).replace("&#46;", ".")
    assert "100.0% of the outputs are paired, 110.0% required" in text
    if form == "json":
        outcome = json.loads(text)["outcome"]
        assert outcome["status"] == 1 and len(outcome["reasons"]) == 1
