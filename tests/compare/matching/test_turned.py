"""As many heads as tokens, or rows as tokens: which way round axes stand, values tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison

HEADS, SIZE, LAYERS = 4, 8, 3
SLOTS = ("q_norm", "k_norm", "o_proj")


def values(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def write(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, tensor in tensors.items():
        np.save(folder / f"{name}-output.npy", tensor)
    (folder / "tensor_names.txt").write_text("".join(f"{name}-output\n" for name in tensors))
    return folder


def tensors_of(tokens: int, heads: int) -> dict[str, np.ndarray]:
    found = {}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        for number, name in enumerate(SLOTS):
            shape = (1, tokens, heads * SIZE) if name == "o_proj" else (1, tokens, heads, SIZE)
            found[at + name] = values(10 * layer + number, *shape)
    return found


def compared(reference: Path, candidate: Path) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate))
    comparison.measure(use_cache=False, threads=1)
    return comparison


def levels(comparison: Comparison) -> dict[str, str]:
    return {row.canonical: comparison.verdicts[row.index].level for row in comparison.rows}


def turned(comparison: Comparison) -> set[str]:
    return {row.canonical for row in comparison.rows
            if "transpose" in row.recipe_reference + row.recipe_candidate}  # fmt: skip


@pytest.mark.parametrize("tokens", [HEADS, HEADS + 1])
def test_heads_first_on_one_side(tokens: int, tmp_path: Path) -> None:
    """The same whether sizes tell it or values do; a fault elsewhere changes nothing of it."""
    good = tensors_of(tokens, HEADS)
    other = {name: np.ascontiguousarray(np.swapaxes(tensor, 1, 2)) if tensor.ndim == 4 else tensor
             for name, tensor in good.items()}  # fmt: skip
    other["model.layers.1.self_attn.o_proj"] = other["model.layers.1.self_attn.o_proj"] * 1.5
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", other))
    wrong = "layers.1.self_attn.o_proj"
    assert {name for name, level in levels(comparison).items() if level != "identical"} == {wrong}
    assert turned(comparison) == {
        f"layers.{layer}.self_attn.{name}" for layer in range(LAYERS) for name in SLOTS[:2]
    }
    how = next(row.how for row in comparison.rows if row.canonical.endswith("q_norm"))
    assert ("by values" in how) == (tokens == HEADS)


def test_a_wrong_tensor_is_seen_the_way_round_that_the_others_are(tmp_path: Path) -> None:
    good = tensors_of(HEADS, HEADS)
    other = {name: np.ascontiguousarray(np.swapaxes(tensor, 1, 2)) if tensor.ndim == 4 else tensor
             for name, tensor in good.items()}  # fmt: skip
    wrong = "model.layers.0.self_attn.k_norm"
    other[wrong] = values(99, 1, HEADS, HEADS, SIZE)
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", other))
    first = comparison.first_divergence()
    assert first is not None and first.module == "layers.0.self_attn.k_norm"
    assert "layers.0.self_attn.k_norm" in turned(comparison)


def test_one_layer_the_other_way_round_is_a_fault(tmp_path: Path) -> None:
    good = tensors_of(HEADS, HEADS)
    wrong = "model.layers.2.self_attn.q_norm"
    other = {**good, wrong: np.ascontiguousarray(np.swapaxes(good[wrong], 1, 2))}
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", other))
    assert turned(comparison) == set()
    assert levels(comparison)["layers.2.self_attn.q_norm"] == "diverged"
    assert comparison.exit_status() == 1


def test_values_that_have_nothing_in_common_stay_as_they_are(tmp_path: Path) -> None:
    good = tensors_of(HEADS, HEADS)
    other = {name: values(500 + n, *t.shape) for n, (name, t) in enumerate(good.items())}
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", other))
    assert turned(comparison) == set() and comparison.exit_status() == 1


def test_batch_and_tokens_in_the_other_order(tmp_path: Path) -> None:
    """`[tokens, batch, features]` against `[batch, tokens, features]`, four of each."""
    good = {f"model.layers.{n}.mlp": values(n, 4, 4, 16) for n in range(3)}
    other = {name: np.ascontiguousarray(np.swapaxes(t, 0, 1)) for name, t in good.items()}
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", other))
    assert set(levels(comparison).values()) == {"identical"}
    assert len(turned(comparison)) == 3


def batches(batch: int, tokens: int) -> dict[str, np.ndarray]:
    return {
        f"model.layers.{layer}.{name}": values(10 * layer + number, batch, tokens, 16)
        for layer in range(LAYERS)
        for number, name in enumerate(("input_layernorm", "self_attn", "mlp"))
    }


def exchanged(tensor: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(tensor, 0, 1))


def reshaped(tensor: np.ndarray) -> np.ndarray:
    return tensor.reshape(tensor.shape[1], tensor.shape[0], *tensor.shape[2:])


@pytest.mark.parametrize("other", [exchanged, reshaped])
def test_values_tell_a_reshape_from_a_transpose(
    other: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    good = batches(2, 10)
    sides = {name: other(tensor) for name, tensor in good.items()}
    sides["model.layers.1.mlp"] = sides["model.layers.1.mlp"] * 1.5
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", sides))
    found = levels(comparison)
    assert found.pop("layers.1.mlp") == "diverged"
    assert set(found.values()) == {"identical"}
    assert turned(comparison) == (set() if other is reshaped else set(levels(comparison)))
    said = {"heads moved" in row.how for row in comparison.rows}
    assert said == {other is exchanged}


@pytest.mark.parametrize(("wrong", "level"), [("mlp", "diverged"), ("self_attn", "ok")])
def test_one_kind_of_record_that_is_reshaped_where_the_rest_is_transposed_is_said(
    wrong: str, level: str, tmp_path: Path
) -> None:
    """What is made of it agrees in one case: then it is another layout, and passes as that."""
    good = batches(2, 10)
    sides = {name: reshaped(tensor) if name.endswith(wrong) else exchanged(tensor)
             for name, tensor in good.items()}  # fmt: skip
    comparison = compared(write(tmp_path / "a", good), write(tmp_path / "b", sides))
    for module, found in levels(comparison).items():
        assert found == (level if module.endswith(wrong) else "identical"), module
    others = {row.canonical for row in comparison.rows
              if comparison.verdicts[row.index].permuted}  # fmt: skip
    assert len(others) == (LAYERS if level == "ok" else 0)
