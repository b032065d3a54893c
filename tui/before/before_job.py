"""The work of comparing with an earlier candidate. Nothing here knows of widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..jobs.compare_job import comparison_of, read_both_headers
from ..jobs.news import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compare.changes.earlier import Earlier, RowChanges
    from ...compare.comparison import Comparison
    from ..jobs.job import Job
    from ..jobs.request import Request

_SOME = 64  # results between two news of how far the measuring is


@dataclass(frozen=True)
class EarlierMeasured:
    """How far an earlier candidate is measured: `done` of `total` pairs."""

    done: int
    total: int


@dataclass(frozen=True)
class Compared:
    """What stays of the comparison that is looked at, and what has changed since an earlier one."""

    latest: Earlier
    changes: RowChanges | None


def find_changes(
    comparison: Comparison, find: Callable[[Job], Earlier | None] | None
) -> Callable[[Job], bool]:  # fmt: skip
    """Work that tells (`Made`) what changed on each row since what `find` gives: `Compared`."""

    def work(job: Job) -> bool:
        from ...compare.changes.earlier import changes_on_rows, earlier_of
        from ...compare.measuring.pair_reader import CancelledError

        try:
            earlier = None if find is None else find(job)
            if earlier is None and find is not None:
                return False
            latest = earlier_of(comparison, job.stopped)
            changes = None if earlier is None else changes_on_rows(earlier, latest, comparison)
            job.tell(Made(Compared(latest, changes)))
        except CancelledError:
            return False
        return True

    return work


def measured_before(request: Request, path: str, job: Job) -> Earlier | None:
    """The reference against an earlier candidate at `path`, as `request` compares the present one;
    None where it was stopped. Raises `CaptureError` where there is no capture.
    """
    from ...compare.changes.earlier import earlier_of
    from ...compare.matching.sides import open_sides

    request = replace(request, candidate=path)
    reference, candidate = open_sides(
        request.reference, path, request.rules, request.raw, headers=False
    )  # fmt: skip
    if not read_both_headers(job, reference, candidate):
        return None
    comparison = comparison_of(request, (reference, candidate)).with_content(job.stopped)
    told = 0

    def results(_: list[int]) -> None:
        nonlocal told
        if comparison.measured >= told + _SOME or comparison.complete:
            told = comparison.measured
            job.tell(Made(EarlierMeasured(told, comparison.to_measure)))

    done = comparison.measure(on_results=results, visible=lambda: (), cancelled=job.stopped)
    return earlier_of(comparison, job.stopped) if done else None
