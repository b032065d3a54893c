"""`layertui capture`: run a model in PyTorch, another engine or both, and record every layer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any

import click

from ...capture.engines.registry import ENGINES, LLAMA_CPP, OPENVINO, Engine
from ...capture.models.run_plan import Plan, Watcher
from ..capture_progress import CaptureProgress
from ..errors import UserError
from ..options import candidate_model_option
from .capture_options import (
    both_options,
    llama_cpp_options,
    make_plan,
    make_single_plan,
    max_options,
    onnx_options,
    openvino_options,
    torch_options,
)

_TORCH, _MAX, _ONNX = (ENGINES[name] for name in ("torch", "max", "onnx"))


@click.group()
def capture() -> None:
    """Run a model and record the tensors of every layer.

    MODEL_DIR is a Hugging Face directory or hub id. A directory with only a config gets random
    weights. Several batch sizes, lengths or prompts make a matrix: one capture per case.
    """


@capture.command("torch")
@click.argument("model_dir")
@torch_options
def capture_with_torch(model_dir: str, output: str, **options: Any) -> int:
    """Run MODEL_DIR in PyTorch. Runs any class of transformers that the config names."""
    plan = make_plan(model_dir, **options)
    return _finished(_run(_TORCH, plan, output), [output])


@capture.command("max")
@click.argument("model_dir")
@max_options
def capture_with_max(model_dir: str, output: str, **options: Any) -> int:
    """Run MODEL_DIR in MAX. The first run of a model takes minutes to compile."""
    plan = make_plan(model_dir, **options)
    return _finished(_run(_MAX, plan, output), [output])


@capture.command("onnx")
@click.argument("model")
@onnx_options
def capture_with_onnx(model: str, output: str, **options: Any) -> int:
    """Run the ONNX file MODEL in ONNX Runtime; a directory of Hugging Face is exported first.

    Recorded are the inputs and outputs of every module that the exporter noted, by its name in
    PyTorch, whatever the exporter. Weights may lie in files beside the model.
    """
    plan = make_single_plan(model, **options)
    return _finished(_run(_ONNX, plan, output), [output])


@capture.command("openvino")
@click.argument("model")
@openvino_options
def capture_with_openvino(model: str, output: str, **options: Any) -> int:
    """Run MODEL, an `.xml` or an ONNX file, in OpenVINO.

    Recorded are, of an ONNX file, the inputs and outputs of every module that the exporter noted;
    of an `.xml` the output of every operation, by its name there.
    """
    OPENVINO.require("running models")
    plan = make_single_plan(model, **options)
    return _finished(_run(OPENVINO, plan, output), [output])


@capture.command("llamacpp")
@click.argument("model")
@llama_cpp_options
def capture_with_llama_cpp(model: str, output: str, **options: Any) -> int:
    """Run MODEL, a `.gguf` file, in llama.cpp.

    Recorded is every value that llama.cpp's graph has a name for, whole, by the package
    `llama_cpp`; without it the log of llama-eval-callback is kept, where that is on the PATH.
    """
    plan = make_single_plan(model, **options)
    return _finished(_run(LLAMA_CPP, plan, output), [output])


@capture.command("both")
@click.argument("model_dir")
@click.option(
    "--candidate",
    "engine",
    type=click.Choice([_MAX.name, _ONNX.name]),
    default=_MAX.name,
    show_default=True,
    help="The engine that is compared with PyTorch.",
)
@candidate_model_option("What the candidate runs.  [default: MODEL_DIR]")
@both_options
def capture_with_both(
    model_dir: str, engine: str, candidate_model: str | None, output: str, **options: Any
) -> int:
    """Run MODEL_DIR in PyTorch, then in another engine, on the same input: DIR/torch_dump, and
    DIR/max_dump or DIR/onnx_dump. For ONNX the model is exported where no file is given.
    """
    from ...capture.models.same_input import fix_input

    plan = make_plan(model_dir, **options)
    other = ENGINES[engine]
    if plan.image is not None:
        raise UserError(f"--image: {other.title} runs text models here; use capture torch")
    if plan.stats_only:
        raise UserError(f"--stats-only: {other.title} writes values; use capture torch")
    if other is not _ONNX and (plan.exporter or plan.provider):
        raise UserError("--exporter and --provider belong to --candidate onnx")
    other.require("running the candidate")
    plan = fix_input(plan)
    reference, candidate = (os.path.join(output, each.dump) for each in (_TORCH, other))
    failed = _run(_TORCH, plan, reference)
    failed += _run(other, _with_model(plan, candidate_model or model_dir), candidate)
    return _finished(failed, [reference, candidate])


def _run(engine: Engine, plan: Plan, output: str) -> list[str]:
    run: Callable[[Plan, str, Watcher], list[str]] = engine.capture_function()
    with CaptureProgress() as watcher:
        return run(plan, output, watcher)


def _with_model(plan: Plan, model: str) -> Plan:
    from dataclasses import replace

    return replace(plan, model=model)


def _finished(failed: list[str], folders: list[str]) -> int:
    """0, or 2 by a `UserError` that says which cases failed."""
    if failed:
        more = f" (and {len(failed) - 1} more cases)" if len(failed) > 1 else ""
        raise UserError(failed[0] + more)
    if len(folders) == 2:
        again = shlex.join(["layertui", *folders])
        click.echo(f"open them with:  {click.format_filename(again)}")
    return 0
