"""Checks of two captures: the same input, the same weights, runs that can be compared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...capture.errors import RecordError
from ...capture.models.run_details import run_details
from ...capture.records import Capture, Record
from ..aligned import Note
from ..comparison import Comparison
from ..matching.roles import is_embedded, is_embedding
from ..measuring.measure import measure
from ..measuring.pair_reader import CancelledError, PairReader, SideTask
from ..measuring.per_token import TokenRows, token_rows
from ..model import Failure, Measurement, Row
from .digests import check_digests
from .finding import ADVICE_ON_WEIGHTS, Finding, SideName, sorted_findings
from .one_side import Cancelled, check_capture, check_headers
from .samples import Budget, Looks
from .stale import stale_beside

_IDS = re.compile(r"input_ids$|^tokens$")
_WEIGHT = re.compile(r"(?:^|\.)(?:weight|bias|weight_scale)$")
_HASH = re.compile(r"hash|sha256|checksum|digest", re.IGNORECASE)
_MOST_IDS = 1 << 20
_AT_ONCE = 20_000  # records of a capture whose names are gone through in a fraction of a second
_APART = 0.5  # relative error of an embedding's row from which it is another token's
# What differs between any two runs, or is compared elsewhere.
_ELSEWHERE = re.compile(
    r"^(?:schema|layertui|argv|started|host\.|notes|prompt|input_ids|tokens|complete|options\.|"
    r"framework$|framework_version$|model$|dtype$|device$|model_source|seed|run\.factory$|run\.model$)"
)


def check_pair(comparison: Comparison, cancelled: Cancelled = None) -> list[Finding]:
    """All findings about two captures, different inputs first.

    Uses measurements that are there and makes those of token ids and weights that are not. Stops
    early, with what it has, when `cancelled` returns True.
    """
    found: list[Finding] = []
    checks: tuple[Callable[[Comparison], Iterator[Finding]], ...] = (
        _inputs, _weights, _steps, _dtypes, _runs, _constants,
    )  # fmt: skip
    for check in checks:
        if cancelled is not None and cancelled():
            return sorted_findings(found)
        found += check(comparison)
    looks = Looks(Budget()), Looks(Budget())
    rules = comparison.rules
    left = check_capture(comparison.reference, "reference", rules.reference, cancelled, looks[0])
    right = check_capture(comparison.candidate, "candidate", rules.candidate, cancelled, looks[1])
    alone = _together(left, right)
    if cancelled is None or not cancelled():
        found += stale_beside(comparison, looks, alone)
    return sorted_findings([*found, *alone])


def check_before_measuring(comparison: Comparison, cancelled: Cancelled = None) -> list[Finding]:
    """What is known at once, and `check_pair` reports again: other inputs, how the runs
    differ and, of captures that are not huge, what names and headers show. Reads token ids and,
    where there are none, the embedding's output.
    """
    found: list[Finding] = []
    for check in (_inputs, _steps, _dtypes, _runs):
        if cancelled is not None and cancelled():
            return sorted_findings(found)
        found += check(comparison)
    sides: tuple[SideName, ...] = ("reference", "candidate")
    for side in sides:
        capture: Capture = getattr(comparison, side)
        if len(capture.records) <= _AT_ONCE:
            found += check_headers(capture, side, getattr(comparison.rules, side))
    return sorted_findings(found)


def note_findings(comparison: Comparison, found: list[Finding]) -> None:
    """Put findings in front of all other notes, where every report and the screen have them."""
    comparison.check_notes = tuple(
        Note(finding.side or "reference", finding.line) for finding in found
    )


def _together(left: list[Finding], right: list[Finding]) -> list[Finding]:
    """Repeated steps and constants that both runs have are the model's; of one alone, a fault."""
    theirs = {(f.code, f.what) for f in left} & {(f.code, f.what) for f in right}
    joined: list[Finding] = []
    for finding in [*left, *right]:
        steps = finding.code == "stale" and finding.what.startswith("step ")
        alone = (finding.code, finding.what) not in theirs
        joined.append(replace(finding, severity="error") if steps and alone else finding)
    return joined


# Inputs


def _inputs(comparison: Comparison) -> Iterator[Finding]:
    """Prompts and token ids, as the captures record them and as they went into the embedding."""
    ref, cand = comparison.reference, comparison.candidate
    advice = "stop here: run both on the same input, nothing behind this means anything"
    if ref.prompt is not None and cand.prompt is not None and ref.prompt != cand.prompt:
        words = f"different prompts: {_short(ref.prompt)} and {_short(cand.prompt)}"
        yield Finding("error", "inputs", words, advice)
    rows = [row for row in comparison.rows if row.kind == "pair" and _is_ids(row)]
    for row in rows:
        words = _different(comparison, row)
        if words:
            names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
            step = f" in step {row.step}" if row.step else ""
            yield Finding("error", "inputs", f"different token ids{step}: {words}", advice,
                          records=names)  # fmt: skip
            return
    if rows:
        return
    left, right = _ids(ref), _ids(cand)
    if left is not None and right is not None:
        words = _ids_apart(left, right)
        if words:
            yield Finding("error", "inputs", f"different token ids: {words}", advice)
        return
    yield from _embedded(comparison, advice)


