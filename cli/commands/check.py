"""`layertui check`: whether captures are fit to be compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ...compare.judging.options import JudgingOptions
from ..errors import UserError
from ..options import OVERWRITE, RAW, RULES, form_option, model_options, output_option

if TYPE_CHECKING:
    from ...compare.checks.finding import Finding

SCHEMA = "layertui.check/1"


@click.command()
@click.argument("reference", metavar="DIR", type=click.Path())
@click.argument("candidate", metavar="[DIR2]", required=False, type=click.Path())
@form_option(("text", "json"), "the findings")
@output_option("the findings go")
@RULES
@RAW
@model_options
@OVERWRITE
def check(
    reference: str, candidate: str | None, form: str, output: str, overwrite: bool, **judging: Any
) -> int:  # fmt: skip
    """Check whether a capture is complete and sound, and whether two were made from the same run.

    Missing layers and steps, unreadable records, buffers with the same bits in every layer, zeros,
    NaN, an order that goes backwards; of two captures also differing token ids, weights, dtypes,
    configs and versions; one directory with text dumps py_*.txt and cpp_*.txt is two captures. The
    checkpoints of two captures are read where both are known, and weights
    that differ are named.

    Exit status 0: nothing but warnings and notes. 1: an error was found. 2: usage, or a capture
    that cannot be opened.
    """
    from ...capture.cases import holds_both_sides
    from ..output import check_target, write_output

    check_target(output, overwrite)
    if candidate is None and holds_both_sides(reference):
        candidate = reference
    found = _findings(reference, candidate, JudgingOptions(**judging))
    captures = [path for path in (reference, candidate) if path is not None]
    text = _json(captures, found) if form == "json" else _text(captures, found)
    write_output(output, text, overwrite)
    return 1 if any(finding.severity == "error" for finding in found) else 0


def _findings(reference: str, candidate: str | None, judging: JudgingOptions) -> list[Finding]:
    from ...capture.cases import read_index

    for path in (reference, candidate):
        if path is not None and read_index(path) is not None:
            raise UserError(f"{path}: holds several captures; check one at a time")
    if candidate is not None:
        from ...compare.checks.finding import sorted_findings
        from ...compare.checks.two_sides import check_pair
        from ...compare.checks.weights import check_weights
        from ..session import open_pair

        comparison = open_pair(reference, candidate, judging)
        return sorted_findings([*check_pair(comparison), *check_weights(comparison)])
    if judging.reference_model or judging.candidate_model:
        raise UserError("--reference-model and --candidate-model need two captures")
    from ...capture.open import open_capture
    from ...compare.checks.one_side import check_capture
    from ...compare.ranks.joined_sides import joined_by_rules
    from ...compare.rules.rules import Rules

    given = judging.make_rules()
    rules = given or Rules()
    capture = open_capture(reference, raw=judging.raw, layout=rules.layouts[0])
    names = None if given is None else given.reference
    return check_capture(joined_by_rules(capture, rules), names=names)


def _json(captures: list[str], found: list[Finding]) -> str:
    content = {
        "schema": SCHEMA, "captures": captures, "findings": [f.as_json() for f in found],
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _text(captures: list[str], found: list[Finding]) -> str:
    from ...compare.checks.finding import SEVERITIES, some
    from ...compare.reports.escaping import clean

    lines = [f"layertui check of {' and '.join(captures)}", ""]
    for finding in found:
        side = f"{finding.side}: " if finding.side else ""
        lines.append(f"{finding.severity.upper():8} {side}{finding.what}")
        if finding.records:
            lines.append(f"         records: {some(finding.records)}")
        lines.append(f"         {finding.advice}")
    counts = [(sum(f.severity == s for f in found), s) for s in SEVERITIES]
    summary = ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for count, word in counts)
    lines += ["", summary] if found else ["nothing found"]
    return "\n".join(clean(line) for line in lines) + "\n"
