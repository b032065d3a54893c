"""`layertui rerun`: layers of the candidate run again on the reference's inputs."""

from __future__ import annotations

import json
import shlex
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ...capture.engines.registry import engine_of
from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import (
    OVERWRITE,
    Range,
    device_option,
    form_option,
    judging_options,
    model_options,
    output_option,
    two_captures,
)
from .capture_options import (
    ALLOW_UNSUPPORTED,
    MODULE_APIS,
    SEEDS,
    Layers,
    dtype_option,
)

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...capture.runners.spec import RunnerSpec
    from ...compare.comparison import Comparison
    from ...compare.rerun.session import RerunSession

RUNNER_OPTIONS = (
    click.option(
        "--factory", metavar="MODULE:FUNCTION", default=None,
        help="Function that makes the candidate's torch module.",
    ),
    click.option(
        "--runner", metavar="CMD", default=None,
        help="A program that speaks the runner protocol, with its arguments.",
    ),
    dtype_option("the candidate's"),
    device_option("the layers run"),
    click.option(
        "--num-hidden-layers", "layers", type=Layers(), default=None,
        help="How many layers the captured model had.  [default: as the capture has it]",
    ),
    click.option(
        "--attention", metavar="NAME", default=None,
        help="Implementation of attention in PyTorch.  [default: as captured]",
    ),
    click.option(
        "--module-api", type=click.Choice(MODULE_APIS), default=None,
        help="Which of MAX's module interfaces to use.  [default: as captured]",
    ),
    ALLOW_UNSUPPORTED,
    click.option(
        "--seed", type=SEEDS, default=None,
        help="Seed of weights where the directory has none.  [default: as captured]",
    ),
    click.option(
        "--timeout", type=Range(min=0, min_open=True), default=None, metavar="SECONDS",
        help="Time limit for starting the runner, and for each rerun.",
    ),
)  # fmt: skip


def runner_options(command: Any) -> Any:
    """What says which runner runs the candidate's layers, and how."""
    for option in reversed(RUNNER_OPTIONS):
        command = option(command)
    return command


@click.command()
@two_captures
@click.argument("layers_wanted", metavar="[LAYER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Rerun every layer that both sides have.")
@form_option(("text", "json"), "the report")
@output_option("the report goes")
@OVERWRITE
@click.option("--no-cache", is_flag=True, help="Run everything, even what has been run before.")
@click.option(
    "--own-inputs",
    is_flag=True,
    help="Use the candidate's own tensor for an input that the reference does not have.",
)
@runner_options
@judging_options
@model_options
@click.pass_context
def rerun(
    ctx: click.Context, reference: str, candidate: str, layers_wanted: tuple[str, ...],
    everything: bool, form: str, output: str, overwrite: bool, no_cache: bool,
    own_inputs: bool, factory: str | None, runner: str | None,
    dtype: str | None, device: str, layers: int | None, attention: str | None,
    module_api: str | None, allow_unsupported: bool, seed: int | None,
    timeout: float | None, **judging: Any,
) -> int:  # fmt: skip
    """Run layers of the candidate again on the reference's inputs, and compare their outputs.

    LAYER is a name of a layer in either capture, or a glob. Which model made the candidate is
    taken from its capture, or remembered from when it was last given.

    Exit status 0: every layer is right by itself. 1: a layer is wrong, or could not be run. 2:
    usage, or a capture or runner that cannot be opened.
    """
    from ...compare.rerun.report import exit_status, rerun_json, rerun_text
    from ...compare.rerun.session import RerunSession
    from ..output import check_target, write_output
    from ..session import measure_all, open_pair

    if bool(layers_wanted) == everything:
        raise UserError("rerun: name layers, or give --all")
    options = JudgingOptions(**judging)
    check_target(output, overwrite)
    comparison = open_pair(reference, candidate, replace(options, candidate_model=None))
    _use_model(comparison, options)
    given = {
        "model": options.candidate_model, "factory": factory, "command": runner, "dtype": dtype,
        "layers": layers, "attention": attention, "module_api": module_api, "seed": seed,
        "timeout": timeout, "device": None if device == "auto" else device,
        "allow_unsupported": allow_unsupported or None,
    }  # fmt: skip
    with RerunSession(
        comparison, keep_outputs=False, use_cache=not no_cache, own_inputs=own_inputs
    ) as session:
        rows = _rows(session, layers_wanted, everything)
        settle_runner(session, given)
        measure_all(comparison)
        run_layers(session, rows)
        command = shlex.join(["layertui", *(ctx.obj or [])])
        if form == "json":
            text = json.dumps(rerun_json(session, command), indent=1, allow_nan=False) + "\n"
        else:
            text = rerun_text(session, command, options.metric)
        write_output(output, text, overwrite)
        return exit_status(session, asked=not everything)


