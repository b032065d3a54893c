"""Injected reruns behind the screens: one session for the rows that are shown, run in a job."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .letting_go import let_go

if TYPE_CHECKING:
    from ...capture.runners.spec import RunnerSpec
    from ...compare.comparison import Comparison
    from ...compare.measuring.pair_reader import PairTask
    from ...compare.model import Measurement
    from ...compare.rerun.results import RerunResult
    from ...compare.rerun.session import RerunSession
    from .job import Job


class RunnerAnswerError(Exception):
    """An answer that names no runner; one line for the user."""


class Reruns:
    """Holds the session. `export` is a directory that `layertui verify` wrote, whose single errors
    the session starts with.
    """

    def __init__(self, export: str | None = None) -> None:
        self._session: RerunSession | None = None
        self._rows: object = None
        self._export = export

    def session(self, comparison: Comparison) -> RerunSession:
        """The session for these rows; a new one when rows were made anew."""
        if self._session is None or self._session.comparison is not comparison or (
            self._rows is not comparison.rows
        ):  # fmt: skip
            from ...compare.rerun.session import RerunSession

            before = self._session
            spec = before.asked if before is not None else None
            self.close()
            if before is not None and before.comparison is not comparison:
                let_go(before.comparison)
            self._session = RerunSession(comparison, spec)
            self._rows = comparison.rows
            if self._export is not None:
                from ...compare.rerun.verification import open_export

                open_export(self._export).fill(self._session)
        return self._session

    def result(self, comparison: Comparison, row: int) -> RerunResult | None:
        """What is known of a row; None where nothing was rerun."""
        known = self._known(comparison)
        return known.results.get(row) if known is not None else None

    def _known(self, comparison: Comparison) -> RerunSession | None:
        if self._export is not None:
            return self.session(comparison)
        fits = self._session is not None and self._session.comparison is comparison
        return self._session if fits and self._rows is comparison.rows else None

    def singles(self, comparison: Comparison, metric: str) -> dict[int, str]:
        """The single error of every row that has one, as its column shows it."""
        known = self._known(comparison)
        if known is None:  # and nothing to be loaded on the thread that draws
            return {}
        from ...compare.rerun.report import error_text

        return {
            row: error_text(found.single, metric) if found.problem is None else "--"
            for row, found in known.results.items()
        }

    def measured_alone(self, comparison: Comparison) -> dict[int, Measurement]:
        """Of every row that was rerun the numbers of its layer alone, where there are any."""
        known = self._known(comparison)
        if known is None:
            return {}
        from ...compare.model import Measurement

        singles = {row: found.single for row, found in dict(known.results).items()}
        return {row: found for row, found in singles.items() if isinstance(found, Measurement)}

    def wrong_layers(self, comparison: Comparison) -> list[int]:
        """Rows of layers that are wrong on their own."""
        known = self._known(comparison)
        return known.wrong_rows() if known is not None else []

    def sentence(self, comparison: Comparison, row: int) -> str:
        """What the rerun shows of a row: whether its own layer is wrong, or its inputs."""
        known = self._known(comparison)
        return known.judgement(row).sentence if known is not None else ""

    def pair_task(self, comparison: Comparison, row: int) -> PairTask | None:
        """The reference's output against the rerun's; None where its tensor is not there."""
        known = self._known(comparison)
        return known.pair_task(row) if known is not None else None

    def lines(self, comparison: Comparison, row: int) -> list[str]:
        """The rerun of a row as text, for exports."""
        from ...compare.rerun.report import row_lines

        known = self._known(comparison)
        found = self.result(comparison, row)
        if known is None or found is None:
            return []
        head = f"{'entire':>10} {'inputs':>10} {'single':>10}  layer"
        return ["", "INJECTED RERUN", "--------------", head, *row_lines(known, found)]

    def close(self) -> None:
        """End the runner; nothing of it is left."""
        if self._session is not None:
            self._session.close()
            self._session = None


def spec_of(text: str, proposal: RunnerSpec) -> RunnerSpec:
    """What the user answered: a model's directory, or a file that the engine runs,
    MODULE:FUNCTION, or `! COMMAND` of a runner.

    Raises `RunnerAnswerError`.
    """
    text = text.strip()
    if text.startswith("!") and text[1:].strip():
        return replace(proposal, kind="external", command=text[1:].strip())
    path = Path(os.path.expanduser(text))
    from ...capture.engines.registry import ENGINES
    from ...capture.storage import is_file, is_folder

    engine = ENGINES.get(proposal.kind)
    own_format = engine is not None and engine.runs(text) and is_file(str(path))
    if text and (is_folder(str(path)) or own_format):
        kind = proposal.kind if proposal.kind != "external" else "torch"
        return replace(proposal, kind=kind, model=str(path.resolve()), factory=None)
    if ":" in text and os.sep not in text and " " not in text:
        return replace(proposal, kind="torch", factory=text)
    raise RunnerAnswerError(
        f"{text or 'nothing'!r} is not a directory, MODULE:FUNCTION or ! COMMAND"
    )


def recall_job(session: RerunSession) -> Callable[[Job], bool]:
    """Work that takes what earlier sessions found, without a runner."""

    from .news import Recalled

    def work(job: Job) -> bool:
        job.tell(Recalled(tuple(session.recall())))
        return True

    return work


def rerun_job(session: RerunSession, rows: list[int], fresh: bool) -> Callable[[Job], bool]:
    """Work that reruns the layers of `rows` in execution order."""
    from .news import Reran

    def work(job: Job) -> bool:
        return session.rerun(
            rows, lambda progress: job.tell(Reran(progress)), job.stopped, fresh=fresh
        )

    return work
