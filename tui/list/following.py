"""How the main screen follows the work behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...capture.plurals import counted
from ..jobs.letting_go import let_go
from ..present.working import checking_laws
from ..widgets.depth_strip import DepthStrip
from .display import ListDisplay
from .kept_place import KeptPlace
from .status_line import short_finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...capture.records import Capture
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ..present.short_names import ShortNames
    from .folds.prepared import Prepared

_STRIP_EVERY = 0.5  # seconds between repaints of strip and counts while results arrive


class FollowingList(ListDisplay):
    """Takes in what jobs tell, and repaints what that changes."""

    _opened_on: tuple[int | None] | None = None  # the first divergence when the cursor went to it
    _aligned_before = False
    _on_single_pair = False  # the screen of the only pair was opened unasked

    def listed(
        self, reference: Capture, candidate: Capture, short: Sequence[ShortNames] = ()
    ) -> None:
        """Names are known: show them unless there are rows already (a re-reading)."""
        self._captures = (reference, candidate)
        self._reading = "reading headers"
        if self.comparison is None:
            self._show_names(reference, candidate, short)
        self._show_status()

    def reading(self, done: int, total: int) -> None:
        self._reading = f"reading headers {done} of {total}"
        if done == total:
            self._reading = f"aligning {counted(total, 'record')}"
        self._show_status()

    def aligned(
        self, comparison: Comparison, counts: Counts | None = None,
        prepared: Prepared | None = None,
    ) -> None:  # fmt: skip
        """Rows exist: the cursor stays on its record, on its line of the screen; where nobody moved
        it, on top.
        """
        self.remember_place()
        if self.pairs.cursor == 0:
            self._kept = KeptPlace(None, self._kept.marks)
        self._counts = counts or comparison.counts
        self._prepared = prepared
        if prepared is not None:
            self.pairs.folding.prepare(prepared.rows, prepared.levels)
        let_go(self.session.comparison)
        self.session.comparison = comparison
        self._captures = (comparison.reference, comparison.candidate)
        self._reading = ""
        self._first_said = False
        self._opened_on = None
        self.show_rows()
        self._say_limits()
        self._open_single_pair(comparison)

    def _open_single_pair(self, comparison: Comparison) -> None:
        """Two files, or one module, have nothing to choose from: straight to their numbers."""
        from ..present.opening import single_pair

        first, self._aligned_before = not self._aligned_before, True
        free = first and not self.session.touched and self.session.cases is None
        row = single_pair(comparison.rows) if free else None
        if row is not None and not self.has_class("-small"):
            self._on_single_pair = True
            self.open_on(row)
            self.host.open_pair(alone=len(comparison.rows) == 1)

    def _say_limits(self) -> None:
        """Layers that a thresholds file has no limits for are judged by something else: say so, and
        which notes cannot be read.
        """
        assert self.comparison is not None
        for problem in self.comparison.row_notes.problems[:1]:
            self.host.say(problem, warn=True)
        notes = self.comparison.notes("reference")
        found = [note for note in notes if " has no limits for " in note]
        if found:
            self.host.say(f"{found[0]} (:notes)", warn=True)

    def measured(self, rows: Sequence[int]) -> None:
        """Results: repaint what is visible now, strip and counts a little later."""
        comparison = self.comparison
        if comparison is None:
            return
        self._late_rows.extend(rows)
        if self._late_timer is None:
            self._late_timer = self.set_timer(_STRIP_EVERY, self._show_late)
        if self.view.only:
            self._follow_failing()
        self.pairs.rows_changed(rows)
        self.pairs.set_first(comparison.first_index)
        if self.pairs.set_locals(bool(comparison.locals)):
            self._show_heading()
        self._open_on_answer()
        if self.folded or self.row in rows:
            self.show_pane()

    def _open_on_answer(self, *, done: bool = False) -> None:
        """Until the user presses something the cursor goes to what the answer is about: once
        everything is judged, when the laws find another first divergence, and when all is `done`.
        """
        from ..present.opening import is_judged, opening_row

        comparison = self.comparison
        if self._on_single_pair or self.session.touched:
            return
        if comparison is None or not is_judged(comparison):
            return
        first = comparison.first_index
        if self._opened_on == (first,) and not done:
            return
        self._opened_on = (first,)
        row = opening_row(comparison)
        if row is not None and row != self.row:
            self.open_on(row)

    def checking(self) -> None:
        """The captures are checked."""
        self._reading = "checking"
        self._show_status()

    def checked(self, findings: Sequence[Finding]) -> None:
        """What the checks found goes into the notes; the most serious is said when it is new."""
        comparison = self.comparison
        if comparison is None:
            return
        from ...compare.checks.two_sides import note_findings

        note_findings(comparison, list(findings))
        self._reading = ""
        serious = [finding for finding in findings if finding.severity != "note"]
        self.findings = len(serious)
        inputs = [f for f in serious if f.code == "inputs" and f.severity == "error"]
        self.session.inputs_differ = short_finding(inputs[0]) if inputs else ""
        if serious and serious[0] != self._worst:
            more = f"; {len(serious) - 1} more" if len(serious) > 1 else ""
            self.host.say(f"{serious[0].line}{more} (:notes)", warn=True)
        self._worst = serious[0] if serious else None
        self._show_status()

    def counted(self, counts: Counts) -> None:
        """What rows and records came to."""
        self._counts = counts

    def ended(self, complete: bool = True) -> None:
        """The work is over, done or stopped."""
        self._reading = ""
        if self.comparison is not None and self._judge_when_done:
            self._judge_when_done = False  # a result on its way may have met the policy of before
            self.comparison.set_policy(self.comparison.policy)
            self._counts = self.comparison.counts
            self.verdicts_changed()
        self._show_late()
        self._open_on_answer(done=True)
        if complete and not self._first_said:
            self._first_said = True
            self._say_first()

    def _say_first(self) -> None:
        """What it comes to in the logits, and the first divergence, once everything is known,
        unless something else is being said; of the first divergence what is known now. What is
        wrong with the settings comes before that: the top line has the divergence, too.
        """
        from ..present.origin import FIRST, first_known, first_sentence, last_words

        comparison, said = self.comparison, self.host.said
        if comparison is None:
            return
        complaint = self.session.settings.complaint
        if complaint and not said:
            self.host.say(complaint, warn=True)
            return
        first = first_known(comparison)
        if first is not None and said.startswith(FIRST):  # said with less known than now
            self.host.say(first_sentence(comparison, first))
        elif not said and (words := last_words(comparison, self.size.width - 2)):
            self.host.say(words)

    def _show_late(self) -> None:
        if self._late_timer is not None:
            self._late_timer.stop()
            self._late_timer = None
        rows, self._late_rows = self._late_rows, []
        self.query_one(DepthStrip).update_rows(rows)
        self._show_status()
        comparison = self.comparison
        working = comparison is not None and self.controllers.working
        if working and comparison is not None and checking_laws(comparison):
            self._late_timer = self.set_timer(_STRIP_EVERY, self._show_late)  # the progress goes on
