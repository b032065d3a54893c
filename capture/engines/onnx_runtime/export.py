"""A Hugging Face model as an ONNX file, by torch's exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...cases import Case
from ...errors import CaptureError
from ...extras import has_package, require_torch
from ...models.run_directory import prepare_directory
from ...models.run_plan import Plan, Watcher
from .source import SUFFIX, find_model_file

_FILE = "model.onnx"
_TEXT = ("input_ids", "attention_mask")


def onnx_file_of(plan: Plan, path: str, watcher: Watcher) -> tuple[str, tuple[Case, ...]]:
    """The ONNX file to run for a plan, and its cases with token ids. A directory with weights of
    Hugging Face and no ONNX file is exported to `path`_model. Raises `CaptureError`.
    """
    if is_onnx(plan.model):
        file = find_model_file(plan.model)
        return file, tuple(with_ids(case, file) for case in plan.cases)
    from ...models.same_input import fix_input

    require_torch("exporting a model to ONNX")
    plan = fix_input(plan)
    folder = f"{path.rstrip(os.sep)}_model"
    return export_model(plan, folder, watcher), plan.cases


def is_onnx(model: str) -> bool:
    """Whether `model` is an ONNX file, or a directory with one, which may have to be chosen."""
    if not os.path.isdir(model):
        return model.lower().endswith(SUFFIX) or os.path.isfile(model)
    return any(name.lower().endswith(SUFFIX) for name in os.listdir(model))


def with_ids(case: Case, file: str) -> Case:
    """A case with its prompt's ids, by the tokenizer beside the model. Raises `CaptureError`."""
    if case.prompt is None:
        return case
    require_torch("a prompt")
    from ...models.model_inputs import tokens_of

    return replace(case, ids=(tokens_of(case.prompt, os.path.dirname(file) or "."),))


def export_model(plan: Plan, folder: str, watcher: Watcher) -> str:
    """Export the model of a plan into `folder`; returns the file. The exporter is the plan's, else
    dynamo where onnxscript is installed. Raises `CaptureError`.
    """
    exporter = plan.exporter or ("dynamo" if has_package("onnxscript") else "torchscript")
    if exporter == "dynamo" and not has_package("onnxscript"):
        raise CaptureError("--exporter dynamo needs the package onnxscript: pip install onnxscript")
    import torch

    from ...models.checkpoint import load_config, load_model

    with torch.no_grad():
        model = load_model(plan, load_config(plan), watcher).eval()
        prepare_directory(folder, plan.overwrite)
        file = os.path.join(folder, _FILE)
        for name in (_FILE, f"{_FILE}.data"):
            Path(folder, name).unlink(missing_ok=True)
        watcher.stage(f"exporting to ONNX ({exporter})", folder)
        try:
            with _quiet():
                _export(model, file, exporter)
        except CaptureError:
            raise
        except Exception as error:  # whatever the exporter meets in a model
            raise CaptureError(
                f"{plan.model}: torch's exporter ({exporter}) failed, {_first_cause(error)}"
            ) from error
    watcher.say(f"exported   {file}  {exporter}")
    return file


def _first_cause(error: BaseException) -> str:
    """What an exporter met first, in one line; it wraps that in errors of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _export(model: Any, file: str, exporter: str) -> None:
    import inspect

    import torch

    names = tuple(n for n in _TEXT if n in inspect.signature(model.forward).parameters)
    if "input_ids" not in names:
        raise CaptureError(f"{type(model).__name__} takes no token ids; export it yourself and "
                           "capture the file")  # fmt: skip
    wrapper, output = _wrapper(model, names)
    # A mask of ones is given: without one, transformers looks for packed sequences, which the
    # older exporter does not know. Two rows: a size of one would be taken for fixed.
    ids = torch.ones((2, 5), dtype=torch.int64)
    given = tuple(ids.clone() for _ in names)  # one tensor twice would become one input
    if exporter == "dynamo":
        open_axis = torch.export.Dim.DYNAMIC
        torch.onnx.export(
            wrapper, given, file, dynamo=True, input_names=list(names), output_names=[output],
            dynamic_shapes={"args": tuple({0: open_axis, 1: open_axis} for _ in names)},
            verbose=False,
        )  # fmt: skip
    else:
        axes = {name: {0: "batch", 1: "tokens"} for name in names}
        torch.onnx.export(
            wrapper, given, file, dynamo=False, input_names=list(names), output_names=[output],
            dynamic_axes=axes,
        )  # fmt: skip


def _wrapper(model: Any, names: tuple[str, ...]) -> tuple[Any, str]:
    """A module that takes tensors in the order of `names` and returns one."""
    import torch

    takes_cache = "use_cache" in _parameters(model)
    more = {"use_cache": False} if takes_cache else {}
    ids = torch.ones((2, 5), dtype=torch.int64)
    result = model(**dict.fromkeys(names, ids), **more)
    fields = list(result.keys()) if hasattr(result, "keys") else []
    output = next((n for n in ("logits", "last_hidden_state") if n in fields), None)
    if output is None:
        raise CaptureError(f"{type(model).__name__} returns neither logits nor hidden states")
    chosen: str = output

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *args: Any) -> Any:
            return self.model(**dict(zip(names, args, strict=True)), **more)[chosen]

    return Exported().eval(), chosen


def _parameters(model: Any) -> Any:
    import inspect

    return inspect.signature(model.forward).parameters


@contextlib.contextmanager
def _quiet() -> Any:
    """Exporters print how they do, some of it from native code, and warn of what they trace."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
        logging.disable(level)