def _is_ids(row: Row) -> bool:
    records = (row.reference, row.candidate)
    whole = all(r is not None and (r.dtype or "").startswith(("int", "uint")) for r in records)
    return whole and (
        bool(_IDS.search(row.slot)) or (row.role == "input" and is_embedding(row.canonical))
    )


def _different(comparison: Comparison, row: Row) -> str:
    """How two records of token ids differ, in words; empty where they do not."""
    if not comparison.measurable(row.index):
        return row.problem or ""
    result = comparison.measurements[row.index] or measure(comparison.task(row.index))
    if not isinstance(result, Measurement):
        return result.reason if isinstance(result, Failure) else ""
    if not result.mismatched:
        return ""
    at = list(result.max_abs_index or ())
    values = result.max_abs_values or (0.0, 0.0)
    return f"{result.mismatched} of {result.count}, as at {at}: {values[0]:.0f} and {values[1]:.0f}"


def _ids(capture: Capture) -> list[int] | None:
    """The token ids of the first step: as recorded, else what went into the embedding."""
    if capture.input_ids is not None:
        return _flat(capture.input_ids)
    for record in capture.records:
        if record.step != 0 or not (record.dtype or "").startswith(("int", "uint")):
            continue
        if record.slot.endswith("input_ids") or is_embedded(capture, record):
            return _read(record)
    return None


def _flat(value: Any) -> list[int] | None:
    if isinstance(value, list):
        parts = [_flat(inner) for inner in value]
        if any(part is None for part in parts):
            return None
        return [number for part in parts for number in part or ()]
    return [value] if type(value) is int else None


def _read(record: Record) -> list[int] | None:
    if record.locator is None or record.dtype is None or record.locator.count > _MOST_IDS:
        return None
    try:
        with PairReader(SideTask(record.locator, record.dtype), None) as reader:
            blocks = [b.x.reshape(-1) for b in reader.blocks() if b.x is not None]
    except (RecordError, OSError, MemoryError):
        return None
    return [int(number) for block in blocks for number in block]


def _ids_apart(left: list[int], right: list[int]) -> str:
    if left == right:
        return ""
    if len(left) != len(right):
        return f"{len(left)} tokens and {len(right)}"
    at = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    count = sum(a != b for a, b in zip(left, right, strict=True))
    return f"{count} of {len(left)}, the first at {at}: {left[at]} and {right[at]}"


def _embedded(comparison: Comparison, advice: str) -> Iterator[Finding]:
    """Where no ids are recorded: rows of the embedding that are another token's."""
    for row in comparison.rows:
        if row.role != "output" or not is_embedding(row.canonical):
            continue
        if not comparison.measurable(row.index):
            continue
        try:
            found = token_rows(comparison.task(row.index))
        except CancelledError:
            return
        if not isinstance(found, TokenRows) or not found.rows:
            return
        apart = ~(found.relative_l2 < _APART)
        count = int(np.count_nonzero(apart))
        names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
        if 0 < count < found.rows:
            words = (
                f"the embeddings of {count} of {found.rows} tokens differ and the others agree: "
                f"different token ids, the first at {int(np.flatnonzero(apart)[0])}"
            )
            yield Finding("error", "inputs", words, advice, records=names)
        elif count and count == found.rows:
            words = "the embeddings of all tokens differ: different token ids, or another table"
            yield Finding("error", "inputs", words, advice, records=names)
        return


# Weights and runs


def _weights(comparison: Comparison) -> Iterator[Finding]:
    """Records of weights, and hashes that both captures have."""
    wrong: list[str] = []
    for row in comparison.rows:
        if row.kind != "pair" or row.role != "value" or not _WEIGHT.search(row.canonical):
            continue
        result = comparison.measurements[row.index]
        if result is None and comparison.measurable(row.index):
            result = measure(comparison.task(row.index))
        if comparison.policy.judge(row, result).fails:
            wrong.append(row.label)
    advice = ADVICE_ON_WEIGHTS
    if wrong:
        yield Finding("error", "weights", f"{len(wrong)} weights differ", advice,
                      records=tuple(wrong))  # fmt: skip
    yield from _tables(comparison, advice)
    left, right = run_details(comparison.reference.path), run_details(comparison.candidate.path)
    for key in left:
        if _HASH.search(key) and key in right and left[key] != right[key]:
            words = f"{key} differs: {_short(left[key])} and {_short(right[key])}"
            yield Finding("error", "weights", words, advice)
    yield from check_digests(comparison)


