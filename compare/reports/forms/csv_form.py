"""The report as a table: one line a row of the comparison, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ...comparison import Comparison
from ...measuring.metrics import NUMBERS
from ...model import Measurement, Row
from ..escaping import cell
from ..form import Part, Settings, is_one
from ..words import partial_text, record_shape


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The table of one comparison."""
    return csv_report(comparison)


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The table; those of several cases below one another, with the case in a first column. A case
    that could not be compared is a line of the kind `not compared` with the reason.
    """
    if is_one(parts):
        return parts[0].text
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    tables = {part.name: list(csv.reader(io.StringIO(part.text))) for part in parts}
    heading = next((table[0] for table in tables.values() if table), ["kind", "reason"])
    writer.writerow(["case", *heading])
    for part in parts:
        if part.problem:
            known = {"kind": "not compared", "reason": cell(part.problem)}
            writer.writerow([cell(part.name), *(known.get(name, "") for name in heading)])
        writer.writerows([cell(part.name), *line] for line in tables[part.name][1:])
    return out.getvalue()


def csv_report(comparison: Comparison) -> str:
    """One line a row of the comparison, gaps included. Control characters in names are written
    out, as in the text report: tables end up on terminals too; no name is a spreadsheet's formula.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["index", "kind", "canonical", "slot", "step", "call", "reference", "candidate",
         "reference_shape", "candidate_shape", "reference_dtype", "candidate_dtype",
         "recipe_reference", "recipe_candidate", "matched_by", "verdict", "reason", "partial",
         "local_reference", "local_candidate", "cause", "model_difference", "doubtful",
         *_metric_columns()]
    )  # fmt: skip
    for row in comparison.rows:
        writer.writerow(map(cell, _csv_row(comparison, row)))
    return out.getvalue()


def _metric_columns() -> tuple[str, ...]:
    metrics = (name for name, spec in NUMBERS.items() if spec.csv)
    return ("count", *metrics, "nonfinite_mismatch")


def _csv_row(comparison: Comparison, row: Row) -> list[Any]:
    verdict, result = comparison.verdicts[row.index], comparison.measurements[row.index]
    ref, cand = row.reference, row.candidate
    measured = result if isinstance(result, Measurement) else None
    values = ["" if measured is None else measured.metric(name) for name in _metric_columns()]
    local, causes = comparison.locals.get(row.index), comparison.causes(row.index)
    law = comparison.law_row(row.index)
    return [
        row.index, row.kind, row.canonical, row.slot, row.step, row.call,
        ref.name if ref else "", cand.name if cand else "",
        record_shape(ref) if ref else "", record_shape(cand) if cand else "",
        (ref.dtype or "") if ref else "", (cand.dtype or "") if cand else "",
        row.recipe_reference, row.recipe_candidate, row.matched_by or "",
        verdict.level, verdict.reason, partial_text(row, result),
        "" if local is None else local.reference, "" if local is None else local.candidate,
         causes[0].text if causes else "", "" if law is None else law.model_difference,
         verdict.doubtful or "",
        *("" if value is None else value for value in values),
    ]  # fmt: skip
