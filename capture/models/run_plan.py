"""What `layertui capture` was asked for, and how a run tells how far it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..cases import Case
from ..layer_range import LayerRange


@dataclass(frozen=True, slots=True)
class Plan:
    """One model and the cases to run it on.

    `model` is a Hugging Face directory or hub id. `layers` cuts the model after so many hidden
    layers (None: all). `dtype` None is the checkpoint's own. `new_tokens` is the number of
    forward passes of `mode="generate"`, for cases that do not say another. `factory` is
    `package.module:function`. `parameters` (`none`, `small` or `all`) are kept with the capture.
    Of each step only `tokens` are kept, of the layers only `only_layers`, of values only what
    differs from the capture `dump_on_mismatch` by more than `mismatch`.
    `inputs_file` (an `.npz`), `provider`, `optimised` and `exporter` are of ONNX Runtime,
    `gpu_layers` (how many layers a GPU runs) of llama.cpp.
    """

    model: str
    cases: tuple[Case, ...]
    dtype: str | None = None
    device: str = "auto"
    layers: int | None = None
    mode: str = "forward"
    new_tokens: int = 1
    seed: int = 0
    factory: str | None = None
    image: str | None = None
    audio: str | None = None
    attention: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    inputs: bool = True
    level: str = "module"
    stats_only: bool = False
    tokens: str | None = None
    only_layers: LayerRange | None = None
    dump_on_mismatch: str | None = None
    mismatch: float | None = None
    gradients: bool = False
    format: str = "native"
    parameters: str = "small"
    overwrite: bool = False
    module_api: str = "v2"
    allow_unsupported: bool = False
    inputs_file: str | None = None
    provider: str | None = None
    optimised: bool = False
    exporter: str | None = None
    gpu_layers: int = 0

    def settings(self) -> dict[str, Any]:
        """What a capture says of how its model was made, so that its layers can be run again."""
        place = str(Path(self.model).resolve()) if os.path.isdir(self.model) else self.model
        return {
            "model": place, "dtype": self.dtype, "layers": self.layers, "seed": self.seed,
            "factory": self.factory, "attention": self.attention,
            "module_api": self.module_api, "allow_unsupported": self.allow_unsupported,
        }  # fmt: skip

    def alone(self, case: Case) -> Plan:
        """The plan of this one case."""
        return replace(self, cases=(case,), new_tokens=case.new_tokens or self.new_tokens)

    @property
    def steps(self) -> int:
        """Forward passes of a case that does not say another number of new tokens."""
        return self.new_tokens if self.mode == "generate" else 1


class Watcher(Protocol):
    """Is told how a run goes; every method returns at once."""

    def say(self, line: str) -> None:
        """A sentence to keep: which model, what was captured, what to know of it."""
        ...

    def stage(self, text: str, folder: str = "") -> None:
        """What is done now; the capture grows in `folder`."""
        ...

    def layers(self, done: int, total: int) -> None:
        """Layers finished in the current stage."""
        ...
