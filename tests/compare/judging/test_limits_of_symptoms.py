"""Limits of symptoms, of dropout and of what are logits: just below each, and just above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layertui.compare.judging.logits_effect import is_vocabulary
from layertui.compare.judging.noise.dropout import between, zeroed
from layertui.compare.model import Measurement, Symptom
from layertui.compare.symptoms.diagnosis import likely_ones, ranked
from layertui.compare.symptoms.fit import Pair, offset
from layertui.compare.symptoms.others import Other, missing_term
from layertui.compare.symptoms.regions import region
from layertui.compare.symptoms.thumb import rules_of_thumb
from layertui.compare.symptoms.unrelated import correlations, nothing_in_common
from support.synthetic import record, saved


def pair(x: np.ndarray, y: np.ndarray) -> Pair:
    return Pair(x, y, np.arange(len(x)), np.arange(x.shape[1]), x.shape, 0.0)


def test_what_a_fit_must_explain() -> None:
    enough, less = Symptom("scale", 0.51, ""), Symptom("scale", 0.49, "")
    assert likely_ones([enough, less]) == [enough]


def test_scores_that_are_alike() -> None:
    simple = Symptom("scale", 0.90, "")
    near, better = Symptom("region", 0.94, ""), Symptom("region", 0.96, "")
    assert ranked([near, simple])[0] is simple
    assert ranked([better, simple])[0] is better


@pytest.mark.parametrize(("share", "named"), [(0.57, True), (0.63, False)])
def test_offsets_by_channel(share: float, named: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 16))
    noise = rng.choice([-1.0, 1.0], x.shape)
    noise -= noise.mean(0)
    constant = rng.choice([-1.0, 1.0], 16) * np.sqrt(1 - share)
    found = offset(pair(x, x + 0.01 * (constant + np.sqrt(share) * noise)))
    assert any("one value per channel" in symptom.evidence for symptom in found) is named


@pytest.mark.parametrize(("part", "named"), [(0.049, False), (0.051, True)])
def test_terms(part: float, named: bool) -> None:
    rng = np.random.default_rng(2)
    x, term = rng.standard_normal((2, 8, 32))
    found = list(missing_term(pair(x, x - part * term), [Other("a-output", False, term, term)]))
    assert bool(found) is named


def in_rows(energy: np.ndarray, x: np.ndarray | None = None) -> bool:
    """Whether an error with so much in every row is called a region."""
    size = np.sqrt(energy)[:, None] * np.random.default_rng(3).choice([-1.0, 1.0], (len(energy), 8))
    x = np.ones_like(size) if x is None else x
    return any(symptom.name == "region" for symptom in region(pair(x, x + size)))


@pytest.mark.parametrize(("share", "named"), [(0.89, False), (0.91, True)])
def test_most_of_the_error_is_in_a_region(share: float, named: bool) -> None:
    rest = (1 - share) / 6
    assert in_rows(np.array([share, *[rest] * 6])) is named


@pytest.mark.parametrize(("share", "named"), [(0.69, True), (0.71, False)])
def test_a_region_holds_little_of_the_reference(share: float, named: bool) -> None:
    squares = np.array([share, *[(1 - share) / 9] * 9])
    x = np.sqrt(squares)[:, None] * np.ones((10, 8))
    assert in_rows(np.array([1.0, *[0.0] * 9]), x) is named


def test_a_region_is_small() -> None:
    def block(count: int) -> bool:
        return in_rows((np.arange(100) < count).astype(float))

    assert block(28) and not block(29)  # nine tenths of them are 26 and 27 of 100 rows


def test_a_region_is_in_few_pieces() -> None:
    def scattered(places: list[int]) -> bool:
        energy = np.zeros(100)
        energy[places] = 1.0
        return in_rows(energy)

    assert scattered([0, 1, 2, 10, 11, 20, 21])  # seven rows in three runs
    assert not scattered([0, 1, 10, 11, 20, 21, 30])  # in four
    assert scattered([0, 10, 20, 30, 40, 50]) and not scattered([0, 10, 20, 30, 40, 50, 60])


@pytest.mark.parametrize(
    ("correlation", "count", "tries", "nothing"),
    [
        (0.099, 1 << 16, 1, True), (0.101, 1 << 16, 1, False),  # of many values
        (0.69, 16, 1, True), (-0.71, 16, 1, False),  # of few
        (0.25, 512, 1000, True), (0.27, 512, 1000, False),  # (3.9 + 2) / 512^0.5
    ],
)  # fmt: skip
def test_correlations_that_are_nothing(
    correlation: float, count: int, tries: int, nothing: bool
) -> None:
    assert nothing_in_common(correlation, count, tries) is nothing


def test_correlations_of_rows() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 50, 64))
    y[7] = -3 * x[7] + 1
    x[9] = 2.0
    whole, greatest = correlations(x, y)
    assert whole == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    assert greatest == pytest.approx(1.0)


def said(**numbers: Any) -> str:
    return " ".join(rules_of_thumb(Measurement((4,), 4, 4, False, **numbers)))


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("high cosine", {"cosine": 0.991, "mse": 1.1e-4}, {"cosine": 0.989, "mse": 1.1e-4}),
        ("high cosine", {"cosine": 0.991, "mse": 1.1e-4}, {"cosine": 0.991, "mse": 0.9e-4}),
        ("low cosine", {"cosine": 0.89, "mse": 0.9e-6}, {"cosine": 0.91, "mse": 0.9e-6}),
        ("low cosine", {"cosine": 0.89, "mse": 0.9e-6}, {"cosine": 0.89, "mse": 1.1e-6}),
        ("high relative", {"max_rel": 0.11, "max_abs": 0.9e-4},
         {"max_rel": 0.09, "max_abs": 0.9e-4}),
        ("high relative", {"max_rel": 0.11, "max_abs": 0.9e-4},
         {"max_rel": 0.11, "max_abs": 1.1e-4}),
    ],
)  # fmt: skip
def test_rules_of_thumb(words: str, inside: dict[str, Any], outside: dict[str, Any]) -> None:
    assert words in said(**inside) and words not in said(**outside)


def through_dropout(folder: Path, count: int, apart: int) -> bool:
    """Whether it is seen where `count` elements meet it and some factors are `apart` units off."""
    x = np.ones(count, np.float32)
    y = np.full(count, 2.0, np.float32)
    y[::4] = 0.0
    y[1::4] = np.float32(2.0) * np.float32(1 + apart * 2.0**-23)
    capture = saved(folder, {"a-output": x, "b-output": y})
    given, output = capture.records
    return zeroed(given, output) is not None


def test_dropout_in_few_elements(tmp_path: Path) -> None:
    assert through_dropout(tmp_path / "many", 64, 0)
    assert not through_dropout(tmp_path / "few", 63, 0)


def test_factors_of_dropout(tmp_path: Path) -> None:
    assert through_dropout(tmp_path / "near", 400, 4)
    assert not through_dropout(tmp_path / "far", 400, 5)


def test_outputs_shortly_before_an_input() -> None:
    outputs = [record(f"layers.{number}-output") for number in range(5)]
    given = record("head-input_0")
    assert [output.name for output, _ in between([*outputs, given])] == [
        f"layers.{number}-output" for number in (4, 3, 2, 1)
    ]


def test_logits_without_a_head() -> None:
    assert is_vocabulary(256, set(), "output_logits")
    assert not is_vocabulary(255, set(), "output_logits")
