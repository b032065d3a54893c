"""Holding every layer of a comparison against its law: progress, results as they come, and what
earlier runs found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...capture.interpreter.garbage import free_slowly
from ..model import Local

if TYPE_CHECKING:
    from ..aligned import Aligned, Results
    from ..laws.evaluate import Evaluate
    from ..laws.evaluation import Evaluation
    from ..laws.law import Scene
    from ..laws.report import LawReport
    from ..weights.models import Models
    from .law_cache import LawCache

_TICK = 0.1  # seconds between two reports of results


def scene_of(
    aligned: Aligned, results: Results, models: Models,
    cancelled: Callable[[], bool] | None = None,
) -> Scene:  # fmt: skip
    """What laws may look at: the records of both captures, and their checkpoints."""
    from ..laws.scene import make_scene

    return make_scene(
        aligned.rows, aligned.reference, aligned.candidate, models.reference, models.candidate,
        aligned.rules, results.measurements, cancelled,
    )  # fmt: skip


@dataclass(slots=True)
class LawProgress:
    """How far the laws are, `done` of `total` places, and the local errors by row so far."""

    done: int = 0
    total: int = 0
    locals: dict[int, Local] = field(default_factory=dict)


@dataclass(slots=True)
class LawCheck:
    """One run of all laws over rows that have been measured."""

    aligned: Aligned
    results: Results
    models: Models
    progress: LawProgress = field(default_factory=LawProgress)
    on_results: Callable[[list[int]], None] | None = None
    cancelled: Callable[[], bool] | None = None
    use_cache: bool = True
    evaluate_all: Evaluate | None = None  # None: on all cores
    _fresh: list[int] = field(default_factory=list)
    _said: float = 0.0

    def run(self) -> LawReport | None:
        """What the laws say; None when cancelled."""
        from ..laws.report import examine
        from .measuring import evaluated_on

        cache = self._cache() if self.use_cache else None
        known = None if cache is None else cache.get()
        if known is not None:
            return known
        scene = scene_of(self.aligned, self.results, self.models, self.cancelled)
        evaluate_all = self.evaluate_all or evaluated_on()
        report = examine(scene, self._heard, self.cancelled, evaluate_all)
        leavings = [*scene.reference.known.values(), *scene.candidate.known.values()]
        del scene
        free_slowly(leavings)
        self._tell()
        if report is not None and cache is not None:
            cache.put(report)
        return report

    def recalled(self) -> LawReport | None:
        """What an earlier run found; None where nothing is remembered."""
        cache = self._cache()
        return None if cache is None else cache.get()

    def _cache(self) -> LawCache | None:
        from .law_cache import LawCache

        return LawCache.of(self.aligned, self.models)

    def _heard(self, evaluation: Evaluation | None, done: int, total: int) -> None:
        self.progress.done, self.progress.total = done, total
        if evaluation is not None:
            left, right = evaluation.reference, evaluation.candidate
            self.progress.locals[evaluation.row] = Local(
                evaluation.site.law, left.total, right.total, left.total, left.total
            )
            self._fresh.append(evaluation.row)
        if time.monotonic() - self._said >= _TICK:
            self._tell()

    def _tell(self) -> None:
        self._said = time.monotonic()
        if self._fresh and self.on_results is not None:
            self.on_results(self._fresh)
        self._fresh = []
