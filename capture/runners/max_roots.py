"""A MAX model with its weights and the calls of its layers, but not compiled.

The pipeline is made as for a run, up to the point where MAX would compile the traced model, which
would take minutes; small graphs that it wants earlier are skipped. What the trace left behind in
the modules (values that belong to that one graph) is taken back, so that single layers can be
traced into graphs of their own.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import max.experimental.nn.module as modules
from max.engine import InferenceSession
from max.experimental.nn import Module as ModuleV3
from max.graph import Weight
from max.nn.layer import Layer, Module, clear_hooks

from .layers import RerunError
from .max_calls import Call, CallRecorder

_COMPILING = ("load", "load_all", "compile", "compile_async", "compile_reusing_mefs")


class _Stop(BaseException):
    """Ends the making of a pipeline; passes what catches `Exception`."""


@dataclass(slots=True)
class Model:
    """An uncompiled model: its layers by name as MAX's dumps have them.

    `weights` by their full names. `calls` has no entry for layers that the model never calls.
    """

    root: Any
    v3: bool
    weights: dict[str, Any]
    layers: dict[str, Any]
    calls: dict[str, Call]
    _pristine: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)

    @property
    def cache_params(self) -> Any:
        """How the model's paged cache is laid out, or None."""
        return getattr(self.root, "kv_params", None)

    def forget_graph(self) -> None:
        """Put every module back as it was when its weights were loaded.

        Weights, rotary tables and others keep values of the first graph that they were used in;
        in a second graph those fail to verify.
        """
        for thing, attributes in self._pristine:
            thing.__dict__.clear()
            thing.__dict__.update(attributes)


def open_model(make_pipeline: Callable[[], Any]) -> Model:
    """Call `make_pipeline` and take the model out of it before it is compiled.

    Raises `RerunError` when no model shows; passes on what the pipeline itself raises.
    """
    heard = _Heard()
    with _listening(heard):
        try:
            make_pipeline()
        except _Stop:
            pass
        finally:
            clear_hooks()
    if heard.root is None:
        raise RerunError("MAX made a pipeline without a model whose layers can be identified")
    return _model(heard)


@dataclass(slots=True)
class _Heard:
    """What was seen while the pipeline was being made."""

    recorder: CallRecorder = field(default_factory=CallRecorder)
    root: Any = None
    weights: dict[str, Any] | None = None
    pristine: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)


def _model(heard: _Heard) -> Model:
    root, recorder = heard.root, heard.recorder
    if isinstance(root, ModuleV3):
        # Names were given to the copy that was traced; the layers to use are the original's.
        layers = {f"model.{path}": module for path, module in root.descendants}
        return Model(root, True, dict(heard.weights or {}), {"model": root, **layers},
                     recorder.calls)  # fmt: skip
    layers = dict(recorder.named())
    model = Model(root, False, {}, layers, recorder.calls, heard.pristine)
    model.forget_graph()
    model.weights = dict(root.state_dict())
    return model


@contextmanager
def _listening(heard: _Heard) -> Iterator[None]:
    recorder = heard.recorder
    load, declare, compile_v3 = Module.load_state_dict, modules.name_weights, ModuleV3.compile

    def load_state_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(self, *args, **kwargs)
        if heard.root is None:
            heard.root = self
            recorder.name_layers(self)
            heard.pristine = [(thing, dict(thing.__dict__)) for thing in parts(self)]
        return result

    def compile_module(self: Any, *args: Any, weights: Any = None, **kwargs: Any) -> Any:
        if heard.root is None:
            heard.root, heard.weights = self, weights
        return compile_v3(self, *args, weights=weights, **kwargs)

    def name_weights(declared: Any) -> Any:
        result = declare(declared)
        if isinstance(heard.root, ModuleV3) and not recorder.calls:
            recorder.name_layers(declared)
        return result

    def compiles(self: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.calls:
            raise _Stop
        return None  # a small graph beside the model, which a rerun does not need

    before = {name: getattr(InferenceSession, name) for name in _COMPILING}
    Module.load_state_dict = load_state_dict
    ModuleV3.compile = compile_module
    modules.name_weights = name_weights
    for name in _COMPILING:
        setattr(InferenceSession, name, compiles)
    try:
        yield
    finally:
        Module.load_state_dict, modules.name_weights = load, declare
        ModuleV3.compile = compile_v3
        for name, function in before.items():
            setattr(InferenceSession, name, function)


def parts(root: Any) -> Iterator[Any]:
    """Every layer and weight below `root` (and it), each once."""
    seen: set[int] = set()
    left: list[Any] = [root]
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, (Layer, ModuleV3, Weight)):
            yield thing
            left.extend(vars(thing).values())
        elif isinstance(thing, (list, tuple)):
            left.extend(thing)
        elif isinstance(thing, dict):
            left.extend(thing.values())
