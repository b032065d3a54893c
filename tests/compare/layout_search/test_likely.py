"""Ranking likely recipes: real layouts are found, whatever the size; nothing fools the sample."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.open import open_capture
from layertui.capture.records import Locator
from layertui.compare.comparison import Comparison
from layertui.compare.layout_search.ranking import Hints, Proposal, Tried, prepare, propose, rank
from layertui.compare.layout_search.sampled_pair import SAMPLE
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import CancelledError, PairTask, SideError, SideTask
from layertui.compare.model import Measurement
from layertui.compare.rules.rules import HandPair
from support.synthetic import saved

RNG = np.random.default_rng(0)
Q = RNG.standard_normal((1, 10, 64)).astype(np.float32)
HEADS = Q.reshape(1, 10, 4, 16)
BIG = RNG.standard_normal((3, 1100, 2048)).astype(np.float32)  # read in parts


def side(folder: Path, name: str, array: np.ndarray, dtype: str | None = None) -> SideTask:
    path = folder / f"{name}.bin"
    path.write_bytes(np.ascontiguousarray(array).tobytes())
    dtype = dtype or str(array.dtype)
    return SideTask(Locator(str(path), dtype, array.shape), dtype)


def task_of(folder: Path, ref: np.ndarray, cand: np.ndarray, **dtypes: str | None) -> PairTask:
    return PairTask(
        side(folder, "ref", ref, dtypes.get("ref")), side(folder, "cand", cand, dtypes.get("cand"))
    )


def ranked(
    folder: Path, ref: np.ndarray, cand: np.ndarray, left: str = "", right: str = "", **more: Any
) -> list[Tried]:
    task = task_of(folder, ref, cand)
    hints = Hints(reference_dtype=str(ref.dtype), candidate_dtype=str(cand.dtype), **more)
    proposals = propose(ref.shape, cand.shape, left, right, hints)
    found = rank(task, proposals, hints=hints)
    assert {id(p) for p in proposals} <= {id(each.proposal) for each in found}
    return found


def rotated(x: torch.Tensor, interleaved: bool) -> torch.Tensor:
    """Rotary embedding of [..., tokens, head_dim] in either order of the pairs."""
    tokens, dim = x.shape[-2:]
    angle = torch.outer(torch.arange(tokens), 10000.0 ** (-torch.arange(0, dim, 2) / dim))
    cos, sin = angle.cos(), angle.sin()
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
    a, b = x[..., : dim // 2], x[..., dim // 2 :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def both_ropes() -> tuple[np.ndarray, np.ndarray]:
    """q after RoPE, [1, 4, 10, 16], of one model with weights in either order."""
    q = torch.from_numpy(Q).unflatten(-1, (4, 16)).transpose(1, 2)
    interleaved = q.unflatten(-1, (2, 8)).transpose(-1, -2).flatten(-2)
    return rotated(q, False).numpy(), rotated(interleaved, True).numpy()


def flat(heads: np.ndarray) -> np.ndarray:
    return heads.swapaxes(1, 2).reshape(1, 10, 64)


Case = tuple[np.ndarray, np.ndarray, str, str]
HALVES, PAIRS = both_ropes()
SQUARE = RNG.standard_normal((1, 64, 64)).astype(np.float32)
QKV = RNG.standard_normal((10, 3, 4, 16)).astype(np.float32)
CASES: dict[str, Case] = {
    "rope": (flat(HALVES), flat(PAIRS), "RoPE: interleaved to halves, 4 heads", ""),
    "rope back": (flat(PAIRS), flat(HALVES), "RoPE: halves to interleaved, 4 heads", ""),
    "rope of heads": (HALVES, PAIRS, "RoPE: interleaved to halves", ""),
    "rope of heads back": (PAIRS, HALVES, "RoPE: halves to interleaved", ""),
    "rope, one side flat": (HALVES, flat(PAIRS), "RoPE: interleaved to halves, 4 heads", ""),
    "square": (SQUARE, SQUARE.swapaxes(1, 2), "axes 1 and 2 swapped", ""),
    "heads": (Q, HEADS[:, :, [2, 0, 3, 1]].reshape(1, 10, 64),
              "4 heads in the order 1, 3, 0, 2", ""),
    "heads apart": (HEADS, HEADS[:, :, [2, 0, 3, 1]], "axis 2 in the order 1, 3, 0, 2", ""),
    "kv groups": (Q, Q.reshape(1, 10, 2, 4, 8).swapaxes(2, 3).reshape(1, 10, 64),
                  "8 heads in 4 groups, taken in turn", ""),
    "later": (Q, np.roll(Q, 1, 1), "candidate is shifted 1 later along axis 1", ""),
    "earlier": (Q, np.roll(Q, -1, 1), "candidate is shifted 1 earlier along axis 1", ""),
    "two later": (Q, np.roll(Q, 2, 1), "candidate is shifted 2 later along axis 1", ""),
    "batch": (Q, Q[0], "axes of size 1 dropped", ""),
    "batch of two": (Q[0], np.concatenate([Q, -Q]), "first of axis 0", ""),
    "last token": (Q[:, -1], Q, "the last token", ""),
    "last token of the reference": (Q, Q[:, -1], "the last token", ""),
    "last tokens": (Q[:, -3:], Q, "the last 3 tokens", ""),
    "gate and up": (Q, np.roll(Q, 32, -1), "halves of the last axis swapped", ""),
    "reversed": (Q, Q[:, ::-1], "axis 1 reversed", ""),
    "k of qkv by heads": (QKV[:, 1].reshape(10, 64), QKV.swapaxes(1, 2).reshape(10, 192),
                          "16:32 of each of 4 groups", "[:, 64:128]"),
    "qkv by heads": (QKV.reshape(10, 192), QKV.swapaxes(1, 2).reshape(10, 192),
                     "q, k, v: head by head to concatenated, 4 heads", ""),
    "not swapped": (Q, HEADS.swapaxes(1, 2).reshape(1, 10, 64),
                    "4 heads joined without being moved after the tokens", ""),
    "repeated kv": (Q, np.repeat(HEADS, 2, 2).reshape(1, 10, 128),
                    "0:16 of each of 4 groups", ""),
    "wrong slice": (QKV[:, 2].reshape(10, 64), QKV.reshape(10, 192), "last 64 of axis 1",
                    "[:, 0:64]"),
    "as it is": (Q, Q, "as it is", ""),
}  # fmt: skip


@pytest.mark.parametrize("noise", [0.0, 1e-6])
@pytest.mark.parametrize("name", CASES)
def test_the_layout_that_was_changed_is_ranked_first(
    tmp_path: Path, name: str, noise: float
) -> None:
    ref, cand, title, recipe = CASES[name]
    cand = cand + noise * np.random.default_rng(1).standard_normal(cand.shape).astype(np.float32)
    first, *others = ranked(tmp_path, ref, cand, right=recipe)
    assert first.proposal.title.endswith(title), [each.proposal for each in (first, *others[:3])]
    assert first.relative_l2 is not None and first.relative_l2 < 2e-6
    assert first.whole and first.tells and not first.note
    full = measure(applied(tmp_path, ref, cand, first.proposal))
    assert isinstance(full, Measurement) and full.relative_l2 is not None
    assert full.relative_l2 == pytest.approx(first.relative_l2, rel=1e-3, abs=1e-12)


def applied(folder: Path, ref: np.ndarray, cand: np.ndarray, found: Proposal) -> PairTask:
    task = task_of(folder, ref, cand)
    return PairTask(
        SideTask(task.reference.locator, task.reference.dtype, found.reference),
        SideTask(task.candidate.locator, task.candidate.dtype, found.candidate),
    )


def in_heads(x: np.ndarray, heads: int) -> np.ndarray:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


LARGE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "halves": (lambda x: np.roll(x, 1024, -1), "halves of the last axis swapped"),
    "rope": (lambda x: in_heads(x, 32).reshape(*x.shape[:2], 32, 2, 32).swapaxes(-1, -2)
             .reshape(x.shape), "RoPE: interleaved to halves, 32 heads"),
    "token": (lambda x: np.roll(x, -1, 1), "candidate is shifted 1 earlier along axis 1"),
    "heads": (lambda x: in_heads(x, 16)[:, :, [3, 1, 2, 0, *range(15, 3, -1)]].reshape(x.shape),
              "16 heads in the order 3, 1, 2, 0, 15, 14, 13, 12, ..."),
    "turned": (lambda x: x.transpose(2, 0, 1), "axes in the order 1, 2, 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large_tensors_are_sampled(tmp_path: Path, name: str) -> None:
    change, title = LARGE[name]
    first = ranked(tmp_path, BIG, change(BIG))[0]
    assert (first.proposal.title, first.relative_l2) == (title, 0.0)
    assert first.compared <= SAMPLE < first.count and not first.whole


def test_a_few_rows_among_zeros_are_looked_at(tmp_path: Path) -> None:
    sparse = np.zeros_like(BIG)
    sparse[1, 700:740] = BIG[1, 700:740]
    found = ranked(tmp_path, sparse, np.roll(sparse, 1, 1))
    assert found[0].proposal.title == "candidate is shifted 1 later along axis 1"
    assert found[0].relative_l2 == 0.0 and found[0].tells
    as_it_is = next(each for each in found if each.proposal.title == "as it is")
    assert (as_it_is.relative_l2 or 0) > 0.1


@pytest.mark.parametrize("shape", [(1, 64), (3, 64), (64, 7), (10, 64), (4, 10, 16), (200, 256)])
def test_unlike_values_are_not_sorted_into_likeness(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    ref, cand = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    best = ranked(tmp_path, ref, cand)[0]
    assert best.relative_l2 is not None and best.relative_l2 > 0.8
    near = ranked(tmp_path, ref, ref + 0.3 * cand)[0]
    assert near.proposal.title == "as it is"


@pytest.mark.parametrize("shape", [(64, 64), (2, 1100, 2048)])
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_reference_tells_nothing_and_says_so(
    tmp_path: Path, shape: tuple[int, ...], value: float
) -> None:
    same = np.full(shape, value, np.float32)
    found = ranked(tmp_path, same, same)
    assert found[0].proposal.title == "as it is"
    assert all(not each.tells and "the same value everywhere" in each.note for each in found)


def test_a_view_that_tells_nothing_is_ranked_behind_one_that_does(tmp_path: Path) -> None:
    cand = np.concatenate([np.zeros_like(Q), Q, -Q])
    ref = np.zeros_like(Q[0])
    ref[:5] = Q[0, :5]
    found = ranked(tmp_path, ref, cand)
    assert found[0].tells
    zeros = np.zeros((1, 10, 64), np.float32)
    (best, *_) = ranked(tmp_path, zeros, Q)
    assert best.relative_l2 is None and best.note == "the reference is all zeros"


def test_the_ranking_is_sorted_by_what_is_shown(tmp_path: Path) -> None:
    """Numbers that look unsorted would raise doubts about all of them."""
    rng = np.random.default_rng(8)
    for ref, cand in ((Q, Q[:, ::-1] + 0.3 * rng.standard_normal(Q.shape).astype(np.float32)),
                      (Q, rng.standard_normal(Q.shape).astype(np.float32))):  # fmt: skip
        found = ranked(tmp_path, ref, cand)
        errors = [each.shown for each in found]
        known = [error for error in errors if error is not None]
        assert len(known) > 10 and known == sorted(known)
        assert None not in errors[: len(known)]
        assert all(float(f"{error:.1e}") == error for error in known)
        for each in found[: len(known)]:
            assert each.shown == pytest.approx(each.error, rel=0.15)


def test_elements_on_one_side_only_are_part_of_the_number_that_is_shown(tmp_path: Path) -> None:
    spoiled = Q.copy()
    spoiled[0, 0] = np.nan
    (found, *_) = rank(task_of(tmp_path, Q, spoiled), [Proposal("as it is", "", "")])
    assert found.relative_l2 == 0.0 and found.error == pytest.approx(0.1**0.5, rel=0.05)


def test_nan_and_inf_at_the_same_places_are_part_of_the_pattern(tmp_path: Path) -> None:
    odd = HEADS.copy()
    odd[:, :, 1, 3], odd[:, :, 2, 4] = np.nan, np.inf
    cand = odd[:, :, [2, 0, 3, 1]].reshape(1, 10, 64)
    first = ranked(tmp_path, odd.reshape(1, 10, 64), cand)[0]
    assert first.proposal.title == "4 heads in the order 1, 3, 0, 2"
    assert (first.relative_l2, first.nonfinite) == (0.0, 0)
    nothing = np.full((3, 4), np.nan, np.float32)
    assert "no element finite" in ranked(tmp_path, nothing, nothing + 1)[0].note


@pytest.mark.parametrize(
    "dtype", ["int64", "int8", "bool", "complex64", "float64", "float16", "uint16"]
)
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    raw = RNG.integers(0, 200, (12, 32))
    values = (raw % 2 == 0) if dtype == "bool" else raw.astype(dtype)
    if dtype == "complex64":
        values = values + 1j * values[::-1]
    first = ranked(tmp_path, values, np.roll(values, 16, -1))[0]
    assert first.relative_l2 == 0.0 and first.proposal.candidate == "roll(16, 1)"


def test_dtypes_that_are_not_compared_and_the_cast_that_helps(tmp_path: Path) -> None:
    whole = RNG.integers(0, 200, (12, 32)).astype(np.int32)
    found = ranked(tmp_path, whole.astype(np.float32), whole)
    assert found[0].proposal.candidate == "cast(float32)" and found[0].relative_l2 == 0.0
    assert found[-1].relative_l2 is None and "a cast is needed" in found[-1].note


def test_rounding_to_the_coarser_dtype(tmp_path: Path) -> None:
    half = Q.astype(np.float16)
    first = ranked(tmp_path, Q, half)[0]
    assert (first.proposal.reference, first.relative_l2) == ("cast(float16)", 0.0)


def test_extreme_magnitudes(tmp_path: Path) -> None:
    for scale in (1e-300, 1e300):
        huge = Q.astype(np.float64) * scale
        assert ranked(tmp_path, huge, np.roll(huge, 32, -1))[0].relative_l2 == 0.0


SMALL = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6]), max_size=7).map(tuple)


@given(SMALL, SMALL)
@settings(max_examples=60, deadline=None)
def test_no_shape_raises(
    tmp_path_factory: pytest.TempPathFactory, ref: tuple[int, ...], cand: tuple[int, ...]
) -> None:
    folder = tmp_path_factory.mktemp("shapes")
    sides = (RNG.standard_normal(shape).astype(np.float32) for shape in (ref, cand))
    for each in ranked(folder, *sides):
        assert (each.error is None) == (each.relative_l2 is None or not each.tells)
        assert each.relative_l2 is not None or each.note


def test_bad_recipes_are_said_in_words(tmp_path: Path) -> None:
    task = task_of(tmp_path, Q, Q)
    texts = ["nope(1)", "squeeze(5)", "[0:1] | reshape(3)", 'concat(0, "gone")', "shift(99, 1)",
             "shift(1, 1) | flip(0)", "reshape(0, 4611686018427387904)", "cast(int8)",
             "select(0, 0)", "index_select(2, [])", "[:, 4611686018427387904:]"]  # fmt: skip
    found = rank(task, [Proposal(text, "", text) for text in texts])
    assert all(each.relative_l2 is None and each.note for each in found), found
    assert len(found) == len(texts)


def test_it_can_be_stopped_and_tells_how_far_it_is(tmp_path: Path) -> None:
    task, told = task_of(tmp_path, Q, Q), list[tuple[int, int]]()
    proposals = propose(Q.shape, Q.shape)
    rank(task, proposals, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    for limit in (0, 1, 5, 30):
        calls = iter(range(10_000))
        with pytest.raises(CancelledError):
            rank(task, proposals, cancelled=lambda c=calls, n=limit: next(c) >= n)


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    task = task_of(tmp_path, Q, Q)
    os.truncate(task.candidate.locator.path, 100)
    with pytest.raises(SideError, match="truncated") as caught:
        rank(task, propose(Q.shape, Q.shape))
    assert caught.value.side == "candidate"


def test_two_gigabytes_are_never_loaded(tmp_path: Path) -> None:
    shape = (1, 4096, 128_000)
    sides: list[SideTask] = []
    for name in ("ref", "cand"):
        path = tmp_path / name
        path.touch()
        os.truncate(path, 4 * int(np.prod(shape)))
        sides.append(SideTask(Locator(str(path), "float32", shape), "float32"))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = rank(PairTask(*sides), propose(shape, shape))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(found) > 20 and grown < 400_000, grown  # kilobytes
    assert time.process_time() - start < 120


def partial_dump(folder: Path, values: np.ndarray) -> None:
    """The first and last 200 elements, as a C++ engine prints them."""
    shape, found = "x".join(map(str, values.shape)), values.reshape(-1)
    lines = ["# Tensor: final_norm_output", f"# Shape: {shape}", f"# Total elements: {found.size}",
             "# Data type size: 4 bytes", "# First 200 elements:", *map(repr, found[:200].tolist()),
             "# Last 200 elements:", *map(repr, found[-200:].tolist())]  # fmt: skip
    folder.mkdir()
    (folder / "py_final_norm_output.txt").write_text("\n".join(lines) + "\n")


def test_partial_dumps_are_compared_on_what_both_show(tmp_path: Path) -> None:
    sides: list[Path] = [tmp_path / "a", tmp_path / "b"]
    for folder, values in zip(sides, (Q, np.roll(Q, 1, 1)), strict=True):
        partial_dump(folder, values)
    found = Comparison(*(open_capture(str(folder)) for folder in sides))
    task, hints = prepare(found, found.rows[0])
    assert task.reference.partial
    first = rank(task, propose(Q.shape, Q.shape, "", "", hints), hints=hints)[0]
    assert (first.proposal.candidate, first.relative_l2) == ("shift(1, 1)", 0.0)
    assert (first.compared, first.count) == (272, 576)
    apart = rank(task, [Proposal("middle", "[:, 4:6]", "[:, 4:6]")])[0]
    assert apart.relative_l2 is None and "no element that both dumps show" in apart.note


def test_a_comparison_s_pair_brings_its_hints(tmp_path: Path) -> None:
    """q, k and v of one side are joined, which the other side runs as one under no known name."""
    q, k, v = (RNG.standard_normal((10, n)).astype(np.float32) for n in (64, 32, 32))
    left = {"layers.0.self_attn.odd-output": np.concatenate([q, k, v], -1)}
    right = {f"layers.0.self_attn.{name}-output": x for name, x in
             (("first", q), ("second", k), ("third", v),
              ("rotary", HEADS[0].swapaxes(0, 1)))}  # fmt: skip
    found = Comparison(saved(tmp_path / "ref", left), saved(tmp_path / "cand", right))
    found.repair([HandPair("layers.0.self_attn.odd-output", "layers.0.self_attn.first-output")])
    row = next(row for row in found.rows if row.matched_by == "hand")
    assert row.problem_level == "shape"
    task, hints = prepare(found, row)
    assert hints.heads == (4,)
    assert [name for name, _ in hints.candidate_siblings] == [
        f"layers.0.self_attn.{name}-output" for name in ("second", "third", "rotary")
    ]
    assert row.reference and row.candidate and row.reference.shape and row.candidate.shape
    proposals = propose(row.reference.shape, row.candidate.shape, "", "", hints)
    exact = [each for each in rank(task, proposals, hints=hints) if each.relative_l2 == 0.0]
    assert {each.proposal.title for each in exact[:2]} == {
        "reference: first 64 of axis 1",
        "joined with layers.0.self_attn.second-output, layers.0.self_attn.third-output",
    }
