"""`layertui thresholds`: limits by layer, learned from runs that are known to be good."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import NO_CACHE, OVERWRITE, RAW, RULES, THREADS, Range, output_option

if TYPE_CHECKING:
    from ...compare.comparison import Comparison


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="REF BASE [REF2 BASE2 ...]",
                type=click.Path())  # fmt: skip
@output_option("the limits go")
@click.option("--percentile", type=Range(0, 100), default=None, metavar="PERCENT",
              help="Percentile of the errors, over all runs and steps.  [default: 99]")  # fmt: skip
@click.option("--margin", type=Range(0, min_open=True), default=None, metavar="FACTOR",
              help="What the percentile is multiplied by.  [default: 1.5]")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["layertui", "aiu"]), default="layertui",
              show_default=True, help="aiu: the sums of aiu-fms-testing-utils.")  # fmt: skip
@RULES
@RAW
@THREADS
@NO_CACHE
@OVERWRITE
def thresholds(
    runs: tuple[str, ...], output: str, percentile: float | None, margin: float | None, form: str,
    rules: str | None, raw: str | None, threads: int | None, no_cache: bool, overwrite: bool,
) -> int:  # fmt: skip
    """Learn from good runs how far each layer may be off.

    REF and BASE are two runs that are known to agree: the reference, and the same model in the
    candidate's dtype, with other kernels or on other hardware. Several such pairs, or directories
    with an index.json that hold many cases, cover more prompts and shapes.
    """
    from ...compare.reports.escaping import clean
    from ...compare.rules.learned_limits import BaselineError, Baselines
    from ..output import check_target, write_output
    from ..session import measure_all, open_pair

    if len(runs) % 2:
        raise UserError(f"thresholds takes pairs REF BASE: {runs[-1]} has no partner")
    if form == "aiu" and (percentile is not None or margin is not None):
        raise UserError("--format aiu has sums, not limits: --percentile and --margin do not apply")
    check_target(output, overwrite)
    judging = JudgingOptions(rules=rules, raw=raw)
    baselines = Baselines()
    kept: list[Comparison] = []
    for reference, baseline in _pairs(runs):
        comparison = open_pair(reference, baseline, judging)
        measure_all(comparison, threads, not no_cache)
        _refuse_other_input(comparison)
        baselines.add(comparison.aligned, comparison.results)
        if form == "aiu":
            kept.append(comparison)
    try:
        if form == "aiu":
            from ...compare.reports.forms.aiu_fms import aiu_report

            baselines.limits(100, 1)
            content, notes = aiu_report(kept), []
        else:
            percent = 99.0 if percentile is None else percentile
            content = baselines.file(percent, 1.5 if margin is None else margin)
            notes = baselines.notes(content["layers"])
    except BaselineError as error:
        raise UserError(str(error)) from error
    write_output(output, json.dumps(content, indent=1, allow_nan=False) + "\n", overwrite)
    for note in notes:
        print(f"layertui: {clean(note)}", file=sys.stderr)
    return 0


def _refuse_other_input(comparison: Comparison) -> None:
    """Limits learned from runs on different inputs would let everything pass."""
    from ...compare.checks.two_sides import check_pair

    for finding in check_pair(comparison):
        if finding.code == "inputs":
            paths = f"{comparison.reference.path} and {comparison.candidate.path}"
            raise UserError(f"{paths}: {finding.what}; {finding.advice}")


def _pairs(runs: tuple[str, ...]) -> list[tuple[str, str]]:
    """Reference and baseline of every run, cases taken apart. Raises `UserError`."""
    from ..cases import case_pairs

    found: list[tuple[str, str]] = []
    for reference, baseline in zip(runs[::2], runs[1::2], strict=True):
        cases = case_pairs(reference, baseline)
        if cases is None:
            found.append((reference, baseline))
            continue
        for case in cases:
            if case.reference is None or case.candidate is None:
                lacking = reference if case.reference is None else baseline
                raise UserError(f"{lacking}: has no case {case.name}, which the other side has")
            found.append((case.reference, case.candidate))
    return found
