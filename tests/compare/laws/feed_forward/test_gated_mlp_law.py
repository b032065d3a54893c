"""The law of feed-forward networks whose inside no record shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, silu

from support.laws.law_checks import Tried, capture, tried

HIDDEN, WIDTH, ROWS, LAYERS = 32, 48, 24, 6
INSIDE, OUTSIDE = "layers.2.mlp.down_proj-input_0", "layers.2.mlp-output"


class Mlp(nn.Module):
    """Only `down_proj`, or nothing at all, is called as a module."""

    def __init__(self, gated: bool, whole: bool, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, WIDTH, bias) if gated else None
        self.up_proj, self.down_proj = (
            nn.Linear(HIDDEN, WIDTH, bias),
            nn.Linear(WIDTH, HIDDEN, bias),
        )
        self.whole = whole
        self.function: Callable[[Tensor], Tensor] = silu
        for parameter in self.parameters():
            parameter.data *= 5

    def forward(self, x: Tensor) -> Tensor:
        up = linear(x, self.up_proj.weight, self.up_proj.bias)
        hidden = self.function(up)
        if self.gate_proj is not None:
            hidden = self.function(linear(x, self.gate_proj.weight, self.gate_proj.bias)) * up
        if self.whole:
            return linear(hidden, self.down_proj.weight, self.down_proj.bias)
        return self.down_proj(hidden)


class Stack(nn.Module):
    def __init__(self, gated: bool = True, whole: bool = False, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        made = [Mlp(gated, whole, bias) for _ in range(LAYERS)]
        self.layers = nn.ModuleList(nn.ModuleDict({"mlp": mlp}) for mlp in made)

    def mlp(self, layer: int = 2) -> Mlp:
        return self.layers[layer]["mlp"]  # type: ignore[index,return-value]

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.mlp(i)(x * 1.2**i) for i in range(LAYERS)]


def check(
    tmp_path: Path, one: Stack, other: Stack, dtype: torch.dtype, function: str | None = "silu"
) -> Tried:
    torch.manual_seed(1)
    x = (torch.randn(1, ROWS, HIDDEN) * torch.linspace(0.3, 2, ROWS)[None, :, None]).to(dtype)
    x[0, 0, 5] = 40
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    one = one.to(dtype)
    save_file(dict(one.state_dict()), model / "model.safetensors")
    config = {} if function is None else {"hidden_act": function}
    (model / "config.json").write_text(json.dumps(config))
    return tried(
        capture(one, tmp_path / "reference", x),
        capture(other.to(dtype), tmp_path / "candidate", x), model,
    )  # fmt: skip


def laws(found: Tried) -> list[str]:
    return [t for t, j in found.judged.items() if j.evaluation.site.law == "gated-mlp"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("gated", "bias"), [(True, False), (False, True), (True, True)])
def test_networks_keep_to_the_law(
    tmp_path: Path, gated: bool, whole: bool, bias: bool, dtype: torch.dtype
) -> None:
    one, other = Stack(gated, whole, bias), Stack(gated, whole, bias)
    for function in ("silu", None):
        found = check(tmp_path, one, other, dtype, function)
        assert len(laws(found)) == LAYERS
        for label in laws(found):
            judged = found.judged[label]
            assert judged.trusted
            assert 0.2 < judged.evaluation.reference.ratio < (6 if dtype is torch.float32 else 1.5)
            assert "silu" in judged.evaluation.fit.words["function"]
        assert found.out() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", ["activation", "swapped", "scale", "other-layer", "bias"])
def test_each_change_is_named(tmp_path: Path, name: str, whole: bool, dtype: torch.dtype) -> None:
    bias = name == "bias"
    one, other = Stack(whole=whole, bias=bias), Stack(whole=whole, bias=bias)
    mlp = other.mlp()
    if name == "activation":
        mlp.function = gelu
    elif name == "swapped":
        mlp.gate_proj, mlp.up_proj = mlp.up_proj, mlp.gate_proj  # type: ignore[assignment]
    elif name == "scale":
        mlp.function = lambda x: silu(x) * 1.02
    elif name == "other-layer":
        mlp.load_state_dict(other.mlp(1).state_dict())
    else:
        mlp.up_proj.bias.data.zero_()
    found = check(tmp_path, one, other, dtype)
    label = OUTSIDE if whole else INSIDE
    assert label in found.out()
    assert set(found.out()) <= {INSIDE, OUTSIDE, "layers.2.mlp.down_proj-output"}
    assert found.causes(label)[0] == name
    if name == "activation":
        (cause, *_) = found.diagnosis(label).causes
        assert "gelu" in cause.candidate.split(" or ")


def test_networks_whose_inside_is_recorded_are_not_looked_at_again(tmp_path: Path) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    config = LlamaConfig(hidden_size=HIDDEN, intermediate_size=WIDTH)
    one = Stack()
    for layer in one.layers:
        layer["mlp"] = LlamaMLP(config)  # type: ignore[index,operator]
    assert laws(check(tmp_path, one, one, torch.float32)) == []


def test_without_a_checkpoint_there_is_no_law(tmp_path: Path) -> None:
    x = torch.randn(1, ROWS, HIDDEN)
    folder = capture(Stack(), tmp_path / "reference", x)
    assert laws(tried(folder, folder)) == []
