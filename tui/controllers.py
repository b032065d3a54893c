"""Everything that keys and commands do on both screens, one plain object a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .list.checkpoints import Checkpoints
from .list.comparing import Comparing
from .list.export import Export
from .list.judging import Judging
from .list.navigation import Navigation
from .list.pairing import Pairing
from .list.rerunning import Rerunning
from .list.saving import Saving
from .list.search import Search
from .list.symptoms import Symptoms

if TYPE_CHECKING:
    from collections.abc import Callable

    from .list.face import ListFace
    from .session import Host


class Controllers:
    """The controllers of one program, and the commands that they carry out."""

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host = host
        self.comparing = Comparing(host, face)
        self.navigation = Navigation(host, face)
        self.search = Search(host, face)
        self.judging = Judging(host, face, self.comparing)
        self.export = Export(host, face)
        self.saving = Saving(host)
        self.pairing = Pairing(host, face, self.comparing, self.saving)
        self.symptoms = Symptoms(host, face)
        self.rerunning = Rerunning(host, face)
        self.checkpoints = Checkpoints(host, face, self.comparing)
        self.comparing.on_start = self.symptoms.drop
        self.comparing.on_complete = self.rerunning.recall
        self.comparing.on_refused = self.judging.take_back
        self.commands: dict[str, Callable[[str], None]] = {
            "goto": self.navigation.goto,
            "metric": self.judging.metric,
            "policy": self.judging.policy,
            "threshold": self.judging.threshold,
            "filter": self.search.filter,
            "search": self.search.find,
            "only": self.search.only,
            "show": self.search.show,
            "export": self.export.command,
            "yank": self.export.yank,
            "repro": self.export.reproduce,
            "unmark": self.export.unmark,
            "reload": self.reload,
            "symptoms": self.symptoms.look,
            "rerun": self.rerunning.command,
            "runner": self.rerunning.runner,
            "model": self.checkpoints.command,
            "save": self.saving.save,
        }

    @property
    def idle(self) -> bool:
        """Whether nothing at all is done in the background."""
        jobs = (self.comparing.job, self.export.job, self.symptoms.job, self.checkpoints.job)
        return not any(jobs) and not self.rerunning.busy

    def reload(self, _: str = "") -> None:
        """Read both directories again."""
        self.pairing.give_up()
        self._host.say("reading both directories again")
        self.comparing.read_again()

    def stop(self) -> bool:
        """Stop the work that was asked for last; False when there is none."""
        for job in (self.rerunning.job, self.export.job, self.symptoms.job):
            if job is not None and not job.stopped():
                job.stop()
                return True
        return self.comparing.stop()

    def step_out(self) -> None:
        """Esc: half of a pair, search, filter, only diverged, the running work; in this order."""
        if self.pairing.give_up():
            self._host.say("pairing by hand given up")
        elif not self.search.step_out() and not self.stop():
            self._host.say("q quits")
