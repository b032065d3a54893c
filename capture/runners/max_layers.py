"""Holds a Modular MAX model and runs any one of its layers again, on given inputs.

Used in the runner's own process: MAX prints to both standard streams from native code, and may
crash. Nothing of the whole model is compiled; a layer is compiled when it is first asked for.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from max.driver import CPU, Accelerator
from max.engine import InferenceSession

from ..engines.max_capture import max_version
from ..engines.max_refusals import explained
from ..errors import CaptureError
from ..models.checkpoint import load_config, own_dtype_name, stage_for_max
from ..models.run_plan import Plan
from .layers import LayerInfo, RerunError, RerunOutputs
from .max_buffers import tensor_of
from .max_cache import cache_problem
from .max_calls import CACHE, Call, linear_call
from .max_compile import Compiler
from .max_feed import Feed
from .max_graphs import ready
from .max_roots import Model, open_model

_LONGEST = 4096  # tokens that the rotary tables are made for, where the model takes so many
_KEPT = 8  # layers that stay loaded: making one ready again takes up to seconds
_DEVICES = {"cpu": "cpu", "gpu": "gpu:0", "cuda": "gpu:0"}


class MaxLayers:
    """The layers of one model.

    `directory` is a Hugging Face directory; `dtype` (`float32`, `bfloat16`), `module_api`
    (`v2`, `v3`), `num_hidden_layers` and `allow_unsupported` are as for a capture. `progress` is
    told in words what is done now.

    Raises `RerunError` when the model cannot be held.
    """

    def __init__(
        self,
        directory: str,
        *,
        dtype: str | None = None,
        device: str = "cpu",
        module_api: str | None = None,
        num_hidden_layers: int | None = None,
        allow_unsupported: bool = False,
        progress: Callable[[str], None],
    ) -> None:
        self.framework_version = max_version() or "unknown"
        plan = Plan(
            directory, (), dtype=dtype, device=device, layers=num_hidden_layers,
            module_api=module_api or "v2", allow_unsupported=allow_unsupported,
        )  # fmt: skip
        if device not in _DEVICES:
            raise RerunError(f"device {device}: MAX runs layers on {', '.join(_DEVICES)}")
        if allow_unsupported:
            from ..engines.max_patches import allow_unsupported as patch

            for line in patch(device == "cpu"):
                progress(line)
        self._model, self._longest = _opened(plan, progress)
        devices = [CPU()] if device == "cpu" else [Accelerator()]
        self._compiler = Compiler(InferenceSession(devices=devices), progress)
        self._ready: dict[str, Any] = {}
        self._calls = {name: _call_of(self._model, name) for name in _in_order(self._model)}

    def layers(self) -> list[LayerInfo]:
        """All layers in execution order, then those that the model never calls.

        Those that cannot be run again say why.
        """
        return [
            LayerInfo(
                name, type(self._model.layers[name]).__name__, tuple(a.slot for a in call.given()),
                reruns=not call.problem, why=call.problem,
            )
            for name, call in self._calls.items()
        ]  # fmt: skip

    def rerun(
        self, name: str, inputs: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor]
    ) -> RerunOutputs:
        """Run one layer.

        `inputs` by slot, as MAX's dump has them: ragged, `[tokens, ...]`. Floating point inputs
        are cast to the layer's dtype. Of `extra`: `row_offsets` `[sequences + 1]`, where each
        sequence begins (one sequence without it); `past_keys` and `past_values` `[past_tokens,
        kv_heads, head_dim]`, keys after the rotary embedding, for layers with attention;
        `past_offsets` `[sequences + 1]` where the sequences' pasts differ in length. A slot with
        row offsets or the layer's number is used if it is given; one with a rotary table is
        computed by the layer's own rotary embedding instead.

        Raises `RerunError`.
        """
        call = self._calls.get(name)
        if call is None:
            raise RerunError(f"the MAX model has no layer {name}")
        if call.problem:
            raise RerunError(f"{name} cannot be run again: {call.problem}")
        with _one_line(name):
            feed = Feed(name, call, self._model.cache_params, self._longest)
            buffers = feed.buffers(inputs, extra)
            spent = self._compiler.seconds
            layer = self._ready_layer(name, call)
            begun = time.perf_counter()
            outputs = layer.execute(*buffers)
            seconds = time.perf_counter() - begun
            found = dict(zip(call.outputs, map(tensor_of, outputs), strict=True))
        return RerunOutputs(found, seconds, self._compiler.seconds - spent)

    def _ready_layer(self, name: str, call: Call) -> Any:
        """The layer with its weights, ready to execute; the last few are kept."""
        layer = self._ready.pop(name, None) or ready(self._model, name, call, self._compiler)
        self._ready[name] = layer
        if len(self._ready) > _KEPT:
            del self._ready[next(iter(self._ready))]
        return layer


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes one line about the layer."""
    try:
        yield
    except RerunError as error:
        raise RerunError(f"{name}: {error}") from error
    except Exception as error:
        raise RerunError(f"{name}: MAX says {_first_line(error)}") from error


