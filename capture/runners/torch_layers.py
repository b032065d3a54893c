"""The layers of a PyTorch model, run again with the arguments of a recorded call.

Caches are made anew from their recorded keys and values for every run: a cache grows when it is
used, and without it attention gives wrong answers without an error.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import CaptureError
from ..models.checkpoint import load_config, load_factory, load_model
from ..models.run_plan import Plan
from ..recorder.caches import only_layer
from ..recorder.tree import Encoder, rebuild
from .layers import LayerInfo, RerunError, RerunOutputs
from .watching import LoadingWatcher

_EMPTY = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.ParameterList,
               torch.nn.ParameterDict)  # fmt: skip


class TorchLayers:
    """A model from a Hugging Face directory or a factory; every module of it can be run.

    Raises `CaptureError` when the model cannot be made.
    """

    framework = "torch"
    flags: Mapping[str, bool] = {"calls": True}

    def __init__(self, settings: dict[str, Any], progress: Callable[[str], None]) -> None:
        self.framework_version = str(torch.__version__)
        self.notes: list[str] = []
        progress("loading the model")
        with torch.no_grad():
            model = _model(settings, self.notes, progress)
            model.to(_device(settings["device"])).eval()
        self._model = model
        self._modules = dict(model.named_modules(remove_duplicate=False))

    def layers(self) -> list[LayerInfo]:
        """All modules that run, by the names that a capture has; the root's is empty."""
        return [
            LayerInfo(name, type(module).__name__, _slots(module))
            for name, module in self._modules.items()
            if not isinstance(module, _CONTAINERS)
        ]

    def run(
        self, name: str, tensors: dict[str, torch.Tensor], call: dict[str, Any] | None
    ) -> RerunOutputs:
        """Run the module `name`. `call` has `slots`, `args` and `kwargs`, see `protocol`."""
        module = self._modules.get(name)
        if module is None:
            raise RerunError(f"the model has no layer {name!r}")
        args, kwargs = self._arguments(module, tensors, call)
        started = time.perf_counter()
        with torch.no_grad():
            result = module(*args, **kwargs)
        seconds = time.perf_counter() - started
        return RerunOutputs(_outputs(module, result), seconds)

    def _arguments(
        self, module: torch.nn.Module, tensors: dict[str, torch.Tensor], call: dict[str, Any] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        device = next(
            (part.device for part in (*module.parameters(), *self._model.parameters())),
            torch.device("cpu"),
        )
        moved = {slot: tensor.to(device) for slot, tensor in tensors.items()}
        if call is None:
            return _from_slots(module, moved)
        slots = call["slots"]

        def load(number: int) -> torch.Tensor:
            return moved[slots[number]]

        def cache(structure: dict[str, Any]) -> Any:
            return _cache(structure, getattr(self._model, "config", None))

        args = tuple(rebuild(part, load, cache) for part in call["args"])
        return args, {key: rebuild(part, load, cache) for key, part in call["kwargs"].items()}


def open_layers(
    settings: dict[str, Any], directory: str, progress: Callable[[str], None]
) -> TorchLayers:
    """As `engines.registry` calls a runner; a model of torch needs no directory."""
    return TorchLayers(settings, progress)


def _model(
    settings: dict[str, Any], notes: list[str], progress: Callable[[str], None]
) -> torch.nn.Module:
    plan = Plan(
        settings["model"] or "", (), dtype=settings["dtype"], layers=settings["layers"],
        seed=settings["seed"], factory=settings["factory"], attention=settings["attention"],
    )  # fmt: skip
    if plan.factory is None:
        return load_model(plan, load_config(plan), LoadingWatcher(notes, progress))
    torch.manual_seed(plan.seed)
    made = load_factory(plan.factory)(plan.model)
    model = made[0] if isinstance(made, tuple) and len(made) == 2 else made
    if not isinstance(model, torch.nn.Module):
        raise CaptureError(
            f"--factory {plan.factory}: returned a {type(model).__name__}, not a module"
        )
    return model


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise CaptureError(f"--device {wanted}: torch finds no GPU")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise CaptureError(f"--device {wanted}: torch finds {torch.cuda.device_count()} GPUs")
    return torch.device(wanted)


def _slots(module: torch.nn.Module) -> tuple[str, ...]:
    """The slots of the arguments that `forward` must have, as keywords."""
    try:
        named = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        f"input_{p.name}" for p in named if p.default is _EMPTY and p.kind not in _VARIADIC
    )


# --- arguments


def _from_slots(
    module: torch.nn.Module, tensors: dict[str, torch.Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by the names of their slots, for captures that do not keep how a call was made:
    `input_0` is the first, `input_mask` a keyword, `input_position_embeddings_0` and `_1` a tuple.
    """
    positional: dict[int, torch.Tensor] = {}
    named: dict[str, torch.Tensor] = {}
    for slot, tensor in tensors.items():
        word = slot.removeprefix("input_") if slot != "input" else "0"
        if word.isdecimal():
            positional[int(word)] = tensor
        else:
            named[word] = tensor
    args = [positional.get(i) for i in range(max(positional, default=-1) + 1)]
    return tuple(args), _keywords(module, named)


def _keywords(module: torch.nn.Module, named: dict[str, torch.Tensor]) -> dict[str, Any]:
    known = inspect.signature(module.forward).parameters
    kwargs: dict[str, Any] = {}
    parts: dict[str, dict[int, torch.Tensor]] = {}
    for word, tensor in named.items():
        stem, _, number = word.rpartition("_")
        if word not in known and number.isdecimal() and stem:
            parts.setdefault(stem, {})[int(number)] = tensor
        elif word.endswith(("_keys", "_values")) and word not in known:
            raise RerunError("a cache needs a capture that keeps how calls were made")
        else:
            kwargs[word] = tensor
    for stem, found in parts.items():
        if sorted(found) != list(range(len(found))):
            raise RerunError(f"of input_{stem} only the parts {sorted(found)} are there")
        kwargs[stem] = tuple(found[i] for i in range(len(found)))
    return kwargs


def _cache(structure: dict[str, Any], config: Any) -> Any:
    """A cache of transformers with copies of the recorded keys and values."""
    from transformers import cache_utils

    kind = str(structure["cache"])
    if "self_attention_cache" in structure:
        halves = structure["self_attention_cache"], structure["cross_attention_cache"]
        return cache_utils.EncoderDecoderCache(*halves)
    if kind not in ("DynamicCache", "HybridCache", "SlidingWindowCache"):
        raise RerunError(f"a {kind[:40]} cannot be refilled")
    text = config.get_text_config() if hasattr(config, "get_text_config") else None
    made = cache_utils.DynamicCache(config=text) if text is not None else cache_utils.DynamicCache()
    for kept in structure.get("layers", [structure]):
        others = sorted(set(kept) - {"cache", "layer", "layers", "keys", "values"})
        filled = [name for name in others if kept[name] is not None]
        if filled:
            raise RerunError(f"a cache with {', '.join(filled)[:60]} cannot be filled again")
        if kept.get("keys") is not None and kept.get("values") is not None:
            made.update(kept["keys"].clone(), kept["values"].clone(), int(kept["layer"]))
    return made


# --- outputs


def _outputs(module: torch.nn.Module, result: Any) -> dict[str, torch.Tensor]:
    """The result's tensors by the slots that a recording gives them."""
    found: dict[str, torch.Tensor] = {}

    def keep(slot: str, tensor: Any) -> dict[str, int]:
        if isinstance(tensor, torch.Tensor):
            found[slot] = tensor
        return {"seq": len(found)}

    Encoder(keep, only_layer(module)).encode(result, "output")
    return found
