"""Backward passes of real torch models: gradients are judged in the order of the backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from layertui.capture import record
from layertui.compare.comparison import Comparison, open_comparison
from support.tiny_checkpoints import llama_config

IDS = [[3, 40, 41, 42, 50, 60, 70, 80]]


class Scaled(torch.autograd.Function):
    """Returns what it is given; its gradient is off by 5 %."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * 1.05


def llama(attention: str) -> torch.nn.Module:
    config = llama_config()
    config.num_hidden_layers = 4
    config._attn_implementation = attention
    return transformers.LlamaForCausalLM(config)


def gpt2(attention: str) -> torch.nn.Module:
    config = transformers.GPT2Config(
        vocab_size=320, n_embd=64, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=1
    )
    config._attn_implementation = attention
    return transformers.GPT2LMHeadModel(config)


def backward(
    folder: Path, kind: Any = llama, attention: str = "eager", wrong: str | None = None,
    dtype: torch.dtype = torch.float32, inputs: bool = True,
) -> str:  # fmt: skip
    """A recorded forward and backward pass; the module `wrong` hands on a wrong gradient."""
    torch.manual_seed(0)
    model = kind(attention).to(dtype).eval()
    if wrong is not None:
        module = model.get_submodule(wrong)
        given = module.forward
        module.forward = lambda x: given(Scaled.apply(x))
    ids = torch.tensor(IDS)
    with record(model, folder, gradients=True, inputs=inputs):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return str(folder)


def compared(reference: str, candidate: str) -> Comparison:
    comparison = open_comparison(reference, candidate)
    comparison.measure(use_cache=False)
    return comparison


def made(comparison: Comparison) -> list[str]:
    """The rows where an error was made, in execution order."""
    return [
        row.label
        for row in comparison.rows
        if comparison.verdicts[row.index].origin == "made" and comparison.verdicts[row.index].fails
    ]


def test_backward_passes_align_output_side_first(tmp_path: Path) -> None:
    found = compared(backward(tmp_path / "a"), backward(tmp_path / "b"))
    assert {row.kind for row in found.rows} == {"pair"}
    assert found.order.same is True and not found.failing
    gradients = [row for row in found.rows if row.role == "grad_output"]
    modules = [row.canonical for row in gradients]
    assert len(gradients) > 50 and modules[0] == "model"
    layers = [modules.index(f"layers.{number}") for number in (3, 2, 1, 0)]
    assert layers == sorted(layers)
    assert min(row.index for row in gradients) > max(
        row.index for row in found.rows if row.role == "output"
    )


@pytest.mark.parametrize(
    ("kind", "wrong", "first"),
    [
        (llama, "model.layers.2.mlp.down_proj", "layers.2.mlp.up_proj-grad_output"),
        (llama, "model.layers.3.input_layernorm", "layers.2-grad_output"),
        (llama, "model.layers.1.self_attn.o_proj", "layers.1.self_attn-grad_output_1"),
        (llama, "lm_head", "norm-grad_output"),
        (gpt2, "transformer.h.1.mlp.c_proj", "layers.1.mlp.act_fn-grad_output"),
    ],
)
def test_a_wrong_backward_of_one_layer_is_the_only_finding(
    kind: Any, wrong: str, first: str, tmp_path: Path
) -> None:
    """The gradient that the wrong module hands on is the first that differs; all that come later
    only inherit it, though each differs and the forward passes are equal.
    """
    found = compared(backward(tmp_path / "a", kind), backward(tmp_path / "b", kind, wrong=wrong))
    divergence = found.first_divergence()
    assert divergence is not None
    assert found.rows[divergence.index].label == first
    assert "gradients before it are identical" in divergence.reason
    assert made(found) == [first] and len(found.failing) > 3
    assert all(found.rows[index].role == "grad_output" for index in found.failing)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_of_another_implementation_is_none(
    dtype: torch.dtype, inputs: bool, tmp_path: Path
) -> None:
    """Another attention rounds otherwise, forward and backward; a wrong gradient is still found."""
    reference = backward(tmp_path / "a", dtype=dtype, inputs=inputs)
    clean = backward(tmp_path / "b", attention="sdpa", dtype=dtype, inputs=inputs)
    assert not compared(reference, clean).failing
    wrong = "model.layers.1.mlp.down_proj"
    faulty = backward(tmp_path / "c", llama, "sdpa", wrong, dtype, inputs)
    first = compared(reference, faulty).first_divergence()
    assert first is not None and (first.module, first.slot) == (
        "layers.1.mlp.up_proj",
        "grad_output",
    )


def test_gradients_of_a_wrong_forward_pass_are_inherited(tmp_path: Path) -> None:
    def wrong(attention: str) -> torch.nn.Module:
        model = llama(attention)
        with torch.no_grad():
            model.get_parameter("model.layers.1.mlp.up_proj.weight")[3, 5] += 0.5
        return model

    found = compared(backward(tmp_path / "a"), backward(tmp_path / "b", wrong))
    assert made(found) == ["layers.1.mlp.up_proj-output"]
    assert any(found.rows[index].role == "grad_output" for index in found.failing)
