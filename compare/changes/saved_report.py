"""Reports of `layertui compare --format json`, read again. What lies in a file is not trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, get_args

from ...capture.errors import CaptureError
from ..reports.forms.json_form import CASES_SCHEMA, SCHEMA
from ..vocabulary import Level

_MOST_BYTES = 1 << 31  # a row takes about 2 kB: a million of them
_LEVELS = frozenset(get_args(Level))
Key = tuple[str, str, int, int]  # canonical module, slot, step, call


@dataclass(frozen=True, slots=True)
class SavedRow:
    """One row: `label` for a person, the verdict and its reason, the relative L2 of the difference
    (None where there is none), and whether the error was introduced there.
    """

    label: str
    level: str
    reason: str
    error: float | None
    made: bool
    paired: bool


@dataclass(frozen=True, slots=True)
class SavedReport:
    """One comparison: paths of both sides, exit status, the module that diverges first and why,
    and its rows in execution order.
    """

    reference: str
    candidate: str
    status: int
    first: str
    answer: str
    rows: dict[Key, SavedRow]


def read_reports(path: str) -> dict[str, SavedReport]:
    """The comparisons of a file by case, `""` for one without cases.

    Raises `CaptureError`, one line, for what is no such report.
    """
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise CaptureError(f"{path}: too large for a report of layertui compare")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path}: no JSON, or not all of it: {_first_line(error)}") from error
    return reports_of(content, path)


def reports_of(content: object, path: str) -> dict[str, SavedReport]:
    """The comparisons of a report's object; `path` is what messages call it."""
    schema = content.get("schema") if _is_object(content) else None
    if not _is_object(content) or schema not in (SCHEMA, CASES_SCHEMA):
        raise CaptureError(f"{path}: not a report of `layertui compare --format json`")
    if schema == SCHEMA:
        return {"": _report(content, path)}
    cases = content.get("cases")
    found: dict[str, SavedReport] = {}
    for case in cases if isinstance(cases, list) else ():
        if _is_object(case) and _is_object(case.get("report")):
            found[str(case.get("case"))] = _report(case["report"], path)
    if not found:
        raise CaptureError(f"{path}: no case of this report was compared")
    return found


def _report(content: Mapping[str, Any], path: str) -> SavedReport:
    rows = content.get("rows")
    if not isinstance(rows, list):
        raise CaptureError(f"{path}: damaged: the report has no rows")
    found: dict[Key, SavedRow] = {}
    for row in rows:
        if not _is_object(row) or row.get("verdict") not in _LEVELS:
            raise CaptureError(f"{path}: damaged: a row has no verdict")
        found[next_free(_key(row), found)] = _row(row)
    outcome, first = content.get("outcome"), content.get("first_divergence")
    status = outcome.get("status") if _is_object(outcome) else None
    module = first.get("module") if _is_object(first) else ""
    return SavedReport(
        _path(content.get("reference")), _path(content.get("candidate")),
        status if type(status) is int else 1, _text(module), _text(content.get("answer")), found,
    )  # fmt: skip


def next_free(key: Key, known: Container[Key]) -> Key:
    """The key of one more row of that name: parts of a fused record have one name."""
    while key in known:
        key = (*key[:3], key[3] + 1)
    return key


def label_of(key: Key) -> str:
    """`layers.0.mlp-output call 2 step 1`."""
    module, slot, step, call = key
    label = f"{module}-{slot}" + (f" call {call}" if call > 1 else "")
    return label + (f" step {step}" if step else "")


def _key(row: Mapping[str, Any]) -> Key:
    record = row.get("reference") or row.get("candidate")
    record = record if _is_object(record) else {}
    step, call = record.get("step"), record.get("call")
    return (
        _text(row.get("canonical")), _text(row.get("slot")),
        step if type(step) is int else 0, call if type(call) is int else 1,
    )  # fmt: skip


def _row(row: Mapping[str, Any]) -> SavedRow:
    return SavedRow(
        label_of(_key(row)), _text(row.get("verdict")),
        _text(row.get("reason")), _error(row.get("metrics")), row.get("origin") == "made",
        row.get("kind") == "pair",
    )  # fmt: skip


def _error(metrics: object) -> float | None:
    """The relative L2; NaN and infinities, which are words in JSON, count as infinite."""
    value = metrics.get("relative_l2") if _is_object(metrics) else None
    if isinstance(value, str):
        return float("inf")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _path(side: object) -> str:
    return _text(side.get("path")) if _is_object(side) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
