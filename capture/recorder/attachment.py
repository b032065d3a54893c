"""What a recorder holds of a model: which modules it watches, and how to let go of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..errors import CaptureError
from . import hooks
from .caches import only_layer
from .options import Options
from .scope import Target
from .wrappers import plain_class

_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.ParameterList,
               torch.nn.ParameterDict)  # fmt: skip


class Attachment:
    """The modules of `model` that `options` choose. Nothing is touched before `attach`."""

    def __init__(self, model: torch.nn.Module, options: Options) -> None:
        self._model = model
        self._options = options
        self._named = dict(model.named_modules())
        self._undo: list[hooks.Undo] = []
        self._targets: list[tuple[Target, torch.nn.Module]] = []
        self._frames_before = hooks.compiled_frames()
        self._compiled = hooks.compiled_modules(model)

    @property
    def names(self) -> dict[int, str]:
        """The path of each module by its `id`."""
        return {id(module): name for name, module in self._named.items()}

    def attach(self, listener: hooks.Listener) -> None:
        """Watch them all. Raises `CaptureError` when none is chosen; `detach` is due even then."""
        fused = hooks.fused_modules(self._model)
        hidden = hooks.inside(self._compiled)
        left_out = self._other_layers()
        for name, module in self._named.items():
            target = _target(name, module, self._options, name in left_out)
            target.compiled = name in self._compiled
            self._targets.append((target, module))
            if id(module) not in hidden:
                self._undo += hooks.attach(module, target, listener, id(module) in fused)
        if not any(target.record for target, _ in self._targets):
            raise CaptureError(
                f"include and exclude leave no module of {type(self._model).__name__}"
            )

    def _other_layers(self) -> set[str]:
        """Names of the modules of layers that are not wanted; raises `CaptureError` where none of
        the wanted ones is there.
        """
        layers = self._options.layers
        if layers is None:
            return set()
        numbers = {name: _layer_number(name, self._named) for name in self._named}
        found = {name: number for name, number in numbers.items() if number is not None}
        if not any(number in layers for number in found.values()):
            known = f"it has layers {min(found.values())} to {max(found.values())}" if found else (
                "its modules stand in no list of layers"
            )  # fmt: skip
            raise CaptureError(f"layers={layers}: the model has no such layer; {known}")
        return {name for name, number in found.items() if number not in layers}

    def detach(self) -> None:
        """Leave the model as it was; the second time nothing happens."""
        for undo in reversed(self._undo):
            undo()
        self._undo = []

    def compiled_notes(self) -> Iterator[str]:
        """A sentence for each compiled module, whose inside cannot be seen."""
        for name, module in self._compiled.items():
            inside = sum(1 for _ in module.modules()) - 1
            yield (
                f"{name or 'the model'} is compiled: its inputs and outputs are recorded, the "
                f"{inside} modules inside it run as one graph and cannot be seen"
            )

    def silent(self) -> list[str]:
        """Names of chosen modules that no call reached; containers are never called."""
        return [
            target.name
            for target, module in self._targets
            if target.record and not target.fired and type(module) not in _CONTAINERS
        ]

    def compiled_details(self) -> dict[str, Any]:
        """What the end of the capture says of compiled modules; empty without any."""
        names = list(hooks.compiled_modules(self._model))
        if not names:
            return {}
        frames = hooks.compiled_frames()
        return {"compiled": {"modules": names, "frames": frames,
                             "frames_while_recording": frames - self._frames_before}}  # fmt: skip


def _layer_number(name: str, named: dict[str, torch.nn.Module]) -> int | None:
    """The number in the outermost list of modules that a module stands in."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        inside_list = isinstance(named.get(".".join(parts[:end])), torch.nn.ModuleList)
        if inside_list and parts[end].isdecimal():
            return int(parts[end])
    return None


def _target(name: str, module: torch.nn.Module, options: Options, left_out: bool) -> Target:
    excluded = left_out or bool(options.exclude(name, module))
    chosen = bool(options.include(name, module)) and not excluded
    return Target(
        name,
        plain_class(module).__name__,
        record=chosen,
        ops=chosen and options.level == "op",
        no_ops=excluded,
        layer=only_layer(module),
        ids_first=_first_parameter(module) == "input_ids",
    )


def _first_parameter(module: torch.nn.Module) -> str | None:
    code = getattr(getattr(module.forward, "__func__", module.forward), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return next((name for name in names if name != "self"), None)
