"""`:model`: which checkpoints belong to the captures, said on the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..commands import CommandError

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.weights.models import ModelPaths
    from ..jobs.compare_job import Job


def with_model(text: str, known: ModelPaths) -> ModelPaths:
    """`known` with what `reference PATH` or `candidate PATH` says; raises `CommandError`."""
    from ...compare.weights.models import SIDES

    word, _, path = text.partition(" ")
    side = next((side for side in SIDES if word and side.startswith(word)), None)
    if side is None or not path.strip():
        raise CommandError("model reference PATH, or model candidate PATH")
    return replace(known, **{side: path.strip()})


def find_models(comparison: Comparison) -> Callable[[Job], bool]:
    """Work that finds the checkpoints which are known: their headers are read."""

    def work(_: Job) -> bool:
        comparison.models.lines()
        return True

    return work


def use_models(
    comparison: Comparison, paths: ModelPaths, then: Callable[[Job], bool]
) -> Callable[[Job], bool]:  # fmt: skip
    """Work that opens checkpoints, remembers them, and goes on with `then`. Where one cannot be
    opened, the comparison keeps those that it had.
    """

    def work(job: Job) -> bool:
        from ...capture.errors import CaptureError
        from ...compare.weights.models import remember_models
        from ..jobs.compare_job import ModelsTaken

        try:
            comparison.use_models(paths)
            remember_models(comparison.reference.path, comparison.candidate.path, paths)
        except CaptureError as error:
            job.tell(ModelsTaken(str(error)))
        else:
            job.tell(ModelsTaken())
        return then(job)

    return work


def models_text(comparison: Comparison) -> str:
    """Which checkpoints are known, in one line."""
    return "; ".join(comparison.models.lines()) or "no checkpoint is known"
