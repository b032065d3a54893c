"""What can be wrong with one projection, and what each such fault is to be called.

Quantisers are torch's here, written for themselves: a law that was wrong in the same way would not
be found out by its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from small_models.quantising import fp8, int8_tensor, mxfp4, nf4, rounded_rows

from .linear_models import HEAD, HIDDEN, Change, Product, new_weight

Q, K, V, O = (f"self_attn.{name}_proj" for name in "qkvo")  # noqa: E741
GATE, UP, DOWN = (f"mlp.{name}_proj" for name in ("gate", "up", "down"))


@dataclass(frozen=True)
class Fault:
    """A change of the projection at `path`, and the name and some words of its cause."""

    id: str
    path: str
    change: Change
    name: str
    words: str = ""


def order_of(size: int, seed: int = 3) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


def heads(order: list[int], size: int = HEAD) -> Tensor:
    """The channels of whole heads (or other parts) in another order."""
    return torch.cat([torch.arange(head * size, (head + 1) * size) for head in order])


def halves_to_turns(width: int, size: int = HEAD) -> Tensor:
    within = torch.arange(size).view(2, -1).T.reshape(-1)
    return (torch.arange(0, width, size)[:, None] + within).reshape(-1)


def rows(order: Tensor, with_bias: bool = True) -> Change:
    def plant(one: Product) -> None:
        one.weight.data = one.weight.data[order].contiguous()
        if with_bias and one.bias is not None:
            one.bias.data = one.bias.data[order].contiguous()

    return plant


def columns(order: Tensor) -> Change:
    return new_weight(lambda w: w[:, order])


def bias(change: Callable[[Tensor], Tensor]) -> Change:
    def plant(one: Product) -> None:
        one.bias.data = change(one.bias.data.float()).to(one.bias.dtype)

    return plant


def end(change: Callable[[Tensor], Tensor]) -> Change:
    """The output changed in float32, stored in its own dtype."""

    def plant(one: Product) -> None:
        one.end = lambda y: change(y.float()).to(y.dtype)

    return plant


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adapter(rank: int, share: float) -> Callable[[Tensor], Tensor]:
    def change(w: Tensor) -> Tensor:
        added = random(len(w), rank, seed=1) @ random(rank, w.shape[1], seed=2)
        return w + added * (share * w.norm() / added.norm())

    return change


def few(at: int, factor: float) -> Callable[[Tensor], Tensor]:
    """A factor on one channel of the last axis."""

    def change(w: Tensor) -> Tensor:
        w = w.clone()
        w[..., at] *= factor
        return w

    return change


def _third_missing(b: Tensor) -> Tensor:
    """Two ranks of four add theirs."""
    b = b.clone()
    b[len(b) // 2 :] = 0
    return b


LAYOUT = (
    Fault("transposed", O, new_weight(lambda w: w.T), "transposed"),
    Fault("memory-transposed", DOWN, new_weight(lambda w: w.reshape(w.shape[::-1]).T),
          "transposed", "memory"),
    Fault("rows-in-turns", Q, rows(halves_to_turns(HIDDEN)), "row-order", "interleaved"),
    Fault("rows-in-turns-bias-not", Q, rows(halves_to_turns(HIDDEN), with_bias=False),
          "row-order", "the bias is in its own order"),
    Fault("rows-shuffled", GATE, rows(order_of(256)), "row-order"),
    Fault("rows-rolled", UP, rows(torch.arange(256).roll(1)), "row-order"),
    Fault("rows-reversed", V, rows(torch.arange(32).flip(0)), "row-order", "reverse"),
    Fault("heads-reversed", Q, rows(heads([3, 2, 1, 0])), "head-order", "reverse"),
    Fault("heads-exchanged", Q, rows(heads([1, 0, 2, 3])), "head-order"),
    Fault("head-twice", Q, rows(heads([0, 1, 1, 3])), "row-order", "0, 1, 1, 3"),
    Fault("columns-reversed", UP, columns(torch.arange(HIDDEN).flip(0)), "column-order", "reverse"),
    Fault("columns-shuffled", GATE, columns(order_of(HIDDEN)), "column-order"),
    Fault("inner-columns-shuffled", DOWN, columns(order_of(256)), "column-order",
          "of 256 input channels"),
    Fault("some-columns-shuffled", DOWN,
          columns(torch.cat([order_of(100), torch.arange(100, 256)])), "column-order",
          "98 of 256 input channels"),
    Fault("columns-in-turns", O, columns(halves_to_turns(HIDDEN)), "column-order", "interleaved"),
    Fault("two-columns-exchanged", DOWN, columns(torch.tensor([1, 0, *range(2, 256)])),
          "column-order", "2 of 256"),
    Fault("column-heads-exchanged", O, columns(heads([0, 2, 1, 3])), "head-order"),
    Fault("column-groups-shuffled", DOWN, columns(heads([2, 0, 3, 1, 4, 6, 5, 7], 32)),
          "column-order", "8 equal parts"),
)  # fmt: skip

NUMBERS = (
    Fault("scale", DOWN, new_weight(lambda w: w * 1.02), "scale", "1.02"),
    Fault("half", V, new_weight(lambda w: w * 0.5), "scale"),
    Fault("sign", DOWN, new_weight(lambda w: -w), "scale", "-1"),
    Fault("one-head-scaled", Q, end(lambda y: y * torch.tensor([1, 1, 1.5, 1])
                                    .repeat_interleave(HEAD)), "scale", "head 2 is 1.5 x"),
    Fault("one-row-scaled", DOWN, end(few(7, 1.3)), "scale", "output channel 7"),
    Fault("one-column-scaled", UP, new_weight(few(9, 2.0)), "scale", "input channel 9"),
    Fault("every-column-scaled", GATE, new_weight(lambda w: w * torch.linspace(0.5, 2, HIDDEN)),
          "scale", "every input channel"),
    Fault("bias-missing", Q, bias(torch.zeros_like), "bias", "is not added"),
    Fault("bias-twice", Q, bias(lambda b: 2 * b), "bias", "2 times"),
    Fault("bias-negative", K, bias(lambda b: -b), "bias", "-1 times"),
    Fault("bias-1.3-times", Q, bias(lambda b: 1.3 * b), "bias", "1.3 times"),
    Fault("bias-of-some-ranks", Q, bias(_third_missing), "bias", "32..63"),
    Fault("constant-in-one-channel", DOWN, end(lambda y: y + 0.9 * (torch.arange(64) == 5)),
          "bias", "channel 5"),
    Fault("bias-added", DOWN, end(lambda y: y + 0.5 * random(HIDDEN, seed=5)),
          "bias", "each channel"),
    Fault("constant-added", DOWN, end(lambda y: y + 0.25), "bias", "is added to every element"),
    Fault("adapter-2", Q, new_weight(adapter(2, 0.2)), "low-rank", "rank 2"),
    Fault("adapter-8", GATE, new_weight(adapter(8, 0.3)), "low-rank", "rank 8"),
    Fault("weight-zero", DOWN, new_weight(torch.zeros_like), "weight-ignored", "is 0"),
    Fault("weight-identity", O, new_weight(lambda w: torch.eye(HIDDEN)),
          "weight-ignored", "passed on"),
)  # fmt: skip


def int_groups(w: Tensor, bits: int, size: int, zero: bool = False) -> Tensor:
    """Whole numbers in groups along the inner axis (0: a row), with or without zero points."""
    groups = w.unflatten(-1, (-1, size or w.shape[-1]))
    if not zero:
        return rounded_rows(groups, 2 ** (bits - 1) - 1).flatten(-2)
    most = 2**bits - 1
    low = groups.amin(-1, keepdim=True)
    step = (groups.amax(-1, keepdim=True) - low) / most
    point = (-low / step).round()
    return (((groups / step).round() + point).clamp(0, most) - point).mul(step).flatten(-2)


def quantised(id_: str, path: str, change: Callable[[Tensor], Tensor], words: str) -> Fault:
    return Fault(id_, path, new_weight(change), "quantised", words)


QUANTISED = (
    quantised("int8-rows", DOWN, lambda w: rounded_rows(w, 127), "int8 by row"),
    quantised("int8-tensor", Q, int8_tensor, "int8 by tensor"),
    *(quantised(f"int{bits}-groups-{size}", DOWN, partial(int_groups, bits=bits, size=size),
                f"int{bits} in groups of {size}")
      for bits, size in ((4, 16), (4, 32), (4, 64), (4, 128), (8, 32), (8, 128))),
    quantised("int4-rows", GATE, partial(int_groups, bits=4, size=0), "int4 by row"),
    quantised("int3-groups-64", DOWN, partial(int_groups, bits=3, size=64), "int3 in groups of 64"),
    *(quantised(f"int4-zero-{size}", DOWN, partial(int_groups, bits=4, size=size, zero=True),
                f"int4 in groups of {size} with zero points") for size in (32, 128)),
    quantised("int8-zero-rows", DOWN, partial(int_groups, bits=8, size=0, zero=True),
              "int8 by row with zero points"),
    *(quantised(f"nf4-{size}", DOWN, partial(nf4, size=size), f"nf4 in groups of {size}")
      for size in (64, 128)),
    quantised("fp8-tensor", V, fp8, "fp8 e4m3 by tensor"),
    quantised("fp8-rows", DOWN, partial(fp8, by_row=True), "fp8 e4m3 by row"),
    quantised("mxfp4", K, mxfp4, "mxfp4 in groups of 32"),
)  # fmt: skip


def factors(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Change:
    def plant(one: Product) -> None:
        one.factors = change

    return plant


def _int8_tokens(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return rounded_rows(x.float(), 127).to(x.dtype), w


def _w8a8(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return rounded_rows(x.float(), 127).to(x.dtype), rounded_rows(w.float(), 127).to(w.dtype)


def _fp8_tokens(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return fp8(x.float(), by_row=True).to(x.dtype), w


ACTIVATIONS = (
    Fault("int8-tokens", DOWN, factors(_int8_tokens), "quantised", "activations in int8 by token"),
    Fault("fp8-tokens", UP, factors(_fp8_tokens), "quantised", "activations in fp8 e4m3 by token"),
    Fault("w8a8", DOWN, factors(_w8a8), "quantised",
          "activations in int8 by token, weights in int8 by row"),
)  # fmt: skip

VALUES = (
    Fault("clamp", DOWN, end(lambda y: y.clamp(-4, 4)), "clamp", "4"),
    Fault("shift", DOWN, end(lambda y: y.roll(1, -2)), "token-shift", "1 later"),
    Fault("fp8-output", DOWN, end(lambda y: y.to(torch.float8_e4m3fn).float()), "cast", "e4m3"),
)  # fmt: skip


def _coarse(unit: torch.dtype) -> Change:
    return factors(lambda x, w: (x.to(unit).float(), w.to(unit).float()))


def narrow_sums(x: Tensor, w: Tensor) -> Tensor:
    """Sums that are rounded to bfloat16 every 16 products, but for the last ones."""
    total = torch.zeros(*x.shape[:-1], len(w))
    for a, b in zip(x.float().split(16, -1), w.float().split(16, -1), strict=True):
        total = total.bfloat16().float() + a @ b.T
    return total.to(x.dtype)


def _narrow(one: Product) -> None:
    one.product = narrow_sums


# Only inside records of float32.
FINE = (
    Fault("bfloat16-products", DOWN, _coarse(torch.bfloat16), "precision", "bfloat16"),
    Fault("float16-products", UP, _coarse(torch.float16), "precision", "TF32 or float16"),
    Fault("bfloat16-output", DOWN, end(lambda y: y.bfloat16().float()), "cast", "bfloat16"),
    Fault("bfloat16-sums", DOWN, _narrow, "precision"),
)  # fmt: skip

FAULTS = (*LAYOUT, *NUMBERS, *QUANTISED, *ACTIVATIONS, *VALUES)
