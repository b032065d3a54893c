"""`layertui names`: how every record was identified, and what stayed unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ...capture.plurals import counted
from ..options import OVERWRITE, RAW, RULES, form_option, output_option

if TYPE_CHECKING:
    from ...compare.aligned import Aligned
    from ...compare.matching.names.name_report import NameLine, NameReport
    from ...compare.rules.rules import Rules

SCHEMA = "layertui.names/1"


@click.command()
@click.argument("reference", metavar="DIR", type=click.Path())
@click.argument("candidate", metavar="[DIR2]", required=False, type=click.Path())
@form_option(("text", "json", "rules"), "the list", "rules is a rules file to start from")
@click.option("--unknown", is_flag=True, help="Only names that no table knows, and gaps.")
@output_option("the list goes")
@RULES
@RAW
@OVERWRITE
def names(
    reference: str, candidate: str | None, form: str, unknown: bool, output: str,
    rules: str | None, raw: str | None, overwrite: bool,
) -> int:  # fmt: skip
    """Show how each record is identified: module, slot, layer, role, and by which rule.

    With a second capture, also what it is paired with. Of a capture of several ranks, how each
    tensor is put together, and why. Names that no table knows are kept, with
    the reason; `--format rules` writes a rules file to give them a meaning.

    Exit status 0: success. 2: usage, or a capture that cannot be opened.
    """
    from ...compare.matching.names.name_report import report_of, reports_of, starting_rules
    from ...compare.rules.rules import Rules
    from ...compare.rules.rules_file import load_rules
    from ..output import check_target, write_output

    check_target(output, overwrite)
    known = Rules() if rules is None else load_rules(rules)
    if candidate is None:
        from ...capture.open import open_capture
        from ...compare.ranks.joined_sides import joined_by_rules

        capture = joined_by_rules(
            open_capture(reference, raw=raw, layout=known.layouts[0]), known
        )  # fmt: skip
        reports = [report_of(capture, known.reference)]
    else:
        reports = list(reports_of(_aligned(reference, candidate, known, raw)))
    if form == "rules":
        text = starting_rules(reports)
    elif form == "json":
        text = _json(reports, unknown)
    else:
        text = _text(reports, unknown)
    write_output(output, text, overwrite)
    return 0


def _aligned(reference: str, candidate: str, rules: Rules, raw: str | None) -> Aligned:
    from ...compare.comparison import open_comparison

    return open_comparison(reference, candidate, rules=rules, raw=raw).aligned


def _ranks(report: NameReport) -> Iterator[tuple[str, ...]]:
    """How each tensor was put together; shapes that are all the same are said once."""
    from ...compare.reports.escaping import clean

    for one in report.joined:
        shapes = list(dict.fromkeys(str(list(shape)).replace(" ", "") for shape in one.shapes))
        cells = (
            one.name, str(one.step), str(len(one.ranks)), " ".join(shapes), one.way, one.why,
        )  # fmt: skip
        yield tuple(clean(cell) for cell in cells)


def _wanted(report: NameReport, unknown: bool, paired: bool) -> list[NameLine]:
    return [
        line for line in report.lines
        if not unknown or line.unknown is not None or (paired and not line.partners)
    ]  # fmt: skip


def _json(reports: list[NameReport], unknown: bool) -> str:
    from ...compare.ranks.joined_words import joined_json

    content = {
        "schema": SCHEMA,
        "captures": [
            {
                "path": report.path, "engine": report.engine, "notes": list(report.notes),
                "records": [
                    line.as_json() for line in _wanted(report, unknown, len(reports) == 2)
                ],
                "ranks": [
                    {"name": one.name, "step": one.step, **joined_json(one)}
                    for one in report.joined
                ],
            }
            for report in reports
        ],
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _text(reports: list[NameReport], unknown: bool) -> str:
    from ...compare.inspection.text import table
    from ...compare.reports.escaping import clean

    lines: list[str] = []
    for report in reports:
        engine = report.engine or "no particular engine"
        lines += [f"names of {report.path}", f"read as those of {engine}", *report.notes, ""]
        two = len(reports) == 2
        head = ("record", "module-slot", "layer", "role", "rule")
        rows: list[tuple[str, ...]] = [(*head, "paired with") if two else head]
        for line in _wanted(report, unknown, two):
            rule = line.rule if line.unknown is None else f"unknown: {line.unknown}"
            call = f"({line.call})" if line.call > 1 else ""
            cells = [
                line.name, f"{line.module}{call}-{line.slot}",
                "" if line.layer is None else str(line.layer), line.role, rule,
            ]  # fmt: skip
            if two:
                cells.append(", ".join(line.partners) or "nothing")
            rows.append(tuple(clean(cell) for cell in cells))
        lines += table(rows)
        records = counted(len(report.lines), "record")
        lines += ["", f"{records}, {len(report.unknown)} of unknown names", ""]
        if report.joined:
            head = ("record", "step", "ranks", "of shapes", "joined", "because")
            lines += [f"ranks of {report.path}", "", *table([head, *_ranks(report)]), ""]
    return "\n".join(clean(line) for line in lines)
