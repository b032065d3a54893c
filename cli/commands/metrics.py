"""`layertui metrics`: the numbers of every layer and token as CSV files."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...capture.plurals import counted
from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import OVERWRITE, judging_options, two_captures

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.reports.metric_csv import Written


@click.command()
@two_captures
@click.option("-o", "--output", required=True, metavar="DIR", type=click.Path(file_okay=False),
              help="Directory for the files; created if it is missing.")  # fmt: skip
@OVERWRITE
@judging_options
def metrics(reference: str, candidate: str, output: str, overwrite: bool, **judging: Any) -> int:
    """Write the error of every layer and token as CSV files.

    tidy.csv has a line for every token of every pair, and one for every gap. Every output also gets
    the files of aiu-fms-testing-utils: <...>--<layer>.abs_diff.csv with every element,
    <...>--<layer>.cos_sim.csv with every token.

    Exit status 0: all written. 1: some pairs could not be read. 2: usage, or a capture that cannot
    be opened.
    """
    from ..cases import case_pairs

    options = JudgingOptions(**judging)
    cases = case_pairs(reference, candidate, options.make_rules())
    if cases is None:
        return _write(reference, candidate, output, overwrite, options)
    worst = 0
    for case in cases:
        if case.reference is None or case.candidate is None:
            side = reference if case.reference is None else candidate
            raise UserError(f"{side}: has no case {case.name}, which the other side has")
        place = os.path.join(output, case.name)
        worst = max(worst, _write(case.reference, case.candidate, place, overwrite, options))
    return worst


def _write(
    reference: str, candidate: str, output: str, overwrite: bool, options: JudgingOptions
) -> int:
    """Write the files of one pair aside, then move them to their place."""
    from ...compare.reports.metric_csv import write_metrics
    from ..session import measure_all, open_pair

    if os.path.isdir(output) and os.listdir(output) and not overwrite:
        raise UserError(f"{output}: has files in it (--overwrite replaces them)")
    comparison = open_pair(reference, candidate, options)
    target = Path(output).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(comparison, str(target.parent))
        measure_all(comparison)
        with tempfile.TemporaryDirectory(prefix=".layertui-", dir=target.parent) as aside:
            written = write_metrics(comparison, aside)
            target.mkdir(exist_ok=True)
            for name in written.files:
                Path(aside, name).replace(target / name)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from error
    _tell(output, written)
    return 1 if written.failed else 0


def _check_room(comparison: Comparison, parent: str) -> None:
    from ...capture.sizes import byte_text
    from ...compare.reports.metric_csv import bytes_needed

    needed, free = bytes_needed(comparison), shutil.disk_usage(parent).free
    if needed > free:
        raise UserError(
            f"{parent}: the files would take about {byte_text(needed)}, {byte_text(free)} are free"
        )


def _tell(output: str, written: Written) -> None:
    from ...compare.reports.escaping import clean

    print(f"layertui: {counted(len(written.files), 'file')} in {clean(output)}", file=sys.stderr)
    if written.failed:
        name, reason = next(iter(written.failed.items()))
        said = clean(f"{name}: {reason}")
        print(
            f"layertui: {counted(len(written.failed), 'pair')} without numbers, as {said}",
            file=sys.stderr,
        )
