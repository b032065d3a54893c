"""A stack of projections as decoders have them, one of which may be changed.

Every projection is a `Product`, whose factors, sums and output can be replaced, and is called with
the values that the one before it gave: six layers of q, k, v, o, gate, up and down.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .law_checks import Tried, capture, tried

HEADS, SHARED, HEAD = 4, 2, 16
HIDDEN, WIDTH, ROWS, LAYERS = HEADS * HEAD, 256, 40, 6
CONFIG = {"num_attention_heads": HEADS, "num_key_value_heads": SHARED, "hidden_size": HIDDEN}
WIDTHS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, SHARED * HEAD),
    "self_attn.v_proj": (HIDDEN, SHARED * HEAD), "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH),
    "mlp.down_proj": (WIDTH, HIDDEN),
}  # fmt: skip
BIASED = ("q_proj", "k_proj", "v_proj")

Change = Callable[["Product"], None]


class Product(nn.Linear):
    """x W^T + b, of which `factors` changes x and W, `product` multiplies, `end` changes y."""

    def __init__(self, inner: int, out: int, bias: bool) -> None:
        super().__init__(inner, out, bias)
        self.factors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda x, w: (x, w)
        self.product: Callable[[Tensor, Tensor], Tensor] = lambda x, w: x @ w.T
        self.end: Callable[[Tensor], Tensor] = lambda y: y

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        y = self.product(*self.factors(input, self.weight))
        return self.end(y if self.bias is None else y + self.bias)


class Stack(nn.Module):
    """`layers.N.self_attn.q_proj` and so on; q, k and v have biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.ModuleDict(
            {"self_attn": nn.ModuleDict(), "mlp": nn.ModuleDict()}
        ) for _ in range(LAYERS))  # fmt: skip
        for layer in self.layers:
            for path, (inner, out) in WIDTHS.items():
                parent, name = path.split(".")
                layer[parent][name] = made(inner, out, name in BIASED)  # type: ignore[index]

    def part(self, path: str, layer: int = 3) -> Product:
        return self.layers[layer].get_submodule(path)  # type: ignore[return-value]

    def several(self, parent: str, names: tuple[str, ...], at: int, x: Tensor) -> list[Tensor]:
        """The outputs of projections that stand beside each other, joined or not."""
        modules: Any = self.layers[at][parent]  # type: ignore[index]
        whole = {"self_attn": "qkv_proj", "mlp": "gate_up_proj"}[parent]
        if whole not in modules:
            return [modules[name](x) for name in names]
        return list(modules[whole](x).split([WIDTHS[f"{parent}.{n}"][1] for n in names], -1))

    def forward(self, x: Tensor) -> list[Tensor]:
        given: list[Tensor] = []
        for at in range(LAYERS):
            own = (x * 1.3**at).roll(at, -1)
            q, k, v = self.several("self_attn", ("q_proj", "k_proj", "v_proj"), at, own)
            mixed = (q * torch.cat([k, v], -1)).tanh() * 3
            given.append(self.part("self_attn.o_proj", at)(mixed))
            gate, up = self.several("mlp", ("gate_proj", "up_proj"), at, own)
            given.append(self.part("mlp.down_proj", at)(nn.functional.silu(gate) * up))
        return given


def made(inner: int, out: int, bias: bool) -> Product:
    """A projection with rows and columns of unlike size."""
    one = Product(inner, out, bias)
    one.weight.data = torch.randn(out, inner) / inner**0.5
    one.weight.data *= torch.linspace(0.5, 1.5, out)[:, None]
    one.weight.data *= torch.linspace(0.8, 1.3, inner)[torch.randperm(inner)]
    if bias:
        one.bias.data = 0.5 * torch.randn(out)
    return one


