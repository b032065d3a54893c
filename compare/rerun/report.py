"""What reruns found, as text and JSON: `"schema": "layertui.rerun/1"`."""

from __future__ import annotations

from typing import Any

from ..measuring.metrics import METRICS
from ..model import Failure, Measurement, by_values
from ..reports.escaping import clean
from ..reports.forms.json_form import metrics_json, plain_json
from ..reports.forms.text_form import side_line
from ..reports.words import number
from .judge import wrong_layers_sentence
from .results import RerunResult
from .session import RerunSession

SCHEMA = "layertui.rerun/1"


def exit_status(session: RerunSession, asked: bool) -> int:
    """0 when every layer that was rerun is right; 1 when one is wrong, failed or (where it was
    `asked` for by name) could not be rerun, and when none was.
    """
    results = session.results.values()
    if any(session.judgement(found.row).fails or found.failed for found in results):
        return 1
    lacking = any(found.problem is not None for found in results)
    done = any(found.problem is None for found in results)
    return 1 if not done or (asked and lacking) else 0


def rerun_json(session: RerunSession, command: str) -> dict[str, Any]:
    """All results, in execution order; only values that JSON has."""
    comparison, spec = session.comparison, session.spec
    return plain_json(
        {
            "schema": SCHEMA,
            "command": command,
            "reference": comparison.reference.path,
            "candidate": comparison.candidate.path,
            "runner": None if spec is None else spec.remembered(),
            "blamed": _wrong_layers(session),
            "rows": [_row(session, session.results[index]) for index in sorted(session.results)],
        }
    )


def _wrong_layers(session: RerunSession) -> list[str]:
    rows = session.comparison.rows
    return list(dict.fromkeys(rows[index].canonical for index in session.wrong_rows()))


def _row(session: RerunSession, found: RerunResult) -> dict[str, Any]:
    comparison = session.comparison
    row = comparison.rows[found.row]
    judgement = session.judgement(found.row)
    return {
        "index": found.row,
        "layer": found.layer,
        "canonical": row.canonical,
        "slot": row.slot,
        "step": row.step,
        "reference": row.reference.name if row.reference else None,
        "candidate": row.candidate.name if row.candidate else None,
        "entire": _numbers(by_values(comparison.measurements[found.row])),
        "inputs": _numbers(found.inputs),
        "input": None if found.input_row is None else comparison.rows[found.input_row].label,
        "single": _numbers(found.single),
        "judgement": judgement.kind,
        "sentence": judgement.sentence,
        "problem": found.problem,
        "notes": list(found.notes),
        "seconds": found.seconds,
        "compile_seconds": found.compile_seconds,
        "remembered": found.remembered,
    }


def _numbers(result: Measurement | Failure | None) -> dict[str, Any] | None:
    if result is None:
        return None
    if isinstance(result, Failure):
        return {"failure": result.reason, "level": result.level}
    return metrics_json(result)


def rerun_text(session: RerunSession, command: str, metric: str = "mse") -> str:
    """A table in execution order, the judgements, which layers are wrong on their own."""
    comparison, spec = session.comparison, session.spec
    heading = METRICS[metric].heading
    lines = [
        "layertui rerun", "",
        f"reference  {comparison.reference.path}",
        f"           {side_line(comparison.reference)}",
        f"candidate  {comparison.candidate.path}",
        f"           {side_line(comparison.candidate)}",
        f"runner     {spec.describe() if spec is not None else '-'}", "",
        f"{heading} of the output as captured (entire), of the inputs (inputs), of the layer run "
        "alone (single)", "",
        f"{'entire':>10} {'inputs':>10} {'single':>10}  layer",
    ]  # fmt: skip
    for index in sorted(session.results):
        lines += row_lines(session, session.results[index], metric)
    lines += ["", *_summary(session), "", "REPRODUCE", command]
    return "\n".join(clean(line) for line in lines) + "\n"


def row_lines(session: RerunSession, found: RerunResult, metric: str = "mse") -> list[str]:
    """The three errors of a row, then the sentence of its judgement."""
    comparison = session.comparison
    row = comparison.rows[found.row]
    cells = (by_values(comparison.measurements[found.row]), found.inputs, found.single)
    shown = " ".join(f"{error_text(cell, metric):>10}" for cell in cells)
    slot = "" if row.slot == "output" else f" {row.slot}"
    step = f" step {row.step}" if row.step else ""
    judgement = session.judgement(found.row)
    took = f", {found.seconds:.3g} s" if found.seconds is not None else ""
    more = [f"{'':32}  ({note})" for note in found.notes]
    head = f"{shown}  {row.canonical}{slot}{step}{took}"
    if judgement.kind == "unknown":
        return [head, f"{'':32}  not rerun: {judgement.sentence}", *more]
    return [head, f"{'':32}  {judgement.sentence}", *more]


def error_text(result: Measurement | Failure | None, metric: str) -> str:
    """One error for a column: a number, `-` where there is none, `nan` or `shape`."""
    if isinstance(result, Failure):
        return result.level
    if result is None:
        return "-"
    return "nan" if result.nonfinite_mismatch else number(result.metric(metric))


def _summary(session: RerunSession) -> list[str]:
    counts: dict[str, int] = {}
    for index in session.results:
        kind = session.judgement(index).kind
        counts[kind] = counts.get(kind, 0) + 1
    words = {
        "fine": "right", "inherited": "right, passing on an error", "wrong": "wrong on their own",
        "inside": "wrong by a part", "unlike": "not reproduced", "unknown": "not rerun",
    }  # fmt: skip
    said = ", ".join(f"{counts[kind]} {word}" for kind, word in words.items() if kind in counts)
    end = wrong_layers_sentence(_wrong_layers(session))
    return [f"outputs: {said or 'none'}", end]
