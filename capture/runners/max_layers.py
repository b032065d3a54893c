"""Holds a Modular MAX model and runs any one of its layers again, on given inputs.

Used in the runner's own process: MAX prints to both standard streams from native code, and may
crash. Nothing of the whole model is compiled; a layer is compiled when it is first asked for.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from max.driver import CPU, Accelerator, Buffer
from max.engine import InferenceSession

from ..checkpoint import load_config, own_dtype_name, stage_for_max
from ..errors import CaptureError
from ..max_capture import explained, max_version
from ..run_plan import Plan
from .layers import LayerInfo, RerunError, RerunOutputs
from .max_buffers import buffer_of, tensor_of, torch_dtype
from .max_cache import Past, cache_buffers, cache_problem
from .max_calls import CACHE, LAYER_INDEX, ROW_OFFSETS, SIGNAL, Argument, Call, linear_call
from .max_compile import Compiler
from .max_graphs import fed, ready
from .max_roots import Model, open_model

_LONGEST = 4096  # tokens that the rotary tables are made for, where the model takes so many
_DEVICES = {"cpu": "cpu", "gpu": "gpu:0", "cuda": "gpu:0"}


class MaxLayers:
    """The layers of one model.

    `directory` is a Hugging Face directory; `dtype` (`float32`, `bfloat16`), `module_api`
    (`v2`, `v3`), `num_hidden_layers` and `allow_unsupported` are as for a capture. `progress` is
    told in words what takes long, about once a second, from any thread.

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
            from ..max_patches import allow_unsupported as patch

            for line in patch(device == "cpu"):
                progress(line)
        self._model, self._longest = _opened(plan, progress)
        devices = [CPU()] if device == "cpu" else [Accelerator()]
        self._compiler = Compiler(InferenceSession(devices=devices), progress)
        self._progress = progress
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
        with _Errors(name):
            feed = _Feed(name, call, self._model.cache_params, self._longest)
            buffers = feed.buffers(inputs, extra)
            spent = self._compiler.seconds
            layer = ready(self._model, name, call, self._compiler)
            begun = time.perf_counter()
            outputs = layer.execute(*buffers)
            seconds = time.perf_counter() - begun
            found = dict(zip(call.outputs, map(tensor_of, outputs), strict=True))
        return RerunOutputs(found, seconds, self._compiler.seconds - spent)


class _Errors:
    """Whatever MAX raises inside becomes one line about the layer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, RerunError):
            if not str(error).startswith(self._name):
                raise RerunError(f"{self._name}: {error}") from error
        elif isinstance(error, Exception):
            raise RerunError(f"{self._name}: MAX says {_first_line(error)}") from error


class _Feed:
    """What one layer is given, made into buffers."""

    def __init__(self, name: str, call: Call, cache_params: Any, longest: int) -> None:
        self._name, self._call = name, call
        self._params, self._longest = cache_params, longest

    def buffers(
        self, inputs: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor]
    ) -> list[Buffer]:
        """In the order of the graph's inputs. Raises `RerunError`."""
        call = self._call
        given = {a.slot: _fitted(a, inputs) for a in call.given()}
        _check_open_sizes(call, given)
        offsets = None
        if call.has(ROW_OFFSETS) or call.has(CACHE):
            tokens = len(next(iter(given.values())))
            offsets = _row_offsets(call, inputs, extra, tokens)
        buffers = []
        for argument in fed(call):
            buffers.append(self._buffer(argument, given, inputs, offsets))
        if call.has(CACHE):
            assert offsets is not None
            past = _past(extra, len(offsets) - 1)
            self._check_length(offsets, past)
            buffers += cache_buffers(self._params, offsets, past)
        return buffers

    def _buffer(
        self, argument: Argument, given: Mapping[str, torch.Tensor],
        inputs: Mapping[str, torch.Tensor], offsets: Sequence[int] | None,
    ) -> Buffer:  # fmt: skip
        kind = argument.type
        if argument.role == SIGNAL:
            return Buffer.zeros([1], kind.dtype, kind.device.to_device())
        if argument.role == ROW_OFFSETS:
            value = torch.tensor(offsets)
        elif argument.role == LAYER_INDEX:
            value = inputs[argument.slot] if argument.slot in inputs else self._number()
        else:
            value = given[argument.slot]
        return buffer_of(value.reshape(_sizes(value, kind)).to(torch_dtype(kind.dtype)),
                         kind.device)  # fmt: skip

    def _number(self) -> torch.Tensor:
        """Which layer of the stack it is: the last number in its name."""
        found = re.findall(r"layers\.(\d+)", self._name)
        return torch.tensor(int(found[-1]) if found else 0)

    def _check_length(self, offsets: Sequence[int], past: Past | None) -> None:
        before = past.offsets if past is not None else [0] * len(offsets)
        for new, old in zip(pairwise(offsets), pairwise(before), strict=False):
            total = new[1] - new[0] + old[1] - old[0]
            if total > self._longest:
                raise RerunError(
                    f"{total} tokens with their past: this runner takes {self._longest}"
                )


