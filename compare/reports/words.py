"""Numbers, shapes and symptoms as the reports write them."""

from __future__ import annotations

from ...capture.records import Record
from ..model import Failure, Measurement, Row, Symptom


def number(value: float | None) -> str:
    """A number as reports show it; `-` when there is none."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.3e}"


def shape_text(record: Record | None) -> str:
    """`[1, 10, 64]`, `?` when the header could not be read."""
    if record is None:
        return "-"
    return "?" if record.shape is None else str(list(record.shape)).replace(" ", "")


def partial_text(row: Row, result: Measurement | Failure | None) -> str:
    """`partial 100 of 6144` where a dump holds only some of the elements."""
    if isinstance(result, Measurement) and result.partial:
        return "partial {} of {}".format(*result.partial)
    return "partial {} of {}".format(*row.partial) if row.partial else ""


def symptom_lines(symptoms: tuple[Symptom, ...]) -> list[str]:
    """What a difference looks like, a line a symptom (see `symptom_line`)."""
    return [symptom_line(symptom.name, symptom.score, symptom.evidence) for symptom in symptoms]


def symptom_line(name: str, score: float, evidence: str) -> str:
    """`scale, explains 98 %: x1.0100 +- 0.0003 ...`; what explains nothing has no share."""
    if name in ("none", "noise-like"):
        return f"{name}: {evidence}"
    return f"{name}, explains {100 * score:.3g} %: {evidence}"
