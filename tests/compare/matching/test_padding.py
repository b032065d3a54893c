"""Padded batches against ragged ones and against other padding: tokens face tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.capture.open import open_capture
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.align import align
from layertui.compare.matching.token_facts import kind_of_tokens, paddings

LENGTHS = (5, 8, 3)
LONGEST = 8
WIDTH, HEADS = 12, 3
Arrays = dict[str, np.ndarray]


def ragged() -> Arrays:
    """What an engine without padding records: `[tokens, features]`."""
    rng = np.random.default_rng(5)
    tokens = sum(LENGTHS)
    names = ["model.embed_tokens", "model.layers.0.self_attn.o_proj", "model.layers.0", "lm_head"]
    return {name: rng.standard_normal((tokens, WIDTH)).astype(np.float32) for name in names}


def kept(left: bool, longest: int = LONGEST) -> np.ndarray:
    mask = np.zeros((len(LENGTHS), longest), np.int64)
    for row, length in enumerate(LENGTHS):
        mask[row, longest - length if left else 0 : longest if left else length] = 1
    return mask


def padded(arrays: Arrays, left: bool = False, longest: int = LONGEST) -> Arrays:
    """The same as a batch; noise where there is no token."""
    mask = kept(left, longest).astype(bool)
    rng = np.random.default_rng(6)
    found: Arrays = {}
    for name, array in arrays.items():
        full = rng.standard_normal((*mask.shape, *array.shape[1:])).astype(np.float32) * 100
        full[mask] = array
        found[name] = full
    return found


def saved(folder: Path, arrays: Arrays) -> str:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return str(folder)


def compared(tmp_path: Path, reference: Arrays, candidate: Arrays) -> Comparison:
    found = open_comparison(
        saved(tmp_path / "reference", reference), saved(tmp_path / "candidate", candidate)
    )
    found.measure(use_cache=False, threads=1)
    return found


def verdicts(found: Comparison) -> dict[str, str]:
    return {
        row.canonical: verdict.level
        for row, verdict in zip(found.rows, found.verdicts, strict=True)
        if row.kind == "pair"
    }


MASKS = {
    "attention_mask": lambda left: kept(left),
    "input_mask": lambda left: kept(left).astype(np.float32),
    "key_padding_mask": lambda left: kept(left) == 0,
    "model-input_attention_mask": lambda left: np.where(
        kept(left)[:, None, None, :] * np.tril(np.ones((LONGEST, LONGEST)))[None, None] > 0,
        0.0, np.finfo(np.float32).min,
    ).astype(np.float32),
}  # fmt: skip


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_padding_is_left_out_as_a_mask_says(tmp_path: Path, name: str, left: bool) -> None:
    arrays = ragged()
    batch = {name: MASKS[name](left), **padded(arrays, left)}
    found = compared(tmp_path, batch, arrays)
    assert set(verdicts(found).values()) == {"identical"}
    assert len(verdicts(found)) == 4
    assert any("16 of 24 tokens" in note for note in found.notes("reference"))
    assert found.exit_status() == 0


def test_a_fault_in_a_token_is_seen_and_its_place_told(tmp_path: Path) -> None:
    arrays = ragged()
    batch = {"attention_mask": kept(True), **padded(arrays, True)}
    wrong = {**arrays, "model.layers.0": arrays["model.layers.0"].copy()}
    wrong["model.layers.0"][6] += 1
    found = compared(tmp_path, batch, wrong)
    assert {name for name, level in verdicts(found).items() if level == "diverged"} == {"layers.0"}


def test_the_candidate_may_be_the_padded_one(tmp_path: Path) -> None:
    arrays = ragged()
    found = compared(tmp_path, arrays, {"attention_mask": kept(False), **padded(arrays)})
    assert set(verdicts(found).values()) == {"identical"}


def test_two_paddings_of_one_batch(tmp_path: Path) -> None:
    arrays = ragged()
    ours = {"attention_mask": kept(False), **padded(arrays)}
    theirs = {"attention_mask": kept(True, 10), **padded(arrays, True, 10)}
    found = compared(tmp_path, ours, theirs)
    pairs = verdicts(found)
    assert set(pairs.values()) == {"identical"} and len(pairs) == 5


def test_heads_between_sequences_and_tokens(tmp_path: Path) -> None:
    arrays = ragged()
    batch = padded(arrays)
    name = "model.layers.0.self_attn.o_proj"
    heads = batch[name].reshape(len(LENGTHS), LONGEST, HEADS, -1).transpose(0, 2, 1, 3)
    batch = {"attention_mask": kept(False), **batch, name: np.ascontiguousarray(heads)}
    assert set(verdicts(compared(tmp_path, batch, arrays)).values()) == {"identical"}


def test_logits_of_last_tokens_only(tmp_path: Path) -> None:
    arrays = ragged()
    batch = {"attention_mask": kept(False), **padded(arrays)}
    last = np.cumsum(LENGTHS) - 1
    found = compared(tmp_path, batch, {**arrays, "lm_head": arrays["lm_head"][last]})
    assert set(verdicts(found).values()) == {"identical"} and len(verdicts(found)) == 4


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seq_lens", (8, 5, 3)), ("cu_seqlens_q", (0, 8, 13, 16)),
        ("query_start_loc", (0, 8, 13, 16)),
    ],
)  # fmt: skip
def test_sequences_in_another_order_are_said_and_not_paired(
    tmp_path: Path, name: str, values: tuple[int, ...]
) -> None:
    arrays = ragged()
    batch = {"attention_mask": kept(False), **padded(arrays)}
    found = compared(tmp_path, batch, {name: np.array(values, np.int32), **arrays})
    assert "8, 5, 3" in " ".join(found.notes("reference"))
    assert set(verdicts(found).values()) == {"shape"}


def test_lengths_that_agree_change_nothing(tmp_path: Path) -> None:
    arrays = ragged()
    batch = {"attention_mask": kept(False), **padded(arrays)}
    lengths = np.array(LENGTHS, np.int32)
    found = compared(tmp_path, batch, {"seq_lens": lengths, **arrays})
    assert set(verdicts(found).values()) == {"identical"}


def test_another_number_of_tokens_is_no_padding(tmp_path: Path) -> None:
    arrays = ragged()
    batch = {"attention_mask": kept(False), **padded(arrays)}
    fewer = {name: array[:-1] for name, array in arrays.items()}
    found = compared(tmp_path, batch, fewer)
    assert set(verdicts(found).values()) == {"shape"}
    assert not any("padding" in note for note in found.notes("reference"))


def test_a_mask_without_padding_and_one_that_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "side"
    saved(folder, {"attention_mask": np.ones((2, 4), np.int64), "a": np.zeros((2, 4, 3))})
    assert paddings(open_capture(str(folder)).records) == {}
    (folder / "attention_mask.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert paddings(open_capture(str(folder)).records) == {}


def test_padding_alike_on_both_sides_stays(tmp_path: Path) -> None:
    batch = {"attention_mask": kept(False), **padded(ragged())}
    sides = [saved(tmp_path / name, batch) for name in ("reference", "candidate")]
    rows = align(*(open_capture(side) for side in sides)).rows
    assert {row.recipe_reference + row.recipe_candidate for row in rows} == {""}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("attention_mask", "mask"), ("model.input_attention_mask", "mask"), ("attn_mask", "mask"),
        ("key_padding_mask", "inverted mask"), ("cu_seqlens", "offsets"),
        ("cu_seq_lens_k", "offsets"), ("seqlens_k", "lengths"), ("sequence_lengths", "lengths"),
        ("input_ids", "ids"), ("input_input_ids", "ids"), ("position_ids", "positions"),
        ("q_proj", None), ("causal_mask_4d_full_thing", None), ("lengthy", None),
    ],
)  # fmt: skip
def test_names_of_what_tells_about_tokens(name: str, kind: str | None) -> None:
    assert kind_of_tokens(name) == kind
