"""The work behind the list: reading headers, aligning, measuring, judging, checking.

Nothing here knows of widgets. A job posts news; whoever receives them owns the screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .news import (
    Aligned,
    CasesFound,
    Checked,
    Checking,
    Counted,
    Diagnosed,
    Judged,
    Listed,
    Measured,
    Reading,
)
from .request import Request

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...compare.comparison import Comparison
    from ...compare.judging.policy import Policy
    from .job import Job

_SHOWING = 2e-6  # seconds a row: what the screen takes to show new rows, with a margin
_PROGRESS_STEP = 0.1  # seconds between two news of the same kind
Visible = Callable[[], Sequence[int]]


class Preparing(Protocol):
    """Makes what a screen needs of all records or rows in the job's thread: for many of them it
    takes longer than a key may.
    """

    def names(self, reference: Capture, candidate: Capture) -> Any: ...

    def rows(self, comparison: Comparison) -> Any: ...


def compare_directories(
    current: Callable[[], Request], visible: Visible, preparing: Preparing
) -> Callable[[Job], bool]:
    """List, read headers, align, measure. The job fails with `CaptureError` on a bad capture.

    `current` is asked again when rows are made: the policy may be another by then. Of folders of
    captures only the cases are told: whoever hears of them asks for one.
    """

    def work(job: Job) -> bool:
        from ...compare.case_pairs import case_pairs
        from ...compare.matching.sides import open_sides

        request = current()
        cases = None if request.case else case_pairs(
            request.reference, request.candidate, request.rules
        )  # fmt: skip
        if cases is not None:
            job.tell(CasesFound(tuple(cases)))
            return False
        reference, candidate = open_sides(
            request.reference, request.candidate, request.rules, request.raw, headers=False
        )
        job.tell(Listed(reference, candidate, preparing.names(reference, candidate)))
        if not read_both_headers(job, reference, candidate):
            return False
        total = len(reference.records) + len(candidate.records)
        job.tell(Reading(total, total))
        return _align_and_measure(job, current(), (reference, candidate), visible, preparing)

    return work


def compare_again(
    request: Request, comparison: Comparison, visible: Visible, preparing: Preparing
) -> Callable[[Job], bool]:
    """Align and measure the same captures anew, because what is measured has changed."""
    sides = comparison.reference, comparison.candidate
    return lambda job: _align_and_measure(job, request, sides, visible, preparing)


def comparison_of(request: Request, sides: tuple[Capture, Capture]) -> Comparison:
    """Both captures, aligned as it was asked for. Raises `CaptureError`."""
    from ...compare.comparison import Comparison
    from ...compare.judging.policy import policy_named
    from ...compare.rules.rules import Rules
    from ...compare.weights.models import ModelPaths

    policy = request.policy or policy_named("default", None, request.rtol, request.atol)
    return Comparison(
        *sides, request.rules or Rules(), policy,
        rtol=request.rtol, atol=request.atol, ulp=request.ulp,
        model_paths=request.models or ModelPaths(), min_coverage=request.min_coverage,
        allow_early_end=request.allow_early_end,
    )  # fmt: skip


def _align_and_measure(
    job: Job, request: Request, sides: tuple[Capture, Capture], visible: Visible,
    preparing: Preparing,
) -> bool:  # fmt: skip
    from ...compare.notes.places import notes_on

    comparison = comparison_of(request, sides)
    comparison.row_notes = notes_on(comparison.reference.path, request.rules_path)
    if job.stopped():
        return False
    _tell_rows(job, comparison, preparing)
    by_values = comparison.with_content(job.stopped)
    if job.stopped():
        return False
    if by_values is not comparison:
        comparison = by_values
        _tell_rows(job, comparison, preparing)
    _check_before(job, comparison)
    return _measure(job, comparison, visible) and _check(job, comparison)


def _tell_rows(job: Job, comparison: Comparison, preparing: Preparing) -> None:
    """Rows exist. The screen shows them first: both would take turns of some milliseconds."""
    job.tell(Aligned(comparison, comparison.counts, preparing.rows(comparison)))
    time.sleep(_SHOWING * len(comparison.rows))


def _check_before(job: Job, comparison: Comparison) -> None:
    """Say other inputs and what headers show before the first number misleads anyone."""
    from ...compare.checks.two_sides import check_before_measuring

    job.tell(Checking())
    found = check_before_measuring(comparison, job.stopped)
    if not job.stopped():
        job.tell(Checked(tuple(found), early=True))


def _check(job: Job, comparison: Comparison) -> bool:
    """Look whether the captures are fit to be compared: same input, no stale buffers, and so on."""
    job.tell(Checking())
    from ...compare.checks.two_sides import check_pair

    found = check_pair(comparison, job.stopped)
    if job.stopped():
        return False
    job.tell(Checked(tuple(found)))
    return _look_at_logits(job, comparison)


def _look_at_logits(job: Job, comparison: Comparison) -> bool:
    """Work out what the differences come to at the end of the run; screens ask what is known."""
    from ...compare.measuring.pair_reader import CancelledError

    try:
        comparison.find_effect(job.stopped)
    except CancelledError:
        return False
    return True


def measure_rest(
    comparison: Comparison, visible: Visible, check: bool = False
) -> Callable[[Job], bool]:  # fmt: skip
    """Measure what a comparison lacks; `check`: look at the captures themselves, too."""
    return lambda job: _measure(job, comparison, visible) and (not check or _check(job, comparison))


def judge_again(
    comparison: Comparison, policy: Policy, visible: Visible, check: bool = False
) -> Callable[[Job], bool]:  # fmt: skip
    """Judge by a policy that looks at all rows, or at further captures; nothing that is measured is
    measured again. The job fails with `CaptureError` when a further capture cannot be opened.
    """

    def work(job: Job) -> bool:
        comparison.set_policy(policy)
        job.tell(Judged())
        done = _measure(job, comparison, visible)
        job.tell(Judged())
        return done and (not check or _check(job, comparison))

    return work


def diagnose(comparison: Comparison, rows: Sequence[int]) -> Callable[[Job], bool]:
    """Work out what the differences on `rows` look like."""

    def work(job: Job) -> bool:
        for done, row in enumerate(rows):
            if job.stopped():
                return False
            comparison.find_symptoms(row)
            job.tell(Diagnosed((row,), done + 1, len(rows)))
        return True

    return work


def _measure(job: Job, comparison: Comparison, visible: Visible) -> bool:
    done = comparison.measure(
        visible=visible,
        on_results=lambda rows: job.tell(Measured(tuple(rows))),
        cancelled=job.stopped,
    )
    job.tell(Counted(comparison.counts))
    return done


def read_both_headers(job: Job, reference: Capture, candidate: Capture) -> bool:
    """Complete the records of both sides, telling how far that is; False where it was stopped."""
    from time import monotonic

    from ...capture import read_headers

    total = len(reference.records) + len(candidate.records)
    last = monotonic()
    before = 0

    def progress(done: int, _: int) -> None:
        nonlocal last
        if monotonic() - last >= _PROGRESS_STEP:
            last = monotonic()
            job.tell(Reading(before + done, total))

    if not read_headers(reference, progress, job.stopped):
        return False
    before = len(reference.records)
    return read_headers(candidate, progress, job.stopped)


def is_bad_input(error: BaseException) -> bool:
    """True for what the user can mend: it is told in one line, without a traceback."""
    from ...capture.errors import CaptureError

    return isinstance(error, CaptureError)
