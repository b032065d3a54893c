"""Counts of rows and records: nothing is dropped, and both sides add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..capture.records import Record
from .aligned import Aligned, Results, SideName
from .model import Counts, Failure, SideCounts, Verdict

OUTPUT_ROLES = frozenset({"output", "value", "grad_output"})


def count(aligned: Aligned, results: Results, verdicts: Sequence[Verdict]) -> Counts:
    """Count what is known so far."""
    kinds = Counter(row.kind for row in aligned.rows)
    ref, ref_outputs = _side(aligned, results, verdicts, "reference")
    cand, cand_outputs = _side(aligned, results, verdicts, "candidate")
    return Counts(
        pairs=kinds["pair"],
        gaps_reference=kinds["gap_reference"],
        gaps_candidate=kinds["gap_candidate"],
        unreadable=ref.unreadable + cand.unreadable,
        ignored=ref.ignored + cand.ignored,
        records_reference=ref,
        records_candidate=cand,
        coverage=_coverage(ref_outputs, cand_outputs),
        doubtful=sum(1 for verdict in verdicts if verdict.doubtful),
    )


def _side(
    aligned: Aligned, results: Results, verdicts: Sequence[Verdict], side: SideName
) -> tuple[SideCounts, tuple[int, int]]:
    """Counts of one side, and `(paired outputs, outputs)`."""
    capture: list[Record] = getattr(aligned, side).records
    ignored = getattr(aligned, f"ignored_{side}")
    first = _first_rank(capture)
    paired: set[int] = set()  # of records, by their `id`
    broken: set[int] = set()
    outputs: set[int] = set()
    compared: set[int] = set()
    ours = side == "reference"
    for row, result, verdict in zip(aligned.rows, results.measurements, verdicts, strict=True):
        record = row.reference if ours else row.candidate
        if record is None:
            continue
        key, pair = id(record), row.kind == "pair"
        if (record.rank is None or record.rank == first) and row.role in OUTPUT_ROLES:
            outputs.add(key)  # what further processes wrote is shown and counted, and no output
        failure = isinstance(result, Failure)
        failed = failure and result.side == side
        if record.error is not None or failed or (pair and not record.comparable):
            broken.add(key)
        elif pair:
            paired.add(key)
            if row.problem_level != "unreadable" and not (verdict.doubtful or failure):
                compared.add(key)
    paired -= broken
    compared -= broken
    gap = len(capture) - len(paired) - len(broken) - len(ignored)
    counts = SideCounts(len(capture), len(paired), gap, len(broken), len(ignored))
    return counts, (len(compared & outputs), len(outputs))


def _first_rank(records: Sequence[Record]) -> str | None:
    """The process whose records stand for those that every process has."""
    return next((record.rank for record in records if record.rank is not None), None)


def _coverage(ref: tuple[int, int], cand: tuple[int, int]) -> float | None:
    """Paired outputs over outputs, of the side that has fewer (the worse of two equals); 0 where
    only one side has outputs, None where neither has.
    """
    sides = (ref, cand)
    fewest = min(total for _, total in sides)
    if fewest == 0:
        return None if ref == cand else 0.0
    return min(paired / total for paired, total in sides if total == fewest)