def hidden(dtype: torch.dtype, rows: int = ROWS, width: int = HIDDEN, seed: int = 1) -> Tensor:
    """Tokens of unlike size in a few main directions, one with a massive activation."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    x = normal(rows, width) + 2 * normal(rows, 8) @ normal(8, width) / 8**0.5
    x *= torch.linspace(0.3, 2, rows)[:, None]
    x[0, 5] = 60.0
    return x[None].to(dtype)


def joined(stack: Stack) -> Stack:
    """The same with q, k and v, and gate and up, joined to one projection each."""
    for layer in stack.layers:
        for parent, names, name in (
            ("self_attn", ("q_proj", "k_proj", "v_proj"), "qkv_proj"),
            ("mlp", ("gate_proj", "up_proj"), "gate_up_proj"),
        ):
            modules: Any = layer[parent]  # type: ignore[index]
            parts = [modules.pop(part) for part in names]
            modules[name] = _joined(parts)
    return stack


def _joined(parts: list[Product]) -> Product:
    biased = parts[0].bias is not None
    one = Product(parts[0].in_features, sum(p.out_features for p in parts), biased)
    one.weight.data = torch.cat([p.weight.data for p in parts])
    if biased:
        one.bias.data = torch.cat([p.bias.data for p in parts])
    one.product = split
    return one


def split(x: Tensor, w: Tensor) -> Tensor:
    """The product summed in four parts that are rounded in between, as other kernels may."""
    parts = [a @ b.T for a, b in zip(x.chunk(4, -1), w.chunk(4, -1), strict=True)]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def products(model: nn.Module) -> Iterator[Product]:
    return (m for m in model.modules() if isinstance(m, Product))


def _keep(into: list[Tensor], _: nn.Module, given: tuple[Tensor]) -> None:
    into.append(given[0].detach().clone())


class Pairs:
    """The captures of a reference in one dtype, and of candidates with one change each."""

    def __init__(self, folder: Path, dtype: torch.dtype, model: Stack | None = None) -> None:
        self.folder, self.dtype = folder, dtype
        self.model = (model or Stack()).to(dtype)
        self.x = hidden(dtype)
        (folder / "model").mkdir(parents=True)
        save_file(dict(self.model.state_dict()), folder / "model" / "model.safetensors")
        (folder / "model" / "config.json").write_text(json.dumps(CONFIG))
        self.given: dict[str, list[Tensor]] = {path: [] for path in WIDTHS}
        for at in range(LAYERS):
            for path, given in self.given.items():
                self.model.part(path, at).register_forward_pre_hook(partial(_keep, given))
        capture(self.model, folder / "reference", self.x)
        for one in products(self.model):
            one._forward_pre_hooks.clear()

    def other(self) -> Any:
        """The candidate that is to be changed: the same weights, products split in four."""
        other = copy.deepcopy(self.model)
        for one in products(other):
            one.product = split
        return other

    def tried(
        self, candidate: nn.Module, x: Tensor | None = None, paths: tuple[str, ...] = ("",)
    ) -> Tried:
        """The law of projections on a candidate, of all or of some."""
        capture(candidate, self.folder / "candidate", self.x if x is None else x)
        return tried(
            self.folder / "reference", self.folder / "candidate", self.folder / "model",
            lambda site: site.law == "linear" and site.target.module.endswith(paths),
        )  # fmt: skip

    def changed(self, path: str, change: Change, layer: int = 3) -> Tried:
        """The law of projections on one of them and its peers, changed in one layer. Nothing else
        of the candidate is run.
        """
        row = Row(path, self.given[path])
        for at, one in enumerate(row.parts):
            own = self.model.part(path, at)
            one.weight.data = own.weight.data.clone()
            if one.bias is not None:
                one.bias.data = own.bias.data.clone()
        row.to(self.dtype)
        with torch.no_grad():
            change(row.parts[layer])
        capture(row, self.folder / "candidate")
        return tried(
            self.folder / "reference", self.folder / "candidate", self.folder / "model",
            lambda site: site.law == "linear" and site.target.module.endswith(path),
        )  # fmt: skip


class Row(nn.Module):
    """One projection of all layers, each with an input of its own."""

    def __init__(self, path: str, given: list[Tensor]) -> None:
        super().__init__()
        parent, name = path.split(".")
        self.parts = [made(*WIDTHS[path], name in BIASED) for _ in given]
        self.layers = nn.ModuleList(
            nn.ModuleDict({parent: nn.ModuleDict({name: part})}) for part in self.parts
        )
        self.given = given
        for part in self.parts:
            part.product = split

    def forward(self) -> list[Tensor]:
        return [part(x) for part, x in zip(self.parts, self.given, strict=True)]


def new_weight(change: Callable[[Tensor], Tensor]) -> Change:
    """The weight changed in float32, stored in its own dtype."""

    def plant(one: Product) -> None:
        one.weight.data = change(one.weight.data.float()).to(one.weight.dtype).contiguous()

    return plant


def label(path: str, layer: int = 3) -> str:
    return f"layers.{layer}.{path}-output"


def linear_out(found: Tried) -> list[str]:
    """Targets of the law of projections that do not keep to it."""
    return [t for t in found.out() if found.judged[t].evaluation.site.law == "linear"]


TF32_BITS = 13  # of float32's 23 that TF32 does not have


def tf32(x: Tensor) -> Tensor:
    """Float32 rounded to TF32's ten bits, as tensor cores read it."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + (1 << (TF32_BITS - 1))) & ~((1 << TF32_BITS) - 1)).view(torch.float32)


def bfloat16(x: Tensor) -> Tensor:
    return x.bfloat16().float()
