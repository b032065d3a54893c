"""Outputs of a table or a matrix that is another one, behind inputs that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import open_comparison
from layertui.compare.model import Symptom
from support.synthetic import saved

IDS = np.array([[5, 2, 7, 1, 9, 4]])
_RNG = np.random.default_rng(11)
TABLE, OTHER = _RNG.standard_normal((2, 12, 48)).astype(np.float32)
WEIGHT, OTHER_WEIGHT = _RNG.standard_normal((2, 48, 64)).astype(np.float32)


def looks_like(folder: Path, table: np.ndarray, weight: np.ndarray) -> tuple[str, Symptom]:
    """Module and symptom of the first divergence of a table and a projection behind it."""
    for name, used, by in (("ref", TABLE, WEIGHT), ("cand", table, weight)):
        embedded = used[IDS]
        saved(folder / name, {
            "model.embed_tokens-input_0": IDS, "model.embed_tokens-output": embedded,
            "model.layers.0.mlp.down_proj-input_0": embedded,
            "model.layers.0.mlp.down_proj-output": embedded @ by,
        })  # fmt: skip
    comparison = open_comparison(str(folder / "ref"), str(folder / "cand"))
    assert comparison.measure(use_cache=False, threads=1)
    first = comparison.first_divergence()
    assert first is not None
    (symptom, *_) = comparison.find_symptoms(first.index)
    return first.module, symptom


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1.0, "the table is another, or the rows are of other ids"), (13.0, "the table is another;")],
)
def test_another_table(tmp_path: Path, factor: float, words: str) -> None:
    module, symptom = looks_like(tmp_path, factor * OTHER, WEIGHT)
    assert (module, symptom.name) == ("embed_tokens", "other-weights")
    assert words in symptom.evidence and "standard deviation" in symptom.evidence


def test_another_matrix(tmp_path: Path) -> None:
    module, symptom = looks_like(tmp_path, TABLE, OTHER_WEIGHT)
    assert (module, symptom.name) == ("layers.0.mlp.down_proj", "other-weights")
    assert "the weights are others, or in another order" in symptom.evidence


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_part_of_the_reference_is_left(tmp_path: Path, part: float) -> None:
    module, symptom = looks_like(tmp_path, TABLE, part * WEIGHT + OTHER_WEIGHT)
    assert module == "layers.0.mlp.down_proj" and symptom.name != "other-weights"


def test_some_rows_are_the_references(tmp_path: Path) -> None:
    table = OTHER.copy()
    table[7] = TABLE[7]
    module, symptom = looks_like(tmp_path, table, WEIGHT)
    assert module == "embed_tokens" and symptom.name != "other-weights"
