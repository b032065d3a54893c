"""`[batch, tokens, wide]` against `[tokens, batch, wide]` where both are of one length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison

Tensors = dict[str, np.ndarray]
PARTS = ("input_layernorm", "self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj", "")


def run(length: int, layers: int = 3, wide: int = 16) -> Tensors:
    rng = np.random.default_rng(length)
    names = ["model.embed_tokens"]
    for layer in range(layers):
        names += [f"model.layers.{layer}.{part}".rstrip(".") for part in PARTS]
    found = {n: rng.standard_normal((length, length, wide)).astype(np.float32) for n in names}
    ids = rng.integers(0, 99, (length, length))
    return {"input_ids": ids, **found, "lm_head": rng.standard_normal((length, length, 40))}


def exchanged(values: Tensors) -> Tensors:
    return {name: np.ascontiguousarray(each.swapaxes(0, 1)) for name, each in values.items()}


def compared(path: Path, left: Tensors, right: Tensors) -> Comparison:
    for name, tensors in (("ref", left), ("cand", right)):
        (path / name).mkdir(parents=True)
        np.savez(path / name / "run.npz", **tensors)  # type: ignore[arg-type]
    found = open_comparison(str(path / "ref"), str(path / "cand"))
    assert found.measure(use_cache=False, threads=1)
    return found


@pytest.mark.parametrize("length", [2, 3, 8])
@pytest.mark.parametrize("rename", [str, lambda name: f"LlamaForCausalLM.{name}"])
def test_values_tell_which_axis_is_the_batch(tmp_path: Path, length: int, rename: type) -> None:
    right = {rename(name): values for name, values in exchanged(run(length)).items()}
    found = compared(tmp_path, run(length), right)
    assert found.exit_status() == 0, found.outcome().reasons
    assert {v.level for v in found.verdicts} == {"identical"}
    assert any("values show" in note.text for note in found.aligned.notes)


def test_a_fault_is_seen_through_the_exchange(tmp_path: Path) -> None:
    right = exchanged(run(4))
    right["model.layers.1.self_attn.q_proj"] *= np.float32(1.2)
    first = compared(tmp_path, run(4), right).first_divergence()
    assert first is not None and first.module == "layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    "names", [["model.layers.1.mlp.down_proj"], ["model.embed_tokens", "model.layers.2"]]
)
def test_some_records_alone_are_not_exchanged(tmp_path: Path, names: list[str]) -> None:
    right = run(4)
    for name in names:
        right[name] = np.ascontiguousarray(right[name].swapaxes(0, 1))
    found = compared(tmp_path, run(4), right)
    assert found.exit_status() == 1
    assert not any("values show" in note.text for note in found.aligned.notes)


def test_equal_lengths_alone_change_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, run(4), run(4))
    assert found.exit_status() == 0 and not any(row.recipe_candidate for row in found.rows)


def test_shapes_that_no_rule_brings_together_are_told_by_values(tmp_path: Path) -> None:
    """Heads in front of all, and the channels of a head before the tokens."""
    left, right = run(5), run(5)
    rng = np.random.default_rng(1)
    for name in [name for name in left if "q_proj" in name]:
        left[name] = rng.standard_normal((2, 7, 12)).astype(np.float32)
        apart = left[name].reshape(2, 7, 3, 4).transpose(2, 0, 3, 1)
        right[name] = np.ascontiguousarray(apart)
    found = compared(tmp_path / "same", left, right)
    assert found.exit_status() == 0, found.outcome().reasons
    told = [row for row in found.rows if "by values" in row.how]
    assert len(told) == 3 and all(row.matched_by == "name" for row in told)
    right["model.layers.1.self_attn.q_proj"] *= np.float32(1.2)
    found = compared(tmp_path / "wrong", left, right)
    assert found.exit_status() == 1
    bad = [row.canonical for row, v in zip(found.rows, found.verdicts, strict=True) if v.fails]
    assert bad == ["layers.1.self_attn.q_proj"]
