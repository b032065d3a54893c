"""Checks of two captures: the same input, the same weights, runs that can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...capture.models.run_details import run_details
from ...capture.plurals import IS, counted, which
from ...capture.records import Capture
from ..aligned import Note
from ..comparison import Comparison
from ..matching.names.roles import is_embedding
from ..measuring.measure import measure
from ..model import Measurement
from .digests import check_digests
from .environment import check_environment
from .finding import ADVICE_ON_WEIGHTS, Finding, SideName, quoted, sorted_findings
from .one_side import Cancelled, check_capture, check_headers
from .samples import Budget, Looks
from .stale import stale_beside
from .token_inputs import different_inputs, how_different, tells

_WEIGHT = re.compile(r"(?:^|\.)(?:weight|bias|weight_scale)$")
_HASH = re.compile(r"hash|sha256|checksum|digest", re.IGNORECASE)
_AT_ONCE = 20_000  # records of a capture whose names are gone through in a fraction of a second


@dataclass(frozen=True, slots=True)
class EachAlone:
    """What was found about each capture by itself, and what was seen of their records for that."""

    looks: tuple[Looks, Looks]
    found: list[Finding]


def check_each(comparison: Comparison, cancelled: Cancelled = None) -> EachAlone:
    """All findings about either capture, for which nothing need be measured. Stops early, with what
    it has, when `cancelled` returns True.
    """
    looks = Looks(Budget()), Looks(Budget())
    rules = comparison.rules
    left = check_capture(comparison.reference, "reference", rules.reference, cancelled, looks[0])
    if cancelled is not None and cancelled():
        return EachAlone(looks, left)
    right = check_capture(comparison.candidate, "candidate", rules.candidate, cancelled, looks[1])
    return EachAlone(looks, _together(left, right))


def check_pair(
    comparison: Comparison, cancelled: Cancelled = None, alone: EachAlone | None = None
) -> list[Finding]:
    """All findings about two captures, different inputs first; `alone` is what `check_each` found,
    if that is known.

    Uses measurements that are there and makes those of token ids and weights that are not. Stops
    early, with what it has, when `cancelled` returns True.
    """
    found: list[Finding] = []
    checks: tuple[Callable[[Comparison], Iterator[Finding]], ...] = (
        different_inputs, _weights, _steps, _dtypes, check_environment, _constants,
    )  # fmt: skip
    for check in checks:
        if cancelled is not None and cancelled():
            return sorted_findings(found)
        found += check(comparison)
    alone = alone or check_each(comparison, cancelled)
    if cancelled is None or not cancelled():
        found += stale_beside(comparison, alone.looks, alone.found)
    return sorted_findings([*found, *alone.found])


def check_before_measuring(comparison: Comparison, cancelled: Cancelled = None) -> list[Finding]:
    """What is known at once, and `check_pair` reports again: other inputs, how the runs
    differ and, of captures that are not huge, what names and headers show. Reads token ids and,
    where there are none, the embedding's output.
    """
    found: list[Finding] = []
    for check in (different_inputs, _steps, _dtypes, check_environment):
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
        judged = comparison.verdicts[row.index] if comparison.complete else None
        if (judged or comparison.policy.judge(row, result)).fails:
            wrong.append(row.label)
    advice = ADVICE_ON_WEIGHTS
    if wrong:
        words = counted(len(wrong), "weight", ("differs", "differ"))
        yield Finding("error", "weights", words, advice, records=tuple(wrong))
    yield from _tables(comparison, advice)
    left, right = run_details(comparison.reference.path), run_details(comparison.candidate.path)
    for key in left:
        if _HASH.search(key) and key in right and left[key] != right[key]:
            words = f"{key} differs: {quoted(left[key])} and {quoted(right[key])}"
            yield Finding("error", "weights", words, advice)
    yield from check_digests(comparison)


def _tables(comparison: Comparison, advice: str) -> Iterator[Finding]:
    """Embeddings that give other outputs for the same token ids."""
    same = {
        (row.step, row.call)
        for row in comparison.rows
        if row.kind == "pair" and tells(row, "ids") and not how_different(comparison, row)
    }
    for row in comparison.rows:
        output = row.role == "output" and is_embedding(row.canonical)
        if not output or (row.step, row.call) not in same or not comparison.measurable(row.index):
            continue
        result = comparison.measurements[row.index] or measure(comparison.task(row.index))
        if comparison.policy.judge(row, result).fails:
            names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
            words = "the embedding gives other outputs for the same token ids"
            why = "its table differs, or one side scales it"
            yield Finding("warning", "weights", words, f"{why}; {advice}",
                          records=names)  # fmt: skip
            return


def _steps(comparison: Comparison) -> Iterator[Finding]:
    left = {record.step for record in comparison.reference.records}
    right = {record.step for record in comparison.candidate.records}
    if len(left) < 2 and len(right) < 2:
        return  # engines count differently
    if any("counts its steps from 1" in note.text for note in comparison.aligned.notes):
        return
    for only, word in ((left - right, "reference"), (right - left, "candidate")):
        if only:
            listed = ", ".join(map(str, sorted(only)[:5])) + (", ..." if len(only) > 5 else "")
            steps = f"{which(len(only), 'step', 'steps')} {listed} {which(len(only), *IS)}"
            yield Finding("warning", "steps", f"{steps} only in the {word}",
                          "generate the same number of tokens in both")  # fmt: skip


def _dtypes(comparison: Comparison) -> Iterator[Finding]:
    left, right = comparison.reference.main_dtype(), comparison.candidate.main_dtype()
    if left is not None and right is not None and left != right:
        yield Finding("note", "dtype", f"the reference is {left}, the candidate {right}",
                      "the limits of the less precise one apply; a baseline run in it separates "
                      "noise from faults")  # fmt: skip


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
            what = (
                f"{counted(len(names), 'output')} {which(len(names), 'is', 'are')} the same number"
            )
            yield Finding("error", "constant", f"{what} everywhere, but not in the {other}",
                          "check whether they were computed at all",
                          side="reference" if mine == "reference" else "candidate",
                          records=tuple(names))  # fmt: skip
