"""The program that runs MAX and has it write every layer's tensors; started by `max_capture`.

MAX writes natively: tensors as `.max` files into the directory of the session, a line for each to
standard error, which tells the order. Both standard streams therefore go to logs beside the
tensors. The request arrives as one JSON line on standard input; what happens is told, a JSON
object a line, on the descriptor given as argument. When standard input ends the parent is gone,
and so is this program.

Layers are named before the graph is traced, since the print operators are part of the graph. For
MAX's module interface v3 it must be the *declared* copy of the module that is named: `compile`
traces a copy, and names given earlier would hold on to the original's weights, which are never
loaded.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import fnmatch
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CaptureError
from ..models.run_directory import check_space
from ..sizes import size_of
from .child_process import Pipe, begin

_SESSIONS: list[Any] = []


def main() -> None:
    """Entry point. Always ends without the interpreter's teardown, in which MAX may abort."""
    request, pipe = begin()
    try:
        _work(request, pipe)
        pipe.tell(done=True)
    except ModuleNotFoundError as error:
        pipe.tell(missing=error.name or str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        if isinstance(error, CaptureError):
            pipe.tell(problem=str(error))
        else:
            pipe.tell(error=said[:500])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _work(request: dict[str, Any], pipe: Pipe) -> None:
    cases = request["cases"]
    _direct_prints(_step_folder(cases[0]["folder"], 0))
    _name_layers(request)
    if request["allow_unsupported"]:
        from .max_patches import allow_unsupported

        for line in allow_unsupported(request["device"] == "cpu"):
            pipe.tell(note=line)
    steps_of = _factory(request, pipe) if request["factory"] else _pipeline(request, pipe)
    rates: list[float] = []
    for number, case in enumerate(cases):
        if number:
            _redirect(case["folder"])
        pipe.tell(case=number)
        tokens = sum(len(row) for row in case["rows"]) + case["steps"] - 1
        if rates:
            check_space(case["folder"], max(rates) * tokens)
        _run_case(case, steps_of(case["rows"], case["steps"]), pipe)
        rates.append(size_of(case["folder"]) / tokens)
        pipe.tell(finished=number)


def _run_case(case: dict[str, Any], step: Callable[[], None], pipe: Pipe) -> None:
    folder, steps = case["folder"], case["steps"]
    for number in range(steps):
        place = _step_folder(folder, number)
        _print_into(place)
        step()
        pipe.tell(step=number + 1)
        if 0 < number < steps - 1:
            check_space(folder, size_of(place) * (steps - 1 - number))


# --- where prints go


def _step_folder(folder: str, step: int) -> str:
    place = os.path.join(folder, str(step))
    Path(place).mkdir(parents=True, exist_ok=True)
    return place


def _direct_prints(first: str) -> None:
    """Every session that is made prints tensors as files; the directory can change at any time."""
    from max.engine import InferenceSession

    made = InferenceSession.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        _SESSIONS.append(self)
        _set_folder(self, first)

    InferenceSession.__init__ = init


def _print_into(folder: str) -> None:
    for session in _SESSIONS:
        _set_folder(session, folder)


def _set_folder(session: Any, folder: str) -> None:
    from max.engine.api import PrintStyle

    session.set_debug_print_options(style=PrintStyle.BINARY_MAX_CHECKPOINT, output_directory=folder)


def _redirect(folder: str) -> None:
    """Standard output and error of this process, native code included, go to logs in `folder`."""
    from ..models.run_directory import MAX_LOGS

    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, name in zip((2, 1), MAX_LOGS, strict=True):
        log = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(log, descriptor)
        os.close(log)


# --- names of layers


def _name_layers(request: dict[str, Any]) -> None:
    import max.experimental.nn.module as modules
    from max.nn.layer import Module

    hook = _hook(request)
    load = Module.load_state_dict
    declare = modules.name_weights

    def load_state_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(self, *args, **kwargs)
        hook.name_layers(self)
        return result

    def name_weights(declared: Any) -> Any:
        result = declare(declared)
        hook.name_layers(declared)
        return result

    Module.load_state_dict = load_state_dict
    modules.name_weights = name_weights


def _hook(request: dict[str, Any]) -> Any:
    from max.nn.hooks import PrintHook

    include, exclude, inputs = request["include"], request["exclude"], request["inputs"]

    class Hook(PrintHook):
        """Prints what was asked for. What is left out counts as printed."""

        def print_value(self, name: str, value: Any) -> bool:
            module, _, slot = name.rpartition("-")
            module = module.partition("(")[0]
            if slot.startswith("input") and not inputs:
                return True
            if (include and not _matches(module, include)) or _matches(module, exclude):
                return True
            return super().print_value(name, value)

    return Hook()


def _matches(module: str, globs: list[str]) -> bool:
    """By the name as MAX has it, or without the outermost `model`."""
    names = (module, module.removeprefix("model.") if module != "model" else "")
    return any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)


# --- what runs

Steps = Callable[[list[list[int]], int], Callable[[], None]]
"""Of rows of token ids and a number of steps: what runs one of the steps."""


def _pipeline(request: dict[str, Any], pipe: Pipe) -> Steps:
    """A text generation pipeline; each step is one forward pass."""
    from max.pipelines import AutoModel
    from max.pipelines.lib.generate import GenerateIterator

    # With subgraphs one label would be baked in for all layers: each would overwrite the last.
    more: dict[str, Any] = {"use_subgraphs": False}
    if request["module_api"] == "v3":
        more["prefer_module_v3"] = True
    devices = {"cuda": "gpu:0", "cpu": "cpu"}.get(request["device"])
    if devices is not None:
        more["devices"] = devices
    model = AutoModel(
        request["model"], max_batch_size=request["batch"],
        quantization_encoding=request["encoding"], max_length=request["max_length"], **more,
    )  # fmt: skip
    inner: Any = model.pipeline
    _tell_model(type(inner._pipeline_model), pipe)
    open_runs: list[Any] = []

    def begin(rows: list[list[int]], steps: int) -> Callable[[], None]:
        if open_runs:
            open_runs.pop().__exit__(None, None, None)
        run = GenerateIterator(model.pipeline, rows, max_new_tokens=steps, ignore_eos=True, top_k=1)
        open_runs.append(run.__enter__())
        return lambda: _ignore(run.step())

    return begin


def _factory(request: dict[str, Any], pipe: Pipe) -> Steps:
    """`factory(model_dir)` returns a function that is called with the rows of ids once a step."""
    from ..models.checkpoint import load_factory

    made = load_factory(request["factory"])(request["model"])
    if not callable(made):
        raise CaptureError(
            f"--factory {request['factory']}: returned a {type(made).__name__}; for MAX it must "
            "return a function that runs one step on rows of token ids"
        )
    _tell_model(made if inspect.isroutine(made) else type(made), pipe)
    return lambda rows, _: lambda: _ignore(made(rows))


def _tell_model(kind: Any, pipe: Pipe) -> None:
    try:
        source = inspect.getsourcefile(kind)
    except TypeError:
        source = None
    pipe.tell(model=getattr(kind, "__qualname__", str(kind)), source=source or "no source file")


def _ignore(_: object) -> None:
    """MAX's own answer, the next tokens, is not needed: they are the next step's input."""
