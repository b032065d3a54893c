"""Everything that keys and commands do on both screens, one plain object a subject.

A controller is loaded when it is first needed: most of them not before the first paint.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .before.before import Before
    from .completion.completer import Completions
    from .list.cases import CaseChoice
    from .list.checkpoints import Checkpoints
    from .list.comparing import Comparing
    from .list.export import Export
    from .list.face import ListFace
    from .list.folds.fold_keys import FoldKeys
    from .list.judging import Judging
    from .list.motions.places import Places
    from .list.navigation import Navigation
    from .list.pairing import Pairing
    from .list.rerunning import Rerunning
    from .list.saving import Saving
    from .list.search import Search
    from .list.symptoms import Symptoms
    from .notes.notes import Notes
    from .session import Host
    from .watch.watch import Watch


class Controllers:
    """The controllers of one program, and the commands that they carry out."""

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face

    @cached_property
    def comparing(self) -> Comparing:
        from .list.comparing import Comparing

        comparing = Comparing(self._host, self._face)
        comparing.on_start = self._started
        comparing.on_complete = self._completed
        comparing.on_refused = self._refused
        comparing.on_cases = lambda pairs: self.cases.found(pairs)
        return comparing

    @property
    def working(self) -> bool:
        """Whether something is being read or measured."""
        return "comparing" in self.__dict__ and self.comparing.working

    def _started(self) -> None:
        self.symptoms.drop()
        self.before.drop()

    def _completed(self) -> None:
        self.rerunning.recall()
        self.cases.note()
        self.before.refresh()

    def _refused(self) -> None:
        self.judging.take_back()
        self.cases.take_back()

    @cached_property
    def navigation(self) -> Navigation:
        from .list.navigation import Navigation

        return Navigation(self._host, self._face, self.places)

    @cached_property
    def places(self) -> Places:
        from .list.motions.places import Places

        return Places(self._host, self._face)

    @cached_property
    def folding(self) -> FoldKeys:
        from .list.folds.fold_keys import FoldKeys

        return FoldKeys(self._host, self._face)

    @cached_property
    def search(self) -> Search:
        from .list.search import Search

        return Search(self._host, self._face, self.places, self.completions)

    @cached_property
    def completions(self) -> Completions:
        from .completion.completer import Completions

        return Completions(self._host)

    @cached_property
    def judging(self) -> Judging:
        from .list.judging import Judging

        judging = Judging(self._host, self._face, self.comparing)
        judging.on_judged = lambda: self.before.refresh()
        return judging

    @cached_property
    def notes(self) -> Notes:
        from .notes.notes import Notes

        return Notes(self._host, self._face)

    @cached_property
    def watch(self) -> Watch:
        from .watch.watch import Watch

        return Watch(self._host, self._face, self.comparing, self.before, self._read_again)

    @cached_property
    def before(self) -> Before:
        from .before.before import Before

        return Before(self._host, self._face, self.comparing)

    @cached_property
    def export(self) -> Export:
        from .list.export import Export

        return Export(self._host, self._face, self.completions)

    @cached_property
    def saving(self) -> Saving:
        from .list.saving import Saving

        return Saving(self._host, self.completions)

    @cached_property
    def pairing(self) -> Pairing:
        from .list.pairing import Pairing

        return Pairing(self._host, self._face, self.comparing, self.saving)

    @cached_property
    def symptoms(self) -> Symptoms:
        from .list.symptoms import Symptoms

        return Symptoms(self._host, self._face)

    @cached_property
    def rerunning(self) -> Rerunning:
        from .list.rerunning import Rerunning

        return Rerunning(self._host, self._face, self.completions)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        from .list.checkpoints import Checkpoints

        return Checkpoints(self._host, self._face, self.comparing)

    @cached_property
    def cases(self) -> CaseChoice:
        from .list.cases import CaseChoice

        return CaseChoice(self._host, self.comparing)

    @cached_property
    def commands(self) -> dict[str, Callable[[str], None]]:
        """What carries out each command of the `:` line, by its name."""
        return {
            "goto": self.navigation.goto,
            "metric": self.judging.metric,
            "policy": self.judging.policy,
            "baseline": self.judging.baseline,
            "threshold": self.judging.threshold,
            "filter": self.search.filter,
            "search": self.search.find,
            "only": self.search.only,
            "before": self.before.command,
            "watch": self.watch.command,
            "note": self.notes.command,
            "show": self.search.show,
            "export": self.export.command,
            "report": self.export.report,
            "yank": self.export.yank,
            "repro": self.export.reproduce,
            "unmark": self.export.unmark,
            "reload": self.reload,
            "symptoms": self.symptoms.look,
            "rerun": self.rerunning.command,
            "runner": self.rerunning.runner,
            "model": self.checkpoints.command,
            "case": self.cases.command,
            "save": self.saving.save,
        }

    @property
    def idle(self) -> bool:
        """Whether nothing at all is done in the background."""
        jobs = (self.comparing.job, self.export.job, self.symptoms.job, self.checkpoints.job,
                self.before.job, self.notes.job)  # fmt: skip
        return not any(jobs) and not self.rerunning.busy

    def reload(self, _: str = "") -> None:
        """Read both directories again."""
        if not self.watch.read_now():
            self._read_again()

    def _read_again(self) -> None:
        self.pairing.give_up()
        self._host.say("reading both directories again")
        self.comparing.read_again()

    def stop(self) -> bool:
        """Stop the work that was asked for last; False when there is none."""
        for job in (self.rerunning.job, self.export.job, self.symptoms.job):
            if job is not None and not job.stopped():
                job.stop()
                return True
        return self.before.stop() or self.comparing.stop()

    def step_out(self) -> None:
        """Esc: half of a pair, search, filter, only diverged, the running work; in this order."""
        if self.pairing.give_up():
            self._host.say("pairing by hand cancelled")
        elif not self.search.step_out() and not self.stop():
            self._host.say("q quits")
