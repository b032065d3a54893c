"""A capture of some tokens beside one of all of them, or of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layertui.capture import record
from layertui.capture.records import Record
from layertui.capture.token_places import TokenPlaces
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.matching.call_match import view_of
from layertui.compare.matching.named_records import Item
from layertui.compare.matching.token_view import tokens_view
from layertui.compare.model import Measurement
from layertui.compare.recipes.common_view import common_view

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTH = 24


def llama() -> Any:
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


def captured(folder: Path, model: Any, **options: Any) -> str:
    ids = torch.randint(0, 96, (1, LENGTH), generator=torch.manual_seed(1))
    with torch.no_grad(), record(model, folder, **options):
        model(input_ids=ids)
    return str(folder)


def compared(*sides: str) -> Comparison:
    found = open_comparison(*sides)
    assert found.measure(use_cache=False)
    return found


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [("last:6", None), (None, "last:6"), (None, "0:6"), (None, "every:7"), ("0:16", "8:20"),
     ("every:4", "every:4")],
)  # fmt: skip
def test_the_tokens_that_both_have_are_compared(
    tmp_path: Path, reference: str | None, candidate: str | None
) -> None:
    sides = [
        captured(tmp_path / name, llama(), tokens=tokens)
        for name, tokens in (("reference", reference), ("candidate", candidate))
    ]
    found = compared(*sides)
    assert all(row.kind == "pair" and row.problem is None for row in found.rows)
    assert all(isinstance(m, Measurement) and m.max_abs == 0 for m in found.measurements)
    assert found.first_divergence() is None and found.exit_status() == 0


def test_a_fault_is_found_in_the_last_tokens(tmp_path: Path) -> None:
    wrong = llama()
    with torch.no_grad():
        wrong.model.layers[1].mlp.down_proj.weight.mul_(1.05)
    first = compared(
        captured(tmp_path / "reference", llama()),
        captured(tmp_path / "candidate", wrong, tokens="last:6"),
    ).first_divergence()
    assert first is not None and first.module == "layers.1.mlp.down_proj"


def test_parts_without_a_common_token_are_not_compared(tmp_path: Path) -> None:
    found = compared(
        captured(tmp_path / "reference", llama(), tokens="0:4"),
        captured(tmp_path / "candidate", llama(), tokens="last:4"),
    )
    assert found.exit_status() == 1
    row = next(row for row in found.rows if row.canonical == "layers.0.mlp")
    assert row.problem is not None or row.kind != "pair"


def test_positions_that_only_the_whole_run_tells_are_not_blamed(tmp_path: Path) -> None:
    """Without position ids the tables of the last tokens look like those of other positions."""
    keep = {"exclude": lambda name, _: False, "inputs": False}
    found = compared(
        captured(tmp_path / "reference", llama(), tokens="last:6", **keep),
        captured(tmp_path / "candidate", llama(), **keep),
    )
    assert found.first_divergence() is None


def places(axis: int, first: int, end: int, stride: int = 1, count: int = 10) -> TokenPlaces:
    return TokenPlaces(axis, first, end, stride, count)


@pytest.mark.parametrize(
    ("reference", "candidate", "recipes"),
    [
        (((1, 4, 8), places(1, 6, 10)), ((1, 10, 8), None), ("", "[:, 6:10]")),
        (((1, 4, 8), places(1, 6, 10)), ((10, 8), None), ("squeeze(0)", "[6:10]")),
        (((1, 10, 8), None), ((3, 8), places(0, 0, 9, 4)), ("[:, 0:9:4] | squeeze(0)", "")),
        (((1, 6, 8), places(1, 0, 6)), ((1, 6, 8), places(1, 4, 10)), ("[:, 4:6]", "[:, 0:2]")),
    ],
)
def test_recipes(reference: Any, candidate: Any, recipes: tuple[str, str]) -> None:
    found = tokens_view(reference, candidate, common_view)
    assert found is not None
    assert (str(found.reference), str(found.candidate)) == recipes


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (((1, 4, 8), places(1, 0, 4)), ((1, 4, 8), places(1, 6, 10))),
        (((1, 4, 8), places(1, 0, 4)), ((1, 4, 8), places(1, 2, 6, count=8))),
        (((1, 3, 8), places(1, 0, 9, 4)), ((1, 3, 8), places(1, 1, 10, 4))),
    ],
)
def test_other_tokens_are_no_pair_though_their_shapes_fit(reference: Any, candidate: Any) -> None:
    assert tokens_view(reference, candidate, common_view) is None


@pytest.mark.parametrize(
    ("known", "recipe"), [(places(1, 6, 10), "[:, -1]"), (places(1, 0, 4), None),
                          (places(1, 0, 9, 4), None)],
)  # fmt: skip
def test_the_last_token_alone_is_no_other_one(known: TokenPlaces, recipe: str | None) -> None:
    """An engine that keeps the last token's logits, beside a capture that may not have it."""
    size = len(known.places)
    one, other = (Item(record, 0, "lm_head", "output", "output", "lm_head", 0, 1)
                  for record in (logits((1, size, 96), known), logits((1, 96), None)))  # fmt: skip
    found = view_of(one, other, last_rows=True)
    assert (None if found is None else str(found.reference)) == recipe
    mirrored = view_of(other, one, last_rows=True)
    assert (None if mirrored is None else str(mirrored.candidate)) == recipe


def logits(shape: tuple[int, ...], known: TokenPlaces | None) -> Record:
    return Record("lm_head-output", "lm_head", "output", shape=shape, dtype="float32", tokens=known)
