"""Other tokens than the other side's: said first, and in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.checks.finding import Finding
from layertui.compare.checks.token_inputs import different_inputs, ids_apart
from layertui.compare.comparison import open_comparison
from layertui.compare.recipes.parse import parse_recipe

IDS = [7, 3, 9, 4, 1, 8, 2, 6]
TABLE = np.random.default_rng(3).standard_normal((16, 6)).astype(np.float32)


def side(folder: Path, ids: list[int], **more: np.ndarray) -> str:
    folder.mkdir(parents=True)
    arrays = {"model.embed_tokens": TABLE[ids][None], **more}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return str(folder)


def found(left: str, right: str) -> list[Finding]:
    return list(different_inputs(open_comparison(left, right)))


@pytest.mark.parametrize(
    "name", ["input_ids", "tokens", "model-input_input_ids", "model.token_ids"]
)
def test_records_of_ids_are_compared_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    other = [*IDS[:5], 11, *IDS[6:]]
    paths = [
        side(tmp_path / str(i), ids, **{name: np.array([ids])})
        for i, ids in enumerate((IDS, other))
    ]
    (finding,) = found(*paths)
    assert finding.severity == "error" and "1 of 8" in finding.what and "8 and 11" in finding.what
    assert found(paths[0], paths[0]) == []


def test_positions_that_differ(tmp_path: Path) -> None:
    places = np.arange(8)[None]
    left = side(tmp_path / "a", IDS, position_ids=places)
    right = side(tmp_path / "b", IDS, position_ids=places + 1)
    (finding,) = found(left, right)
    assert "different positions" in finding.what and "8 of 8" in finding.what


@pytest.mark.parametrize("recorded", [True, False])
def test_one_more_token_in_front(tmp_path: Path, recorded: bool) -> None:
    other = [IDS[0], *IDS]
    left, right = (
        side(tmp_path / str(i), ids, **({"input_ids": np.array([ids])} if recorded else {}))
        for i, ids in enumerate((IDS, other))
    )
    (finding,) = found(left, right)
    assert "the candidate has 1 token more at the front" in finding.what
    assert "[:, 1:]" in finding.what
    assert ("occurs twice" in finding.what) == recorded
    (finding,) = found(right, left)
    assert "the reference has 1 token more at the front" in finding.what


def test_the_last_token_alone(tmp_path: Path) -> None:
    left, right = side(tmp_path / "a", IDS), side(tmp_path / "b", IDS[-1:])
    comparison = open_comparison(left, right)
    assert list(different_inputs(comparison)) == []  # the last tokens are compared
    said = "has the last token alone, compared with the last of 8 of the other side"
    assert any(said in note for note in comparison.notes("candidate"))


def test_tokens_behind_and_other_texts(tmp_path: Path) -> None:
    assert "2 tokens more behind (5, 5)" in ids_apart(IDS, [*IDS, 5, 5])
    assert "[:, :-2]" in ids_apart(IDS, [*IDS, 5, 5])
    assert "[:, 1:-1]" in ids_apart([0, *IDS, 5], IDS)
    assert ids_apart(IDS, [*IDS[1:], 3, 3, 3]) == "8 tokens and 10"
    assert ids_apart(IDS, list(IDS)) == ""
    left = side(tmp_path / "a", IDS)
    right = side(tmp_path / "b", [*IDS[::-1], 5])
    assert found(left, right) == []


def test_other_ids_come_before_what_was_computed_from_them(tmp_path: Path) -> None:
    other = [*IDS[:5], 11, *IDS[6:]]
    paths = [
        side(tmp_path / str(i), ids, token_ids=np.array([ids]), a_first=TABLE[ids] ** 2)
        for i, ids in enumerate((IDS, other))
    ]
    comparison = open_comparison(*paths)
    assert comparison.rows[0].canonical == "token_ids"
    comparison.measure(use_cache=False, threads=1)
    first = comparison.first_divergence()
    assert first is not None and first.module == "token_ids"


@pytest.mark.parametrize(("wrong", "said"), [(None, ""), (1, "of 1 of 6 tokens differ")])
def test_rows_that_a_printed_tensor_hides_are_no_other_tokens(
    tmp_path: Path, wrong: int | None, said: str
) -> None:
    values = TABLE[IDS][None].copy()
    if wrong is not None:
        values[0, wrong] += 1
    printed = np.array2string(values, threshold=5, edgeitems=3, separator=", ")
    (tmp_path / "cand").mkdir()
    (tmp_path / "cand" / "run.log").write_text(
        f"model.embed_tokens\ntensor({printed}) torch.Size([1, 8, 6])\n"
    )
    findings = found(side(tmp_path / "ref", IDS), str(tmp_path / "cand"))
    assert [finding.what.partition("embeddings ")[2][: len(said)] for finding in findings] == (
        [said] if said else []
    )


ONE = TABLE[IDS]
LAYOUTS = {
    "batch": np.stack([ONE, ONE]),
    "batch of three": np.stack([ONE, ONE, ONE]),
    "tokens": np.concatenate([ONE, ONE]),
    "tokens in a batch of one": np.concatenate([ONE, ONE])[None],
    "tokens before batch": np.stack([ONE, ONE], axis=1),
    "token by token": np.repeat(ONE, 2, axis=0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_sequence_several_times(tmp_path: Path, layout: str) -> None:
    embedded = LAYOUTS[layout]
    left = side(tmp_path / "a", IDS)
    right = side(tmp_path / "b", IDS, **{"model.embed_tokens": embedded})
    (finding,) = found(left, right)
    times = 3 if "three" in layout else 2
    assert f"the candidate has the same tokens {times} times" in finding.what
    recipe = re.search(r"; (\[[^;]*\]) on that side takes the first", finding.what)
    assert recipe is not None
    assert np.array_equal(parse_recipe(recipe[1]).apply(embedded).reshape(ONE.shape), ONE)
    (finding,) = found(right, left)
    assert f"the reference has the same tokens {times} times" in finding.what


def test_another_sequence_in_the_batch_is_no_copy(tmp_path: Path) -> None:
    left = side(tmp_path / "a", IDS)
    other = np.stack([ONE, TABLE[IDS[::-1]]])
    right = side(tmp_path / "b", IDS, **{"model.embed_tokens": other})
    assert all("same tokens" not in finding.what for finding in found(left, right))


def test_ids_that_are_repeated() -> None:
    assert ids_apart(IDS, IDS * 2).endswith("a sequence repeated in the batch")
    assert "the reference has the same tokens 3 times" in ids_apart(IDS * 3, IDS)
