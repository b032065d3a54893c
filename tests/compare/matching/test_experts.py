"""Experts' weights in one tensor and one by one, in the layouts of several engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from layertui.compare.comparison import Comparison, open_comparison

EXPERTS, WIDE, HIDDEN = 4, 12, 16
Tensors = dict[str, np.ndarray]


def apart() -> Tensors:
    """Two layers as transformers' checkpoints have them, one expert after the other."""
    rng = np.random.default_rng(0)
    found: Tensors = {}
    for layer in range(2):
        at = f"model.layers.{layer}."
        sizes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "mlp.gate": (EXPERTS, HIDDEN)}
        for expert in range(EXPERTS):
            for name in ("gate_proj", "up_proj"):
                sizes[f"mlp.experts.{expert}.{name}"] = (WIDE, HIDDEN)
            sizes[f"mlp.experts.{expert}.down_proj"] = (HIDDEN, WIDE)
        for name, size in sizes.items():
            found[f"{at}{name}.weight"] = rng.standard_normal(size).astype(np.float32)
    return found


def together(tensors: Tensors, make: Callable[[str, Tensors], Tensors]) -> Tensors:
    """The same with every layer's experts put together by `make`."""
    found = {name: values for name, values in tensors.items() if "experts" not in name}
    for layer in range(2):
        at = f"model.layers.{layer}.mlp.experts."
        parts = {
            part: np.stack([tensors[f"{at}{e}.{part}_proj.weight"] for e in range(EXPERTS)])
            for part in ("gate", "up", "down")
        }
        found |= make(at, parts)
    return found


def fused(at: str, parts: Tensors) -> Tensors:
    both = np.concatenate([parts["gate"], parts["up"]], 1)
    return {f"{at}gate_up_proj": both, f"{at}down_proj": parts["down"]}


def swapped(at: str, parts: Tensors) -> Tensors:
    return {name: values.transpose(0, 2, 1) for name, values in fused(at, parts).items()}


def vllm(at: str, parts: Tensors) -> Tensors:
    one, two = fused(at, parts).values()
    return {f"{at}w13_weight": one, f"{at}w2_weight": two}


def stacked(at: str, parts: Tensors) -> Tensors:
    return {f"{at}{name}_proj.weight": values for name, values in parts.items()}


def each_fused(at: str, parts: Tensors) -> Tensors:
    both, down = fused(at, parts).values()
    found = {f"{at}{e}.gate_up_proj.weight": both[e] for e in range(EXPERTS)}
    return found | {f"{at}{e}.down_proj.weight": down[e] for e in range(EXPERTS)}


def interleaved(at: str, parts: Tensors) -> Tensors:
    """gpt-oss, whose gate and up take turns."""
    both = np.stack([parts["gate"], parts["up"]], 2).reshape(EXPERTS, 2 * WIDE, HIDDEN)
    return {
        f"{at}gate_up_proj": both.transpose(0, 2, 1), f"{at}down_proj":
        parts["down"].transpose(0, 2, 1), f"{at}gate_up_proj_bias":
        np.zeros((EXPERTS, 2 * WIDE), np.float32),
    }  # fmt: skip


FORMS = [fused, swapped, vllm, stacked, interleaved]


def compared(path: Path, left: Tensors, right: Tensors) -> Comparison:
    for name, tensors in (("ref", left), ("cand", right)):
        (path / name).mkdir(parents=True)
        whole = {key: np.ascontiguousarray(values) for key, values in tensors.items()}
        save_file(whole, str(path / name / "model.safetensors"))
    found = open_comparison(str(path / "ref"), str(path / "cand"))
    assert found.measure(use_cache=False, threads=1)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_experts_together_meet_experts_apart(
    tmp_path: Path, form: Callable[[str, Tensors], Tensors]
) -> None:
    one, other = apart(), together(apart(), form)
    for number, sides in enumerate([(one, other), (other, one)]):
        found = compared(tmp_path / f"{number}", *sides)
        assert found.exit_status() == 0 and found.counts.pairs == len(one)
        gaps = found.counts.gaps_reference + found.counts.gaps_candidate
        assert gaps == 2 * (form is interleaved)  # the biases
    wrong = {**one, "model.layers.1.mlp.experts.2.up_proj.weight":
             one["model.layers.1.mlp.experts.2.up_proj.weight"] * np.float32(1.2)}  # fmt: skip
    found = compared(tmp_path / "wrong", other, wrong)
    first = found.first_divergence()
    assert first is not None and first.module == "layers.1.mlp.experts.2.up_proj.weight"


@pytest.mark.parametrize(("left", "right"), [(fused, stacked), (stacked, each_fused)])
def test_forms_of_experts_against_each_other(
    tmp_path: Path, left: Callable[[str, Tensors], Tensors],
    right: Callable[[str, Tensors], Tensors],
) -> None:  # fmt: skip
    found = compared(tmp_path, together(apart(), left), together(apart(), right))
    assert found.exit_status() == 0
    assert found.counts.pairs >= 4 + 2 * 2


def test_sizes_that_do_not_fit_make_no_pair(tmp_path: Path) -> None:
    other = together(apart(), fused)
    for name in list(other):
        if "experts" in name:
            other[name] = other[name][:, 1:]
    found = compared(tmp_path, apart(), other)
    assert found.counts.pairs == 4
