"""`layertui diff`: what changed between two saved reports."""

from __future__ import annotations

import click

from ...compare.changes.words import FORMS
from ..errors import UserError
from ..options import OVERWRITE, form_option, output_option


@click.command()
@click.argument("before", metavar="BEFORE.json", type=click.Path())
@click.argument("after", metavar="AFTER.json", type=click.Path())
@form_option(FORMS, "the changes")
@output_option("the changes go")
@OVERWRITE
def diff(before: str, after: str, form: str, output: str, overwrite: bool) -> int:
    """Say what changed between two reports of `layertui compare --format json`.

    Rows that are cured, new, worse, better, gone or added, and what became of the first divergence.
    `layertui compare --before` does the same in one go.

    Exit status 0: nothing is worse than before. 1: something is. 2: usage, or a file that is no
    such report.
    """
    from ...capture.errors import CaptureError
    from ...compare.changes.changes import changes_of
    from ...compare.changes.saved_report import read_reports
    from ...compare.changes.words import as_form
    from ..output import check_target, write_output

    check_target(output, overwrite)
    try:
        old, new = read_reports(before), read_reports(after)
    except CaptureError as error:
        raise UserError(str(error)) from error
    apart = sorted(old.keys() ^ new.keys())
    if apart:
        which = before if apart[0] in old else after
        case = apart[0] or "no case"
        raise UserError(f"{case} is only in {which}: the reports are of different cases")
    found = {case: changes_of(old[case], new[case]) for case in new}
    write_output(output, as_form(found, form), overwrite)
    return 1 if any(changes.is_worse for changes in found.values()) else 0