def _in_order(model: Model) -> list[str]:
    """Names of layers in execution order, then of those never called; no private attributes."""
    names = [name for name in model.calls if name in model.layers]
    names += [name for name in model.layers if name not in model.calls]
    return [name for name in names if "._" not in name]


def _call_of(model: Model, name: str) -> Call:
    """How to call a layer; a call with a problem where that is not possible."""
    if name == "model":
        return Call(problem="it is the whole model; a capture runs it")
    call = model.calls.get(name) or linear_call(model.layers[name])
    if call is None:
        return Call(problem="the model never calls it, so its inputs are not known")
    if call.has(CACHE) and model.cache_params is None:
        return Call(problem="it takes a cache, and the model does not say how that is laid out")
    if call.has(CACHE) and (problem := cache_problem(model.cache_params)):
        return Call(problem=problem)
    return call


def _opened(plan: Plan, progress: Callable[[str], None]) -> tuple[Model, int]:
    """The model, and the longest sequence that its rotary tables are made for."""
    watcher = _Words(progress)
    if os.path.isdir(plan.model):
        os.environ["HF_HUB_OFFLINE"] = "1"  # everything lies in the directory
    try:
        with tempfile.TemporaryDirectory(prefix="layertui-") as private:
            config = load_config(plan)
            limit = getattr(config.get_text_config(), "max_position_embeddings", None)
            longest = min(_LONGEST, limit) if isinstance(limit, int) else _LONGEST
            staged = stage_for_max(plan, config, private, watcher)
            progress(f"loading {plan.model} into MAX")
            encoding = plan.dtype or own_dtype_name(config)
            return open_model(lambda: _pipeline(plan, staged, encoding, longest)), longest
    except CaptureError as error:
        raise RerunError(str(error)) from error
    except RerunError as error:
        raise RerunError(f"{plan.model}: {error}") from error
    except Exception as error:
        first = _first_line(error)
        said = explained(first, plan) or f"MAX says {first}"
        raise RerunError(f"{plan.model}: {said}") from error


def _pipeline(plan: Plan, staged: str, encoding: str, longest: int) -> Any:
    from max.pipelines import AutoModel

    more: dict[str, Any] = {"prefer_module_v3": True} if plan.module_api == "v3" else {}
    return AutoModel(
        staged, devices=_DEVICES[plan.device], max_batch_size=1, quantization_encoding=encoding,
        max_length=longest, use_subgraphs=False, **more,
    )  # fmt: skip


class _Words:
    """A watcher of runs that tells everything as one line of progress."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def say(self, line: str) -> None:
        self._progress(" ".join(line.split()))

    def stage(self, text: str, folder: str = "") -> None:
        self._progress(text)

    def layers(self, done: int, total: int) -> None:
        """Only runs have layers that finish."""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
