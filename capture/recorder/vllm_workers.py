"""Workers of vLLM that record what passes through their model, a directory a rank.

A worker is told of by its base class, whose constructor every worker runs; what it executes is
wrapped on the worker itself, so that it does not matter which executor calls it. The model is
recorded while requests are executed: the runs by which vLLM measures memory and warms up are not.

`LAYERTUI_CAPTURE` is the directory. `LAYERTUI_CAPTURE_STEPS` is the number of passes (16: the
prefill and the first tokens), `LAYERTUI_CAPTURE_INCLUDE` globs on module paths, joined by commas,
`LAYERTUI_CAPTURE_OVERWRITE=1` replaces an earlier capture.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import multiprocessing.util
import os
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import CaptureError
from .recorder import Recorder
from .vllm_variable import VARIABLE
from .wrappers import rank_of_process

_BASE = "vllm.v1.worker.worker_base"
_STEPS = 16
# Settings that say how an engine computes: section of vLLM's config, its entries.
_SETTINGS = {
    "model_config": ("dtype", "quantization", "enforce_eager", "max_model_len", "seed"),
    "cache_config": ("cache_dtype", "enable_prefix_caching", "block_size"),
    "parallel_config": ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
                        "enable_expert_parallel"),
    "scheduler_config": ("max_num_batched_tokens", "enable_chunked_prefill",
                         "chunked_prefill_enabled"),
    "speculative_config": ("method", "num_speculative_tokens"),
    "attention_config": ("backend",),
}  # fmt: skip


def install() -> None:
    """Wrap the constructor of vLLM's workers; the second time nothing happens. Where this vLLM has
    no such class, a warning says so.
    """
    try:
        base = importlib.import_module(_BASE).WorkerBase
    except (ImportError, AttributeError) as error:
        warnings.warn(f"layertui: nothing is captured: no workers in {_BASE}: {error}",
                      RuntimeWarning, stacklevel=2)  # fmt: skip
        return
    original = base.__init__
    if getattr(original, "layertui", False):
        return

    @functools.wraps(original)
    def constructed(worker: Any, *args: Any, **kwargs: Any) -> None:
        original(worker, *args, **kwargs)
        Watch(worker).attach()

    constructed.layertui = True  # type: ignore[attr-defined]
    base.__init__ = constructed


class Watch:
    """One worker, and the capture that it makes. Errors of ours never reach the engine."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._recorder: Recorder | None = None
        self._passes = 0
        self._done = False

    def attach(self) -> None:
        """Wrap what the worker is asked to do."""
        for name, before in (
            ("execute_model", self._before), ("sample_tokens", None), ("shutdown", self.close),
        ):  # fmt: skip
            original = getattr(self._worker, name, None)
            if callable(original):
                setattr(self._worker, name, self._watched(original, before))
        atexit.register(self.close)
        # A process that multiprocessing started ends without the handlers of atexit.
        multiprocessing.util.Finalize(None, self.close, exitpriority=10)

    def close(self, *_: Any, **__: Any) -> None:
        """End the capture."""
        self._done = True
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._guarded(recorder.close)

    def _watched(
        self, original: Callable[..., Any], before: Callable[..., None] | None
    ) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if before is not None:
                before(*args, **kwargs)
            recorder = self._recorder
            if recorder is None:
                return original(*args, **kwargs)
            recorder.paused = False
            try:
                return original(*args, **kwargs)
            finally:
                recorder.paused = True

        return call

    def _before(self, scheduled: Any = None, *_: Any, **__: Any) -> None:
        """Begin with the first pass that has tokens, end after the last one that is wanted."""
        if self._done or not getattr(scheduled, "total_num_scheduled_tokens", 1):
            return
        if self._passes >= _wanted_steps():
            self.close()
            return
        self._passes += 1
        if self._recorder is None:
            self._guarded(self._begin)

    def _begin(self) -> None:
        from .api import record

        model = _model_of(self._worker)
        include = os.environ.get(VARIABLE + "_INCLUDE")
        recorder = record(
            model, os.path.join(os.environ[VARIABLE], f"rank{_rank(self._worker)}"),
            include=include.split(",") if include else None,
            overwrite=os.environ.get(VARIABLE + "_OVERWRITE") == "1", meta=_meta(self._worker),
        )  # fmt: skip
        recorder.__enter__()
        recorder.paused = True
        self._recorder = recorder
        config = getattr(getattr(self._worker, "vllm_config", None), "model_config", None)
        if getattr(config, "enforce_eager", True) is False:
            recorder.note(
                "vLLM ran compiled graphs: what is inside them runs no hooks; start it with "
                "enforce_eager=True"
            )

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            self._done, self._recorder = True, None
            said = (str(error).strip().splitlines() or [""])[0][:300]
            warnings.warn(f"layertui: the capture ends here: {said}", RuntimeWarning, stacklevel=2)


def _wanted_steps() -> int:
    said = os.environ.get(VARIABLE + "_STEPS", "")
    return int(said) if said.isdecimal() and int(said) else _STEPS


def _model_of(worker: Any) -> Any:
    """The `torch.nn.Module` of a worker; raises `CaptureError` where there is none."""
    import torch

    runner = getattr(worker, "model_runner", None)
    asked = (getattr(worker, "get_model", None), getattr(runner, "get_model", None))
    for get in asked:
        try:
            model = get() if callable(get) else None
        except NotImplementedError:
            continue
        if isinstance(model, torch.nn.Module):
            return model
    model = getattr(runner, "model", None)
    if isinstance(model, torch.nn.Module):
        return model
    raise CaptureError(f"{type(worker).__name__} has no model that is a torch.nn.Module")


def _rank(worker: Any) -> int:
    process = rank_of_process()
    rank = process[0] if process is not None else getattr(worker, "rank", 0)
    return rank if type(rank) is int else 0


def _meta(worker: Any) -> dict[str, Any]:
    """What a capture says of the engine: its version, and how it was started."""
    config = getattr(worker, "vllm_config", None)
    engine: dict[str, Any] = {}
    for section, names in _SETTINGS.items():
        part = getattr(config, section, None)
        for name in names:
            value = getattr(part, name, None)
            if value is not None:
                plain = isinstance(value, (bool, int, float))
                engine[name] = value if plain else str(value).removeprefix("torch.")
    found: dict[str, Any] = {"framework": "vllm", "engine": engine, "rank": _rank(worker)}
    try:
        found["framework_version"] = str(importlib.import_module("vllm").__version__)
    except (ImportError, AttributeError):
        found["framework_version"] = "?"
    model = getattr(getattr(config, "model_config", None), "model", None)
    if isinstance(model, str):
        found["model"] = model
    return found