def _tables(comparison: Comparison, advice: str) -> Iterator[Finding]:
    """Embeddings that give other outputs for the same token ids."""
    same = {
        (row.step, row.call)
        for row in comparison.rows
        if row.kind == "pair" and _is_ids(row) and not _different(comparison, row)
    }
    for row in comparison.rows:
        output = row.role == "output" and is_embedding(row.canonical)
        if not output or (row.step, row.call) not in same or not comparison.measurable(row.index):
            continue
        result = comparison.measurements[row.index] or measure(comparison.task(row.index))
        if comparison.policy.judge(row, result).fails:
            names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
            words = "the embedding gives other outputs for the same token ids"
            yield Finding("warning", "weights", words, f"its table differs, or is scaled: {advice}",
                          records=names)  # fmt: skip
            return


def _steps(comparison: Comparison) -> Iterator[Finding]:
    left = {record.step for record in comparison.reference.records}
    right = {record.step for record in comparison.candidate.records}
    if len(left) < 2 and len(right) < 2:
        return  # engines count differently
    for only, word in ((left - right, "reference"), (right - left, "candidate")):
        if only:
            listed = ", ".join(map(str, sorted(only)[:5])) + (", ..." if len(only) > 5 else "")
            yield Finding("warning", "steps", f"step {listed} is only in the {word}",
                          "generate as many tokens in both")  # fmt: skip


def _dtypes(comparison: Comparison) -> Iterator[Finding]:
    left, right = comparison.reference.main_dtype(), comparison.candidate.main_dtype()
    if left is not None and right is not None and left != right:
        yield Finding("note", "dtype", f"the reference is {left}, the candidate {right}",
                      "the limits of the coarser one hold; a baseline in it separates noise from "
                      "faults")  # fmt: skip


def _runs(comparison: Comparison) -> Iterator[Finding]:
    """Models, versions, devices, and all else that both captures record of their runs."""
    ref, cand = comparison.reference, comparison.candidate
    if ref.model and cand.model and _model(ref.model) != _model(cand.model):
        yield Finding("warning", "config", f"the reference ran {_short(ref.model)}, the candidate "
                      f"{_short(cand.model)}", "compare two runs of one model")  # fmt: skip
    same = ref.framework is not None and ref.framework == cand.framework
    if same and ref.framework_version != cand.framework_version:
        yield Finding("note", "versions", f"{ref.framework} {ref.framework_version or '?'} and "
                      f"{cand.framework_version or '?'}", "kernels may differ")  # fmt: skip
    if ref.device and cand.device and ref.device != cand.device:
        yield Finding("note", "versions", f"run on {_short(ref.device)} and on "
                      f"{_short(cand.device)}", "kernels differ")  # fmt: skip
    left, right = run_details(ref.path), run_details(cand.path)
    sides: tuple[tuple[SideName, dict[str, str]], ...] = (("reference", left), ("candidate", right))
    for side, details in sides:
        if details.get("training") == "True":
            yield Finding("warning", "config", "the model ran in training mode",
                          "call model.eval(): dropout makes any two runs differ", side)  # fmt: skip
    apart = [
        f"{key} {_short(left[key])} and {_short(right[key])}"
        for key in left
        if key in right and left[key] != right[key]
        and not _ELSEWHERE.search(key) and not _HASH.search(key)
    ]  # fmt: skip
    if apart:
        more = f" and {len(apart) - 5} more" if len(apart) > 5 else ""
        yield Finding("warning", "config", f"the runs differ in {'; '.join(apart[:5])}{more}",
                      "make them equal where they should be")  # fmt: skip


def _constants(comparison: Comparison) -> Iterator[Finding]:
    """Outputs that are one number all over on one side only, by what was measured."""
    for mine, other in (("reference", "candidate"), ("candidate", "reference")):
        names: list[str] = []
        for row, result in zip(comparison.rows, comparison.measurements, strict=True):
            if row.role not in ("output", "value") or not isinstance(result, Measurement):
                continue
            own, theirs = getattr(result, mine), getattr(result, other)
            if own is None or theirs is None or own.min is None or theirs.min is None:
                continue
            record = getattr(row, mine)
            flat, moving = own.min == own.max, theirs.min != theirs.max
            if flat and moving and result.compared > 1 and record is not None:
                names.append(record.name)
        if names:
            yield Finding("error", "constant", f"{len(names)} outputs are one number all over, "
                          f"those of the {other} are not", "look whether they were computed at all",
                          side="reference" if mine == "reference" else "candidate",
                          records=tuple(names))  # fmt: skip


def _model(name: str) -> str:
    return os.path.basename(name.rstrip("/")).lower()


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
