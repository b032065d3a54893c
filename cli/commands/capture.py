"""`layertui capture`: run a model in PyTorch, in MAX or in both, and record every layer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any

import click

from ...capture.models.run_plan import Plan, Watcher
from ..capture_progress import CaptureProgress
from ..errors import UserError
from ..options import candidate_model_option
from .capture_options import both_options, make_plan, max_options, torch_options

_TORCH, _MAX = "torch_dump", "max_dump"


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
    return _finished(_run(_torch, plan, output), [output])


@capture.command("max")
@click.argument("model_dir")
@max_options
def capture_with_max(model_dir: str, output: str, **options: Any) -> int:
    """Run MODEL_DIR in MAX. The first run of a model takes minutes to compile."""
    plan = make_plan(model_dir, **options)
    return _finished(_run(_max, plan, output), [output])


@capture.command("both")
@click.argument("model_dir")
@candidate_model_option("What MAX runs.  [default: MODEL_DIR]")
@both_options
def capture_with_both(
    model_dir: str, candidate_model: str | None, output: str, **options: Any
) -> int:
    """Run MODEL_DIR in PyTorch, then in MAX, on the same input: DIR/torch_dump, DIR/max_dump."""
    from ...capture.engines.max_capture import require_max
    from ...capture.models.same_input import fix_input

    plan = make_plan(model_dir, **options)
    if plan.image is not None:
        raise UserError("--image: only text models can be run in MAX; use capture torch")
    if plan.stats_only:
        raise UserError("--stats-only: MAX writes values only; use capture torch")
    require_max()
    plan = fix_input(plan)
    reference, candidate = (os.path.join(output, name) for name in (_TORCH, _MAX))
    failed = _run(_torch, plan, reference)
    other = _with_model(plan, candidate_model or model_dir)
    failed += _run(_max, other, candidate)
    return _finished(failed, [reference, candidate])


def _run(run: Callable[[Plan, str, Watcher], list[str]], plan: Plan, output: str) -> list[str]:
    with CaptureProgress() as watcher:
        return run(plan, output, watcher)


def _torch(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    from ...capture.engines.torch_capture import capture_torch

    return capture_torch(plan, path, watcher)


def _max(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    from ...capture.engines.max_capture import capture_max

    return capture_max(plan, path, watcher)


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
