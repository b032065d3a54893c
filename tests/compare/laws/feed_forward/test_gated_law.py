"""The law of gated units against transformers' own modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, Phi3Config
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.phi3.modeling_phi3 import Phi3MLP

from support.laws.law_checks import Tried, capture, tried

HIDDEN, WIDTH, ROWS, LAYERS = 32, 48, 24, 6
TARGET = "layers.2.mlp.down_proj-input_0"


class Stack(nn.Module):
    def __init__(self, fused: bool = False, shown: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = {"hidden_size": HIDDEN, "intermediate_size": WIDTH}
        made = [
            Phi3MLP(Phi3Config(**sizes, pad_token_id=0))
            if fused
            else LlamaMLP(LlamaConfig(**sizes))
            for _ in range(LAYERS)
        ]
        for mlp in made:
            if not shown:  # a plain function: no module that hooks see
                mlp.act_fn = nn.Module()  # type: ignore[assignment]
                mlp.act_fn.__call__ = nn.functional.silu  # type: ignore[method-assign]
                mlp.forward = _forward(mlp, nn.functional.silu)  # type: ignore[method-assign]
            for parameter in mlp.parameters():
                parameter.data *= 6
        self.layers = nn.ModuleList(nn.ModuleDict({"mlp": mlp}) for mlp in made)

    def mlp(self, layer: int = 2) -> nn.Module:
        return self.layers[layer]["mlp"]  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.mlp(i)(x * 1.2**i) for i in range(LAYERS)]


def _forward(mlp, function, gate="gate_proj", up="up_proj"):  # type: ignore[no-untyped-def]
    gates, ups = mlp.get_submodule(gate), mlp.get_submodule(up)
    return lambda x: mlp.down_proj(function(gates(x)) * ups(x))


def check(tmp_path: Path, one: Stack, other: Stack, dtype: torch.dtype) -> Tried:
    torch.manual_seed(1)
    x = (torch.randn(1, ROWS, HIDDEN) * torch.linspace(0.3, 2, ROWS)[None, :, None]).to(dtype)
    x[0, 0, 5] = 40
    return tried(
        capture(one.to(dtype), tmp_path / "reference", x),
        capture(other.to(dtype), tmp_path / "candidate", x),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("fused", "shown"), [(False, True), (False, False), (True, True)])
def test_gated_units_keep_to_the_law(
    tmp_path: Path, fused: bool, shown: bool, dtype: torch.dtype
) -> None:
    found = check(tmp_path, Stack(fused, shown), Stack(fused, shown), dtype)
    gated = [j for j in found.judged.values() if j.evaluation.site.law == "gated"]
    assert len(gated) == LAYERS
    assert all(j.trusted and j.evaluation.reference.ratio < 2 for j in gated)
    assert found.out() == []
    if not shown:
        assert {j.evaluation.fit.words["function"] for j in gated} == {"silu"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shown", [True, False])
def test_gate_and_up_that_are_swapped_are_named(
    tmp_path: Path, shown: bool, dtype: torch.dtype
) -> None:
    one, other = Stack(shown=shown), Stack(shown=shown)
    mlp = other.mlp()
    function = mlp.act_fn if shown else nn.functional.silu
    mlp.forward = _forward(mlp, function, "up_proj", "gate_proj")
    found = check(tmp_path, one, other, dtype)
    assert found.out() == [TARGET]
    assert found.causes(TARGET)[0] == "swapped"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("function", "words"), [(nn.functional.gelu, "gelu"), (torch.relu, "relu")]
)
def test_another_function_without_a_module_is_named(
    tmp_path: Path,
    function,
    words: str,
    dtype: torch.dtype,  # type: ignore[no-untyped-def]
) -> None:
    one, other = Stack(shown=False), Stack(shown=False)
    other.mlp().forward = _forward(other.mlp(), function)
    found = check(tmp_path, one, other, dtype)
    assert found.out() == [TARGET]
    (cause, *_) = found.diagnosis(TARGET).causes
    assert cause.name == "activation"
    assert words in cause.candidate.split(" or ")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("part", ["gate", "up", "clamp", "scale"])
def test_each_change_of_the_product_is_named(tmp_path: Path, part: str, dtype: torch.dtype) -> None:
    one, other = Stack(shown=False), Stack(shown=False)
    mlp, silu = other.mlp(), nn.functional.silu
    gate, up, down = mlp.gate_proj, mlp.up_proj, mlp.down_proj
    products = {
        "gate": lambda g, u: u, "up": lambda g, u: silu(g),
        "scale": lambda g, u: silu(g) * u * 1.02,
        "clamp": lambda g, u: silu(g.clamp(max=7.0)) * u.clamp(-7.0, 7.0),
    }  # fmt: skip
    mlp.forward = lambda x: down(products[part](gate(x), up(x)))  # type: ignore[operator]
    found = check(tmp_path, one, other, dtype)
    assert found.out() == [TARGET]
    named = {"gate": "activation", "up": "activation"}.get(part, part)
    assert found.causes(TARGET)[0] == named
