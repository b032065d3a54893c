"""`--layers`: the rows of some layers; the others are ignored, and counted as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture.errors import CaptureError
from layertui.capture.layer_range import LayerRange
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.names.canonical import layer_number
from layertui.compare.model import Row
from support.synthetic import saved

X = np.random.default_rng(5).standard_normal((2, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0:5", (0, 5)), (":5", (0, 5)), ("3:", (3, None)), ("4", (4, 5)), (":", (0, None))],
)
def test_ranges(text: str, expected: tuple[int, int | None]) -> None:
    found = LayerRange.parse(text)
    assert (found.first, found.end) == expected
    assert LayerRange.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "5:2", "3:3", "-1:2", "a", "1:2:3", "1.5", "9" * 30])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):
        LayerRange.parse(text)


def names(count: int) -> list[str]:
    inside = [f"model.layers.{number}.mlp-output" for number in range(count)]
    return ["model.embed_tokens-output", *inside, "model.norm-output"]


def compared(folder: Path, left: list[str], right: list[str], layers: str) -> Comparison:
    sides = [saved(folder / side, dict.fromkeys(listed, X)) for side, listed in
             (("ref", left), ("cand", right))]  # fmt: skip
    found = Comparison(*sides, layers=LayerRange.parse(layers))
    found.measure(use_cache=False)
    return found


def test_records_add_up_and_nothing_else_is_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, names(6), names(6), "0:2")
    assert [row.canonical for row in found.rows] == ["embed_tokens", "layers.0.mlp", "layers.1.mlp"]
    assert [row.index for row in found.rows] == [0, 1, 2]
    counts = found.counts.records_reference
    assert counts.total == 8 and counts.paired == 3 and counts.ignored == 5 and counts.gap == 0
    assert found.exit_status() == 0
    assert any("--layers 0:2: 10 records" in note for note in found.notes("reference"))
    found.realign(found.rules)
    assert len(found.rows) == 3


def test_the_end_of_the_model_is_there_where_its_last_layer_is(tmp_path: Path) -> None:
    found = compared(tmp_path, names(6), names(6), "4:9")
    assert [row.canonical for row in found.rows] == [
        "embed_tokens", "layers.4.mlp", "layers.5.mlp", "norm",
    ]  # fmt: skip


def test_a_candidate_that_is_too_short_still_ends_early(tmp_path: Path) -> None:
    found = compared(tmp_path, names(6), names(2), "0:4")
    assert found.exit_status() == 1 and "ends early" in found.outcome().reasons[0]
    assert compared(tmp_path / "b", names(6), names(2), "0:2").exit_status() == 0


def test_layers_that_are_counted_from_one(tmp_path: Path) -> None:
    left = names(5)
    right = [f"decoder.h.{n}.mlp-output" for n in range(1, 6)]
    found = compared(tmp_path, left, right, "0:3")
    pairs = [row for row in found.rows if row.kind == "pair"]
    assert [layer_number(row.canonical) for row in pairs] == [0, 1, 2]
    for row in pairs:
        assert row.reference is not None and row.candidate is not None
        number = layer_number(row.canonical) or 0
        assert f".{number}." in row.reference.name and f".{number + 1}." in row.candidate.name


def test_no_such_layer(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="layers 0 to 5"):
        compared(tmp_path, names(6), names(6), "9:")


def _names(row: Row) -> tuple[str, ...]:
    return tuple("" if r is None else r.name for r in (row.reference, row.candidate))


def test_of_a_real_pair(real: Path) -> None:
    """Rows in the range have the verdicts and numbers that they have in the whole."""
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    whole, part = open_comparison(*sides), open_comparison(*sides, layers=LayerRange(0, 1))
    for found in (whole, part):
        found.measure(use_cache=False)
    known = {_names(row): whole.measurements[row.index] for row in whole.rows}
    assert 10 < len(part.rows) < len(whole.rows)
    assert all(layer_number(row.canonical) in (None, 0) for row in part.rows)
    for row in part.rows:
        assert part.measurements[row.index] == known[_names(row)]
    assert part.failing == []
