"""The report for programs: a comparison as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ....capture.records import Capture, Record
from ...aligned import SideName
from ...comparison import Comparison
from ...measuring.metrics import METRICS
from ...model import ByStatistics, FirstDivergence, Measurement, Result, Row
from ...ranks.joined_words import joined_json
from ..effect_words import effect_json
from ..form import Part, Settings, is_one
from ..law_words import headline, row_json
from ..summary import components, spread

SCHEMA = "layertui.compare/1"
CASES_SCHEMA = "layertui.compare-cases/1"


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison."""
    return json_text(json_report(comparison, settings.command))


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The report; of several cases `{"schema", "command", "cases": [{"case", "status", "report",
    "problem"}]}`.
    """
    if is_one(parts):
        return parts[0].text
    cases = [
        {"case": part.name, "status": part.status,
         "report": None if part.problem else json.loads(part.text), "problem": part.problem}
        for part in parts
    ]  # fmt: skip
    return json_text({"schema": CASES_SCHEMA, "command": settings.command, "cases": cases})


def json_text(content: dict[str, Any]) -> str:
    """A report's object as the forms write it."""
    return json.dumps(content, indent=1, allow_nan=False)


def json_report(comparison: Comparison, command: str) -> dict[str, Any]:
    """The report as in `layertui.compare/1`: only values that JSON has."""
    first = comparison.first_divergence()
    counts = comparison.counts
    outcome = comparison.outcome()
    return plain_json(
        {
            "schema": SCHEMA,
            "command": command,
            "outcome": {
                "status": outcome.status,
                "reasons": outcome.reasons,
                "doubts": outcome.doubts,
            },
            "policy": comparison.policy.describe(),
            "reference": _side(comparison, "reference"),
            "candidate": _side(comparison, "candidate"),
            "counts": asdict(counts),
            "verdicts": dict(comparison.level_counts()),
            "execution_order": {
                "same": comparison.order.same,
                "reason": comparison.order.reason,
                "reordered": [asdict(moved) for moved in comparison.order.reordered],
            },
            "statistics": {name: asdict(spread(comparison, name)) for name in METRICS},
            "components": {
                name: {"layers": part.layers, "pairs": part.pairs, "mse": asdict(part.mse)}
                for name, part in components(comparison).items()
            },
            "first_divergence": None if first is None else _finding(first),
            "findings": [_finding(found) for found in comparison.findings()],
            "answer": headline(comparison),
            "same_as_reference": None if comparison.same is None else comparison.same.words,
            "effect": effect_json(comparison.find_effect()),
            "rows": [_row(comparison, row) for row in comparison.rows],
        }
    )


def plain_json(value: Any) -> Any:
    """Floats that JSON has not become the strings NaN, Infinity and -Infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def _finding(found: FirstDivergence) -> dict[str, Any]:
    """A divergence; its rank only where it can be told."""
    content = asdict(found)
    if not found.rank:
        del content["rank"]
    return content


def _side(comparison: Comparison, side: SideName) -> dict[str, Any]:
    capture: Capture = getattr(comparison, side)
    return {
        "path": capture.path,
        "format": capture.format,
        "framework": capture.framework,
        "framework_version": capture.framework_version,
        "order_source": capture.order_source,
        "records": len(capture.records),
        "bytes": capture.nbytes,
        "complete": capture.complete,
        "prompt": capture.prompt,
        "input_ids": capture.input_ids,
        "notes": comparison.notes(side),
        **_ranks(capture),
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "name": record.name,
        "module": record.module,
        "slot": record.slot,
        "call": record.call,
        "step": record.step,
        "shape": None if record.shape is None else list(record.shape),
        "dtype": record.dtype,
        "path": record.path,
        "partial": record.partial,
        **_joined(record),
    }


def _joined(record: Record) -> dict[str, Any]:
    """How it was put together from several ranks; nothing where there is one."""
    said = record.joined
    return {} if said is None else {"ranks": joined_json(said)}


def _ranks(capture: Capture) -> dict[str, Any]:
    """How many ranks were put together, and records that differ between them; nothing where there
    is one rank.
    """
    known = capture.of_ranks
    if known is None:
        return {}
    return {
        "ranks": {
            "records": len(known.records),
            "joined": sum(1 for one in known.joined if one.way not in ("replicated", "apart")),
            "replicated": sum(1 for one in known.joined if one.way == "replicated"),
            "apart": sum(1 for one in known.joined if one.way == "apart"),
            "unequal": [asdict(one) for one in capture.unequal_ranks],
        }
    }


def _row(comparison: Comparison, row: Row) -> dict[str, Any]:
    verdict = comparison.verdicts[row.index]
    result = comparison.measurements[row.index]
    return {
        "index": row.index,
        "kind": row.kind,
        "reference": _record(row.reference),
        "candidate": _record(row.candidate),
        "canonical": row.canonical,
        "slot": row.slot,
        "recipe": {"reference": row.recipe_reference, "candidate": row.recipe_candidate},
        "matched_by": row.matched_by,
        "how": row.how,
        **_by_values(comparison, row),
        **_estimate(result),
        "metrics": metrics_json(result) if isinstance(result, Measurement) else None,
        "verdict": verdict.level,
        "reason": verdict.reason,
        "origin": comparison.origin(row.index),
        "doubtful": verdict.doubtful,
        **_note(comparison, row),
        **_floor(comparison, row.index),
        **row_json(comparison, row.index),
    }


def _note(comparison: Comparison, row: Row) -> dict[str, Any]:
    """What a person wrote on the row; only where there is something."""
    note = comparison.row_notes.text(row)
    return {"note": note} if note else {}


def _by_values(comparison: Comparison, row: Row) -> dict[str, Any]:
    """How sure a pair by values is, and what values offer against the names; only where they do."""
    offer = comparison.offer(row.index)
    sure = {} if row.sure is None else {"match_confidence": row.sure}
    return sure if offer is None else {**sure, "offered": offer.words}


def _estimate(result: Result) -> dict[str, Any]:
    """The relative L2 that the recorded projections show, where there are no values."""
    if not isinstance(result, ByStatistics) or result.relative_l2 is None:
        return {}
    return {"estimated_relative_l2": plain_json(result.relative_l2)}


def _floor(comparison: Comparison, index: int) -> dict[str, Any]:
    """What a baseline and an exact capture say; null where there is none."""
    floor = comparison.floors.get(index)
    if floor is None:
        return {"baseline": None, "exact": None}
    baseline = None if floor.baseline is None else asdict(floor.baseline)
    exact = None if floor.exact is None else {**asdict(floor.exact), "off": floor.off}
    if baseline is not None:
        baseline["path"] = floor.baseline_path
    return {"baseline": baseline, "exact": exact}


def metrics_json(result: Measurement) -> dict[str, Any]:
    """The numbers of a pair, those of metrics without a field of their own beside the others."""
    found = asdict(result)
    further = found.pop("further")
    del found["partial"]
    return {**found, **further}