def _use_model(comparison: Comparison, options: JudgingOptions) -> None:
    """Take the candidate's model for its weights too, where it has any: a runner may load what has
    none, and be told of a model in words of its own.
    """
    from ...capture.errors import CaptureError
    from ...compare.weights.models import remember_models

    if options.candidate_model is not None:
        with suppress(CaptureError):
            comparison.use_models(options.models)
            remember_models(comparison.reference.path, comparison.candidate.path, options.models)


def _rows(session: RerunSession, names: tuple[str, ...], everything: bool) -> list[int]:
    from ...compare.rerun.layers import rows_of

    if everything:
        found = session.layers.all
        if not found:
            raise UserError("the two captures have no layer in common")
        return rows_of(found)
    rows: list[int] = []
    for name in names:
        layers = session.layers.named(name)
        if not layers:
            raise UserError(_no_layer(session.comparison, name))
        rows += rows_of(layers)
    return rows


def _no_layer(comparison: Comparison, name: str) -> str:
    import difflib

    names = list(dict.fromkeys(row.canonical for row in comparison.rows if row.kind == "pair"))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    one_side = any(
        name in (row.canonical, row.label) for row in comparison.rows if row.kind != "pair"
    )
    lacking = "only one side has an output of" if one_side else "neither capture has"
    return f"{lacking} the layer {name!r}{hint}"


def settle_runner(session: RerunSession, given: dict[str, Any]) -> None:
    """Choose the runner that the options describe, or what is known. Raises `UserError`."""
    spec = spec_of(session.comparison.candidate, session.spec, given)
    if spec is not None:
        session.choose(spec)
    question = session.needs()
    if question is not None:
        told = question.proposal.factory
        hint = f" (the capture names the factory {told})" if told else ""
        raise UserError(
            f"not known {question.text}{hint}; give --candidate-model DIR, --factory "
            "MODULE:FUNCTION or --runner CMD"
        )


def spec_of(capture: Capture, known: RunnerSpec | None, given: dict[str, Any]) -> RunnerSpec | None:
    """The runner by the options given, on top of what is known; None where nothing is given."""
    from ...compare.rerun.remembered import proposed

    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        return None
    if "factory" in said and "command" in said:
        raise UserError("--factory and --runner: give only one of them")
    told = proposed(capture)
    spec = known or replace(told, factory=None)  # code is run by name, never because it is told
    if "command" in said:
        spec = replace(spec, kind="external", factory=None)
    elif "factory" in said:
        spec = replace(spec, kind="torch", command=None, model=told.model)
    elif "model" in said:
        engine = engine_of(capture.framework)
        if engine is None:
            raise UserError(
                f"--candidate-model: unknown which framework made {capture.path}; give "
                "--runner or --factory"
            )
        from ...compare.weights.remembered_models import loadable

        said["model"] = loadable(engine.name, said["model"]) or said["model"]
        spec = replace(spec, kind=engine.name, factory=None, command=None)
    return replace(spec, **said)


def run_layers(session: RerunSession, rows: list[int], *, fresh: bool = False) -> None:
    """Rerun, with progress on a terminal. Ctrl-C stops the runner and passes through.

    Raises `UserError` when the runner is of no use.
    """
    from ...capture.runners.layers import RerunError
    from ...compare.rerun.results import RerunProgress
    from ..capture_progress import CaptureProgress

    failed: list[BaseException] = []
    with CaptureProgress() as watcher:
        watcher.stage("starting the runner")

        def tell(progress: RerunProgress) -> None:
            watcher.detail("  ".join(part for part in (progress.layer, progress.text) if part))
            watcher.layers(progress.done, progress.total)

        def work() -> None:
            try:
                session.rerun(rows, tell, fresh=fresh)
            except BaseException as error:
                failed.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(0.2)
        except KeyboardInterrupt:
            session.close()
            worker.join(2.0)
            raise
    if failed and isinstance(failed[0], RerunError):
        raise UserError(str(failed[0])) from failed[0]
    if failed:
        raise failed[0]
