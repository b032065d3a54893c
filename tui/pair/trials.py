"""What the pair screen looks at: the row under the list's cursor, and what is tried on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..jobs.inspector import Failed, Found
from ..scene import Scene, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ..jobs.inspector import InspectionNews
    from ..list.pairing import Pairing
    from ..session import Host
    from .reading import Reading

_NAME = "trial"  # as which measurements are asked for


class Trials:
    """Tries recipes, or a rerun's output, in place of what was captured. `show` draws the scene
    again after it changed.
    """

    def __init__(
        self, host: Host, pairing: Pairing, reading: Reading, show: Callable[[], None]
    ) -> None:  # fmt: skip
        self._host, self._pairing, self._reading, self._show = host, pairing, reading, show
        self._undo: list[Trial | None] = []

    @property
    def scene(self) -> Scene | None:
        return self._host.session.scene

    def _set(self, scene: Scene | None) -> None:
        self._host.session.scene = scene

    def follow(self) -> bool:
        """Look at the row under the list's cursor; False where there is none."""
        session = self._host.session
        comparison, row = session.comparison, session.row
        if comparison is None or row is None:
            return False
        known = self.scene
        if known is None or (known.comparison, known.index) != (comparison, row):
            self._set(Scene(comparison, row))
            self._undo = []
        return True

    def start(self, trial: Trial | None, *, remember: bool = True) -> None:
        """Look at the row through other recipes; None: as it was aligned."""
        scene = self.scene
        if scene is None or scene.trial == trial:
            return
        if remember:
            self._undo.append(scene.trial)
        self._set(Scene(scene.comparison, scene.index, trial))
        self._show()

    def undo(self) -> str:
        """Take the last change of a recipe back; gives what is to be said."""
        if not self._undo:
            return "nothing to undo"
        self.start(self._undo.pop(), remember=False)
        return "undone" if self._host.session.trial is not None else "as it was aligned"

    def step_out(self) -> str:
        """Back to what was captured, or aligned; empty where that is what is looked at."""
        scene = self.scene
        if scene is not None and scene.injected is not None:
            self._set(Scene(scene.comparison, scene.index))
            self._show()
            return "as it was captured"
        if scene is not None and scene.trial is not None:
            self.start(None)
            return "as it was aligned; z brings the recipes back"
        return ""

    def inject(self) -> bool:
        """Put the rerun's output in the candidate's place; False where there is none."""
        scene, reruns = self.scene, self._host.session.reruns
        if scene is None:
            return False
        task = reruns.pair_task(scene.comparison, scene.index)
        found = reruns.result(scene.comparison, scene.index)
        if task is None or found is None:
            return False
        self._set(Scene(scene.comparison, scene.index, None, found.single, task))
        return True

    def keep(self, *, kind: bool, save: bool) -> None:
        """Keep the recipes that are tried, for the row alone or for all of its kind."""
        scene = self.scene
        if scene is None or scene.trial is None:
            return
        from ...compare.rules.rules import HandPair, RecipeRule

        trial, row = scene.trial, scene.row
        pairs: list[HandPair] = []
        if trial.partner is not None and row.reference is not None and row.candidate is not None:
            pairs = [HandPair(row.reference.name, row.candidate.name)]
        recipes = [
            RecipeRule(glob, trial.reference, trial.candidate)
            for glob in scene.comparison.globs(scene.index, kind=kind)
        ]
        self._undo = []
        self._set(None)
        words = "all of its kind" if kind else "this pair"
        self._pairing.keep_recipes(recipes, pairs, f"kept for {words}", save)

    # Measuring what is tried

    def measure(self) -> None:
        """Measure what is tried, unless something else is read."""
        scene = self.scene
        wanted = scene is not None and scene.trial is not None and scene.result is None
        if scene is None or not wanted or self._reading.busy:
            return
        from ...compare.inspection.subject import NothingToInspectError
        from ...compare.measuring.measure import measure
        from ...compare.model import Failure

        try:
            task = scene.task()
        except NothingToInspectError as error:
            self._set(replace(scene, result=Failure(str(error))))
            return

        def work(work: Any) -> Any:
            return measure(task, work.cancelled)

        self._reading.run(_NAME, (scene.index, scene.trial), work)

    def take(self, name: str, key: Hashable, news: InspectionNews) -> bool:
        """Take in a measurement; False for news that is about something else."""
        if name != _NAME:
            return False
        scene = self.scene
        if scene is None or (scene.index, scene.trial) != key:
            return True
        if isinstance(news, Found):
            self._set(replace(scene, result=news.result))
            self._show()
        elif isinstance(news, Failed):
            self._host.say(news.reason, warn=True)
        return True
