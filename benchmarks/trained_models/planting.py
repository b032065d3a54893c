"""What a planted fault is, and how one is put into a candidate of `builds`.

A candidate shares its weights with the reference, so a fault in a weight puts a new one in its
place. `Plant` functions change one decoder layer of a candidate, or what stands outside of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .builds import Change, layer_count

# What a comparison has to answer:
#   named    the culprit, and one of the causes
#   seen     the culprit; a cause only of those that are listed
#   below    too small to be told from rounding: nothing, or the right culprit and cause
#   skipped  there is no such fault in this dtype
Answer = Literal["named", "seen", "below", "skipped"]

LLAMA = "model.layers.{}."
BERT = "encoder.layer.{}."


@dataclass(frozen=True, slots=True)
class Site:
    """One layer of a candidate."""

    model: Any
    number: int

    @property
    def layers(self) -> Any:
        inner = getattr(self.model, "model", None)
        return self.model.encoder.layer if inner is None else inner.layers

    @property
    def layer(self) -> Any:
        return self.layers[self.number]

    def part(self, path: str) -> Any:
        """A module below the layer."""
        return self.layer.get_submodule(path)

    def neighbour(self, step: int) -> Site:
        """The layer `step` further on, in a ring."""
        return Site(self.model, (self.number + step) % len(self.layers))


Plant = Callable[[Site], None]


@dataclass(frozen=True, slots=True)
class TrainedFault:
    """A fault. `module` is the culprit as the reference's own module path, with `{}` for the number
    of the first layer that has the fault; `causes` are the names that are right, alike where
    several say the same. `at` is the place of the layer in the depth, 0 the first and 1 the last,
    `layer` its number where only that one will do. `plant` is called for that layer, or from it on
    for all (`every`). `why` says what an answer other than `named` is due to. `also` are other
    faults of the same candidate: each is wanted as a
    finding of its own.
    """

    name: str
    causes: tuple[str, ...]
    module: str
    plant: Plant
    at: float = 0.4
    every: bool = False
    base: str = "llama"
    scene: str = "prompt"
    f32: Answer = "named"
    bf16: Answer = "named"
    why: str = ""
    also: tuple[TrainedFault, ...] = ()
    layer: int | None = None

    def answer(self, dtype: str) -> Answer:
        return self.f32 if dtype == "f32" else self.bf16

    def number(self, layers: int) -> int:
        """The first layer that has the fault, of a model of `layers` (as many as it has)."""
        if self.layer is not None:
            return self.layer
        return round(self.at * (layer_count(self.base, layers) - 1))

    def culprit(self, layers: int) -> str:
        return self.module.format(self.number(layers))

    def put(self, model: Any, layers: int) -> None:
        """Plant it, and the others of the same candidate."""
        first = self.number(layers)
        last = layer_count(self.base, layers) if self.every else first + 1
        for number in range(first, last):
            self.plant(Site(model, number))
        for fault in self.also:
            fault.put(model, layers)


def in_all(fault: TrainedFault, module: str | None = None, **changes: Any) -> TrainedFault:
    """The same fault in every layer; the first one is to blame."""
    changes = {"at": 0.0, "every": True, "module": module or fault.module} | changes
    return replace(fault, name=f"{fault.name}-all", **changes)


# Ways to plant one


def after(module: nn.Module, change: Change) -> None:
    """Change what a module returns."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    module.register_forward_hook(hook)


def new_weight(module: Any, change: Change, name: str = "weight") -> None:
    """Put another weight in place of one; `change` works in float32."""
    old = getattr(module, name)
    fresh = change(old.data.float()).to(old.dtype).contiguous()
    setattr(module, name, nn.Parameter(fresh, requires_grad=False))


def weight(path: str, change: Change, name: str = "weight") -> Plant:
    """Another weight of one module of a layer."""
    return lambda site: new_weight(site.part(path), change, name)


def output(path: str, change: Change) -> Plant:
    """Another output of one module of a layer."""
    return lambda site: after(site.part(path), change)


def attention(**parts: Any) -> Plant:
    """Other code between the projections of an attention."""
    return lambda site: site.layer.self_attn.change(**parts)


def outside(change: Callable[[Any], None]) -> Plant:
    """What is done to the whole model."""
    return lambda site: change(site.model)


def deviation(x: Tensor) -> Tensor:
    """The usual size of a record's values: of the middle row, so that no massive one counts."""
    return x.float().square().mean(-1).sqrt().median()


def noise(shape: torch.Size | tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
