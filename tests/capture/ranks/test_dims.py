"""What SGLang's dumper says of its tensors: `dims`, and where each rank stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.records import Capture

WHOLE = np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32)


def dump(folder: Path, ranks: list[tuple[dict[str, Any], Any]], dims: str) -> Capture:
    """A file of every rank: its places, and its part."""
    folder = folder / "dump_20261128_101500_123456"
    folder.mkdir()
    for rank, (places, part) in enumerate(ranks):
        name = f"step=0___rank={rank}___dump_index=1___name=x___recompute_status=disabled.pt"
        meta = {"step": 0, "rank": rank, "dump_index": 1, "name": "x", "dims": dims,
                "sglang_parallel_info": places}  # fmt: skip
        value = torch.from_numpy(np.ascontiguousarray(part))
        torch.save({"value": value, "meta": meta}, folder / name)
    return open_capture(folder)


def at(**places: tuple[int, int]) -> dict[str, int]:
    found = {}
    for kind, (rank, size) in places.items():
        found |= {f"{kind}_rank": rank, f"{kind}_size": size}
    return found


def whole_of(capture: Capture) -> Any:
    (record,) = capture.records
    assert record.locator is not None and record.name == "x"
    return load(record.locator)


def test_tensor_ranks_of_two_tokens_axes(tmp_path: Path) -> None:
    """`h[tp]`, written in another order than the ranks stand in."""
    order = [2, 0, 3, 1]
    parts = np.split(WHOLE, 4, 1)
    ranks = [(at(tp=(place, 4)), parts[place]) for place in order]
    np.testing.assert_array_equal(whole_of(dump(tmp_path, ranks, "t h[tp]")), WHOLE)


def test_zigzag_tokens_of_sums(tmp_path: Path) -> None:
    """`t[cp:zigzag] h[tp:partial]` on two by two ranks."""
    chunks = np.split(WHOLE, 4)
    ranks = []
    for cp in range(2):
        own = np.concatenate((chunks[cp], chunks[3 - cp]))
        for tp, share in enumerate((0.25, 0.75)):
            ranks.append((at(cp=(cp, 2), tp=(tp, 2)), own * np.float32(share)))
    found = whole_of(dump(tmp_path, ranks, "t[cp:zigzag] h[tp:partial]"))
    np.testing.assert_allclose(found, WHOLE, rtol=1e-6)


def test_sequence_ranks_inside_of_context_ranks(tmp_path: Path) -> None:
    ranks = [
        (at(cp=(cp, 2), tp=(tp, 2)), np.split(half, 2)[tp])
        for cp, half in enumerate(np.split(WHOLE, 2)) for tp in range(2)
    ]  # fmt: skip
    np.testing.assert_array_equal(whole_of(dump(tmp_path, ranks, "t[cp,sp] h")), WHOLE)


def test_copies_over_a_kind_that_is_not_named_must_be_equal(tmp_path: Path) -> None:
    ranks = [(at(tp=(tp, 2), pp=(pp, 2)), np.split(WHOLE, 2, 1)[tp])
             for pp in range(2) for tp in range(2)]  # fmt: skip
    (tmp_path / "good").mkdir()
    np.testing.assert_array_equal(whole_of(dump(tmp_path / "good", ranks, "t h[tp]")), WHOLE)
    ranks[3] = (ranks[3][0], ranks[3][1] * 2)
    (tmp_path / "bad").mkdir()
    capture = dump(tmp_path / "bad", ranks, "t h[tp]")
    assert [r.name for r in capture.records] == [f"rank{n}/x" for n in range(4)]


def test_replicated_by_dims_and_different_is_an_error_by_itself(tmp_path: Path) -> None:
    changed = WHOLE.copy()
    changed[5] += 1
    ranks = [(at(tp=(n, 3)), WHOLE if n != 1 else changed) for n in range(3)]
    (unequal,) = dump(tmp_path, ranks, "t h").unequal_ranks
    assert (unequal.rank, unequal.row, unequal.rows) == ("rank1", 5, 1)


@pytest.mark.parametrize(("dims", "count"), [("t h[tp]", 3), ("t h[cp]", 2), ("h[tp]", 2)])
def test_what_does_not_fit_stays_apart(tmp_path: Path, dims: str, count: int) -> None:
    """A rank is missing, its place is not told, or other axes are there."""
    parts = np.split(WHOLE, 4, 1)
    size = 4 if count == 3 else 2
    capture = dump(tmp_path, [(at(tp=(n, size)), parts[n]) for n in range(count)], dims)
    names = [record.name for record in capture.records]
    missing = ["tp3"] if count == 3 else []
    assert names == [*(f"rank{n}/x" for n in range(count)), *missing]
    assert [record.name for record in capture.records if record.error] == missing
