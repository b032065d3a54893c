"""Attaching to the modules of a model, and letting go again without a trace.

Modules are hooked, but for two kinds. A `module.compile()`d one runs its hooks inside the compiled
graph, where they would be lost. And torch's transformer encoder layers leave their fused path as
soon as any module in them has a hook, which changes the results. What these call is wrapped.

Hooks and wrappers do nothing while torch compiles, so graphs stay what they were.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

from .scope import Target


class Listener:
    """Who is told of calls: `enter(target, args, kwargs)`, `leave(target, output, failed)`.

    `failed` is None where only the listener can find that out. Once torch's compiler is loaded, it
    is kept from looking into what the listener does.
    """

    def __init__(
        self,
        enter: Callable[[Target, tuple[Any, ...], dict[str, Any]], None],
        leave: Callable[[Target, Any, bool | None], None],
    ) -> None:
        loaded = "torch._dynamo.eval_frame" in sys.modules
        hide: Any = torch.compiler.disable if loaded else lambda function: function
        self.enter: Callable[[Target, tuple[Any, ...], dict[str, Any]], None] = hide(enter)
        self.leave: Callable[[Target, Any, bool | None], None] = hide(leave)


Undo = Callable[[], None]


def attach(module: torch.nn.Module, target: Target, listener: Listener, fused: bool) -> list[Undo]:
    """Watch one module; `fused` says that it must not get a hook. Returns what undoes it."""
    if module.__dict__.get("_compiled_call_impl") is not None:
        return [_wrap(module, "_compiled_call_impl", target, listener)]
    if fused:
        return [_wrap(module, "forward", target, listener)]

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling():
            listener.enter(target, args, kwargs)

    def after(
        module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if not torch.compiler.is_compiling():
            listener.leave(target, output, None)

    # The last hook before `forward` sees what forward gets, the last one behind what callers get.
    pre = module.register_forward_pre_hook(before, with_kwargs=True)
    post = module.register_forward_hook(after, with_kwargs=True, always_call=True)
    return [pre.remove, post.remove]


def _wrap(module: torch.nn.Module, name: str, target: Target, listener: Listener) -> Undo:
    own = name in module.__dict__
    original = getattr(module, name)

    @functools.wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return original(*args, **kwargs)
        listener.enter(target, args, kwargs)
        try:
            output = original(*args, **kwargs)
        except BaseException:
            listener.leave(target, None, True)
            raise
        listener.leave(target, output, False)
        return output

    def undo() -> None:
        if module.__dict__.get(name) is not watched:
            return  # somebody replaced it meanwhile
        if own:
            module.__dict__[name] = original
        else:
            del module.__dict__[name]

    module.__dict__[name] = watched
    return undo


def fused_modules(model: torch.nn.Module) -> set[int]:
    """Ids of modules inside torch's transformer encoder layers, which look for hooks."""
    return {
        id(inner)
        for layer in model.modules()
        if isinstance(layer, torch.nn.TransformerEncoderLayer)
        for inner in layer.modules()
    }


def compiled_modules(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The modules whose inside runs as compiled code, by name, outermost ones only."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    wrapper = getattr(frames, "OptimizedModule", None)
    found: dict[str, torch.nn.Module] = {}
    for name, module in model.named_modules():
        optimized = wrapper is not None and isinstance(module, wrapper)
        if (optimized or module.__dict__.get("_compiled_call_impl") is not None) and not any(
            name.startswith(f"{outer}.") or not outer for outer in found
        ):
            found[name] = module
    return found


def inside(compiled: dict[str, torch.nn.Module]) -> set[int]:
    """Ids of the modules inside compiled ones: a hook there is not called, but makes torch compile
    again.
    """
    return {
        id(inner) for outer in compiled.values() for inner in outer.modules() if inner is not outer
    }


def compiled_frames() -> int:
    """How many frames torch has made a graph of in this process so far."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None)
    return int(counters["stats"]["unique_graphs"]) if counters is not None else 0
