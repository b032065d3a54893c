"""What the reports say of rows and of the first divergence, from the report for programs: a form
shows what the JSON has, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Cause
from ..vocabulary import MARKS, Level
from .escaping import clean
from .law_words import labelled_causes
from .words import number, symptom_line

FAILED = ("diverged", "nan", "shape", "unreadable", "pending")
BADGES: dict[str, str] = {
    "pending": "⏳", "missing": "➖", "identical": "🟰", "ok": "✅", "noise": "✅", "drift": "⚠️",
    "diverged": "❌", "shape": "❌", "nan": "❌", "unreadable": "❓",
}  # fmt: skip


def word_of(level: Level) -> str:
    """The verdict in the word that the text report has."""
    return MARKS[level][1]


def verdict_of(row: Mapping[str, Any]) -> str:
    """The same of a row; a doubtful pair is called that."""
    return "doubtful" if row.get("doubtful") else word_of(row["verdict"])


def agreement_of(report: Mapping[str, Any]) -> str:
    """`no divergence`, and what makes that say less."""
    doubtful = report["counts"]["doubtful"]
    less = ["the candidate may be the reference itself"] if report["same_as_reference"] else []
    less += [f"{doubtful} doubtful"] if doubtful else []
    return f"no divergence, but {' and '.join(less)}" if less else "no divergence"


def value_of(row: Mapping[str, Any], metric: str) -> float | None:
    """A metric of a row of the JSON report; None where it has none or a word (`NaN`)."""
    value = (row.get("metrics") or {}).get(metric)
    return float(value) if isinstance(value, int | float) else None


def shown(row: Mapping[str, Any], metric: str) -> str:
    """A metric as tables have it."""
    value = (row.get("metrics") or {}).get(metric)
    if isinstance(value, str):
        return value
    return f"{value:.7f}" if metric == "cosine" and value is not None else number(value)


def name_of(row: Mapping[str, Any]) -> str:
    """`layers.0.mlp-output`, of a gap the record's own name; with the call and the step."""
    record = row["reference"] or row["candidate"]
    if row["kind"] != "pair":
        name = str(record["name"])
    else:
        call = f"({record['call']})" if record["call"] > 1 else ""
        name = f"{row['canonical']}{call}-{row['slot']}"
    step = f" step {record['step']}" if record["step"] else ""
    return clean(name + step)


def shape_of(row: Mapping[str, Any], side: str) -> str:
    """`[1,10,64] bfloat16` of one side of a row; `-` where it has no record."""
    record = row[side]
    if record is None:
        return "-"
    shape = "?" if record["shape"] is None else str(record["shape"]).replace(" ", "")
    return clean(f"{shape} {record['dtype'] or '?'}")


def symptom_lines(first: Mapping[str, Any]) -> list[str]:
    """The symptoms of the first divergence, in the words that the text report has."""
    return [clean(symptom_line(**symptom)) for symptom in first["symptoms"]]


def cause_words(first: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The causes of the first divergence and what the candidate's own model has otherwise, with
    labels, in the words that the text report has.
    """
    causes = first.get("causes")
    known = None if causes is None else _causes(causes)
    found = labelled_causes(known, first.get("model_difference") or "")
    return [(label, clean(line)) for label, line in found]


def _causes(causes: list[Mapping[str, Any]]) -> list[Cause]:
    return [Cause(**cause) for cause in causes]


def confidence_of(first: Mapping[str, Any]) -> str:
    """`0.93`, or nothing where the report has none."""
    confidence = first.get("confidence")
    return f"{confidence:.2f}" if isinstance(confidence, int | float) else ""


def failing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that do not pass."""
    return [row for row in rows if row["verdict"] in FAILED]
