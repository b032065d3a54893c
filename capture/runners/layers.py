"""What a program that runs layers again has to tell: its layers, their outputs, what went wrong.

Used inside the runner's process, beside the framework; nothing here imports one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class RerunError(Exception):
    """A layer that cannot be run again; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer of the model.

    `name` is the module as the framework's own dump has it (`model.layers.layers.0.mlp`),
    `inputs` the slots that a rerun must be given (`input_0`, `input_hidden_states`). `why` says
    in words why the layer cannot be run again when `reruns` is false.
    """

    name: str
    module_class: str
    inputs: tuple[str, ...] = ()
    reruns: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class RerunOutputs:
    """Outputs by slot (`output`, `output_0`, ...) in order, as tensors of torch, or as raw elements
    and dtype for an engine that takes numpy arrays; and where the time went.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    compile_seconds: float = 0.0
