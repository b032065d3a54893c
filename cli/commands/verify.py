"""`layertui verify`: a model in both frameworks, as captured and with injected inputs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...capture.cases import Rows
from ...capture.engines.registry import ENGINES
from ..errors import UserError
from ..options import candidate_model_option
from .capture_options import make_plan, verify_options

if TYPE_CHECKING:
    from ...capture.models.run_plan import Plan


@click.command()
@click.argument("model_dir")
@click.option(
    "--candidate",
    default="max",
    metavar="max|torch|onnx|CMD",
    show_default=True,
    help="What is verified; a command starts a runner (see rerun --runner).",
)
@candidate_model_option("What the candidate runs.  [default: MODEL_DIR]")
@click.option(
    "--reference-capture",
    metavar="DIR",
    type=click.Path(exists=True),
    default=None,
    help="Use this capture instead of running the reference.",
)
@click.option(
    "--candidate-capture",
    metavar="DIR",
    type=click.Path(exists=True),
    default=None,
    help="Use this capture instead of running the candidate.",
)
@verify_options
@click.option(
    "--offline",
    is_flag=True,
    help="Run nothing with injection: judge each layer by the law of its kind. This is done "
    "anyway where the candidate's layers cannot be run.",
)
@click.option("--save-layers", is_flag=True, help="Keep the tensors of both scenarios.")
@click.option(
    "-o",
    "--output",
    "--export-path",
    "output",
    required=True,
    metavar="EXPORT",
    type=click.Path(file_okay=False),
    help="Directory for both scenarios.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing export.")
@click.option("--no-cache", is_flag=True, help="Run everything, even what has been run before.")
@click.pass_context
def verify(
    ctx: click.Context, model_dir: str, candidate: str, candidate_model: str | None,
    reference_capture: str | None, candidate_capture: str | None, prompt: str | None,
    ids: Rows | None, offline: bool, save_layers: bool, output: str, overwrite: bool,
    no_cache: bool, **options: Any,
) -> int:  # fmt: skip
    """Compare MODEL_DIR in PyTorch with a candidate, as captured and layer by layer.

    EXPORT receives two scenarios: without_injection, the candidate as it runs by itself, and
    with_injection, every layer of it fed the reference's inputs. An error of the same size in both
    comes from the layer itself; one that is much smaller with injection was only passed on. Where
    the candidate's layers cannot be run alone, its captured outputs are compared with what the
    reference's layers would give for its captured inputs, and both reports say so.

    Anything that has been run before with the same model, input, options and packages is reused,
    and the output says so.

    Exit status as of compare, over both scenarios.
    """
    from ...capture.extras import has_extra, needs
    from ...capture.models.same_input import fix_input
    from ...capture.runners.guard import Guard
    from .verify_cache import RunCache
    from .verify_export import prepare_export
    from .verify_job import VerifyJob

    _require_frameworks(candidate, reference_capture, candidate_capture)
    plan = make_plan(
        model_dir, prompt=(prompt,) if prompt is not None else (), prompt_file=None, ids=ids,
        batches=(), lengths=(), outputs_only=False, **options,
    )  # fmt: skip
    runs, run = RunCache(use=not no_cache), None
    if reference_capture is None or candidate_capture is None:
        plan = _on_captured_ids(plan, prompt, ids, reference_capture or candidate_capture)
        run = runs.run(plan, "torch") if reference_capture is None else None
        if not runs.has(run):
            plan = fix_input(plan)  # imports torch, which a kept capture does without
    if candidate not in ENGINES and candidate_capture is None:
        raise UserError(f"--candidate {candidate}: its own run is needed: --candidate-capture DIR")
    command = shlex.join(["layertui", *(ctx.obj or [])])
    prepare_export(output, command, overwrite)
    if not has_extra("plot"):
        click.echo(f"note       no mse_plot.png is drawn: {needs('plot', 'plotting')}")
    guard = Guard()
    try:
        work = Path(output) / "without_injection" if save_layers else guard.directory
        job = VerifyJob(plan, candidate, candidate_model, Path(output), work, guard.directory,
                        command, save_layers, runs, run, offline)  # fmt: skip
        return job.run(reference_capture, candidate_capture)
    finally:
        guard.close()


def _require_frameworks(
    candidate: str, reference_capture: str | None, candidate_capture: str | None
) -> None:
    """Before anything is written: what runs must be installed. Raises `CaptureError`."""
    from ...capture.extras import require_torch

    if reference_capture is None:
        require_torch("running the reference")
    if candidate in ENGINES and candidate_capture is None:
        ENGINES[candidate].require("running the candidate")


def _on_captured_ids(
    plan: Plan, prompt: str | None, ids: Rows | None, capture: str | None
) -> Plan:  # fmt: skip
    """The ids of a capture that is given, where nothing else says what is run."""
    if capture is None or prompt is not None or ids is not None:
        return plan
    from ...capture.models.same_input import on_ids
    from ...capture.open import open_capture

    known = open_capture(capture, headers=False).input_ids
    if not known:
        raise UserError(f"{capture}: does not tell its token ids; give --input-ids")
    return on_ids(plan, known, prompt=None)