def _fitted(argument: Argument, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tensor given for a slot, if its axes and kind of numbers are the layer's."""
    tensor, kind = inputs.get(argument.slot), argument.type
    if tensor is None:
        raise RerunError(f"{argument.slot} is missing; the layer takes {_type_in_words(kind)}")
    fits = len(kind.shape) == tensor.dim() and all(
        not str(want).isdigit() or int(str(want)) == got
        for want, got in zip(kind.shape, tensor.shape, strict=True)
    )
    wanted = torch_dtype(kind.dtype)
    if not fits or tensor.dtype.is_floating_point != wanted.is_floating_point:
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise RerunError(
            f"{argument.slot} is {dtype} {_shape_in_words(tensor.shape)}; the layer takes "
            f"{_type_in_words(kind)}"
        )
    if not tensor.numel():
        raise RerunError(f"{argument.slot} is empty")
    return tensor


def _check_open_sizes(call: Call, given: Mapping[str, torch.Tensor]) -> None:
    """Axes that differ from run to run must be the same in all inputs. Raises `RerunError`."""
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for argument in call.given():
        for dim, size in zip(argument.type.shape, given[argument.slot].shape, strict=True):
            name = str(dim)
            if name.isdigit():
                continue
            if sizes.setdefault(name, size) != size:
                raise RerunError(
                    f"{argument.slot} has {size} rows, {first[name]} has {sizes[name]}: "
                    "they must be as many"
                )
            first.setdefault(name, argument.slot)


def _row_offsets(
    call: Call, inputs: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor], tokens: int
) -> tuple[int, ...]:
    slots = [a.slot for a in call.arguments if a.role == ROW_OFFSETS and a.slot in inputs]
    told = extra.get("row_offsets", inputs[slots[0]] if slots else None)
    if told is None:
        return (0, tokens)
    return _offsets("row_offsets", told, tokens)


def _offsets(what: str, told: torch.Tensor, total: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in told.reshape(-1).to(torch.int64).tolist())
    if len(values) < 2 or values[0] != 0 or values[-1] != total:
        raise RerunError(f"{what} are {list(values)}; they go from 0 to {total}")
    if any(b < a or (b == a and what == "row_offsets") for a, b in pairwise(values)):
        raise RerunError(f"{what} are {list(values)}; each must be greater than the one before")
    return values


def _past(extra: Mapping[str, torch.Tensor], sequences: int) -> Past | None:
    keys, values = extra.get("past_keys"), extra.get("past_values")
    if keys is None and values is None:
        return None
    if keys is None or values is None:
        raise RerunError("past_keys and past_values go together; one is missing")
    if keys.dim() != 3 or keys.shape != values.shape:
        raise RerunError(
            f"past_keys {_shape_in_words(keys.shape)} and past_values "
            f"{_shape_in_words(values.shape)}: both are [past tokens, heads, size of a head]"
        )
    if "past_offsets" in extra:
        return Past(keys, values, _offsets("past_offsets", extra["past_offsets"], len(keys)))
    if len(keys) % sequences:
        raise RerunError(
            f"{len(keys)} past tokens of {sequences} sequences: past_offsets must tell which "
            "are whose"
        )
    each = [len(keys) // sequences] * sequences
    return Past(keys, values, tuple(accumulate(each, initial=0)))


def _sizes(value: torch.Tensor, kind: Any) -> list[int]:
    """The shape to hand over: as it is, but a scalar for a number that came as one row."""
    return [] if not len(kind.shape) and value.numel() == 1 else list(value.shape)


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
        return Call(problem="the model never calls it, so what it takes is not known")
    if call.has(CACHE) and model.cache_params is None:
        return Call(problem="it takes a cache, and the model does not tell how that is laid out")
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
        said = explained(_first_line(error), plan)
        raise RerunError(f"{plan.model}: MAX says {said}") from error


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


def _type_in_words(kind: Any) -> str:
    sizes = ", ".join("tokens" if str(dim) == "n0" else str(dim) for dim in kind.shape)
    return f"{str(torch_dtype(kind.dtype)).removeprefix('torch.')} [{sizes}]"


def _shape_in_words(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
