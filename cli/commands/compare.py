"""`layertui compare`: the comparison as a report or a plot, for scripts, CI and reviews."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...capture.interpreter.garbage import no_full_collection
from ...compare.judging.options import JudgingOptions
from ...compare.reports.registry import FORMS, purposes
from ..errors import UserError
from ..options import (
    BEFORE,
    LAYERS,
    NO_CACHE,
    OVERWRITE,
    THREADS,
    captures_of_both_sides,
    device_option,
    form_option,
    judging_options,
    model_options,
    output_option,
)

if TYPE_CHECKING:
    from ...capture.layer_range import LayerRange
    from ...compare.comparison import Comparison
    from ...compare.reports import Settings
    from ..cases import CasePair


CHANGES_IN = ("text", "json", "markdown", "bug-report")  # forms of reports that --before goes with


@click.command()
@click.argument("reference", type=click.Path())
@click.argument("candidate", type=click.Path(), required=False)
@form_option(tuple(FORMS), "the report", purposes())
@output_option("the report goes")
@click.option(
    "--plot",
    default=None,
    metavar="FILE.png",
    type=click.Path(),
    help="Draw the MSE of every output in execution order.",
)
@BEFORE
@OVERWRITE
@click.option("--only-diverged", is_flag=True, help="Leave out rows that agree.")
@LAYERS
@NO_CACHE
@THREADS
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=None,
    help="The same as --threads; processes where numpy does the sums (see layertui --where).",
)
@click.option(
    "--scheduler",
    default=None,
    metavar="ADDRESS|local",
    help="Measure on the workers of a Dask cluster (tcp://host:8786), or of one started here.",
)
@device_option("long pairs are measured; on a GPU this needs the extra torch", "cpu")
@judging_options
@model_options
@click.pass_context
@no_full_collection()  # a run makes much that is no garbage, and ends
def compare(
    ctx: click.Context, reference: str, candidate: str | None, form: str, output: str,
    plot: str | None, before: str | None,
    overwrite: bool, only_diverged: bool, layers: LayerRange | None, no_cache: bool,
    threads: int | None, processes: int | None, scheduler: str | None, device: str,
    **judging: Any,
) -> int:  # fmt: skip
    """Compare two captures and print a report.

    A capture is a directory, a file, or the URL of one (s3://bucket/torch_dump/).

    Where both directories have an index.json (one capture for each case), the cases are compared
    one by one. One directory may hold text dumps of both sides, py_*.txt and cpp_*.txt.

    Exit status 0: everything comparable agrees up to rounding. 1: something differs or cannot be
    read. 2: usage, or a capture that cannot be opened.
    """
    from ..cases import case_pairs
    from ..output import check_target, write_output
    from ..session import cluster_at, device_at, measure_all, open_pair

    reference, candidate = captures_of_both_sides(reference, candidate)
    options = _options(form, judging)
    settings = _settings(ctx.obj or [], options, only_diverged)
    check_target(output, overwrite)
    if before is not None and form not in CHANGES_IN:
        raise UserError(f"--before goes with --format {', '.join(CHANGES_IN)}")
    pairs = case_pairs(reference, candidate, options.make_rules())
    if pairs is not None:
        _refuse_for_cases(form, plot, before)
    elif plot is not None:
        _check_plot(plot, output, overwrite)
    _refuse_both(scheduler, threads, processes, device)
    with cluster_at(scheduler, threads) as cluster, device_at(device) as helper:
        running = partial(
            measure_all, threads=threads, use_cache=not no_cache, processes=processes,
            cluster=cluster, device=helper,
        )  # fmt: skip
        opened = open_pair if cluster is None else partial(open_pair, before_values=cluster.check)
        work = partial(
            _compared, options=options, layers=layers, measured=running, opened=opened
        )  # fmt: skip
        if pairs is not None:
            text, status = _all_cases(pairs, work, form, settings)
            write_output(output, text, overwrite)
            return status
        earlier = None if before is None else opened(reference, before, options, layers)
        comparison = work(reference, candidate)
        if earlier is not None:
            running(earlier)
    if plot is not None:
        from ...compare.reports.plot import draw_plot

        write_output(plot, draw_plot(comparison, plot_format(plot)), overwrite)
    text = report(comparison, form, settings)
    if earlier is not None:
        from ...compare.changes.since import changes_since, with_changes

        text = with_changes(text, form, changes_since(earlier, comparison))
    write_output(output, text, overwrite)
    return comparison.exit_status()


def _compared(
    reference: str, candidate: str, *, options: JudgingOptions, layers: LayerRange | None = None,
    measured: Callable[[Comparison], None] | None = None,
    opened: Callable[..., Comparison] | None = None,
) -> Comparison:  # fmt: skip
    """Two captures, opened and measured (by `opened` and `measured`, or here), and checked."""
    from ..session import checks_noted, measure_all, open_pair

    comparison = (opened or open_pair)(reference, candidate, options, layers)
    with checks_noted(comparison):
        (measured or measure_all)(comparison)
    return comparison


def _refuse_for_cases(form: str, plot: str | None, before: str | None) -> None:
    """Options that are about one comparison."""
    if before is not None:
        raise UserError("--before: compare one case at a time")
    if plot is not None:
        raise UserError("--plot: compare one case at a time")
    if not FORMS[form].several:
        raise UserError(f"--format {form} holds one comparison: compare one case at a time")


def _refuse_both(
    scheduler: str | None, threads: int | None, processes: int | None, device: str
) -> None:
    if device != "cpu" and (scheduler or processes) is not None:
        other = "--scheduler" if scheduler is not None else "--processes"
        raise UserError(f"--device and {other}: give one of them")
    if scheduler is None:
        return
    if processes is not None:
        raise UserError("--scheduler and --processes: give one of them")
    if threads is not None and scheduler != "local":
        raise UserError("--threads: the cluster decides how many tasks its workers run")


def _options(form: str, judging: dict[str, Any]) -> JudgingOptions:
    """The options, with the policy that the form goes with."""
    options, policy = JudgingOptions(**judging), FORMS[form].policy
    if policy is None or options.policy == policy:
        return options
    if options.policy is not None:
        raise UserError(f"--format {form} goes with --policy {policy}")
    return replace(options, policy=policy)


def _settings(
    arguments: list[str], options: JudgingOptions, only_diverged: bool = False
) -> Settings:
    from ...compare.reports import Settings

    command = shlex.join(["layertui", *arguments])
    return Settings(command, options.metric, only_diverged)


def _all_cases(
    pairs: list[CasePair], compared: Callable[[str, str], Comparison], form: str,
    settings: Settings,
) -> tuple[str, int]:  # fmt: skip
    """Report and exit status of two matrices of captures."""
    from ...compare.reports import whole
    from ..cases import compare_cases

    parts = compare_cases(pairs, compared, form, settings)
    return whole(parts, form, settings), max(part.status for part in parts)


def report(comparison: Comparison, form: str, settings: Settings) -> str:
    """The whole report, with the command line that makes it again."""
    from ...compare.reports import part_of, whole

    return whole([part_of(comparison, form, settings)], form, settings)


def text_report_of(comparison: Comparison, options: JudgingOptions, arguments: list[str]) -> str:
    """The report to read, of a command line other than that of `compare`."""
    return report(comparison, "text", _settings(arguments, options))


def text_of_cases(
    pairs: list[CasePair], options: JudgingOptions, arguments: list[str]
) -> tuple[str, int]:
    """The reports to read of all cases, and the exit status."""
    settings = _settings(arguments, options)
    return _all_cases(pairs, partial(_compared, options=options), "text", settings)


def plot_format(path: str) -> str:
    """`png`, `svg` or `pdf`, by the file's suffix. Raises `UserError` for any other."""
    suffix = path.rsplit(".", 1)[-1].lower() if "." in path else ""
    if suffix not in ("png", "svg", "pdf"):
        raise UserError(f"--plot {path}: the name must end in .png, .svg or .pdf")
    return suffix


def _check_plot(plot: str, output: str, overwrite: bool) -> None:
    from ...compare.reports.plot import PlotError, require_matplotlib
    from ..output import check_target

    plot_format(plot)
    if plot == output:
        raise UserError("--plot and --output name the same file")
    check_target(plot, overwrite)
    try:
        require_matplotlib()
    except PlotError as error:
        raise UserError(str(error)) from error
