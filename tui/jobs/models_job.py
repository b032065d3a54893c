"""Reading checkpoints: which are known, and taking others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .news import ModelsTaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compare.comparison import Comparison
    from ...compare.weights.models import ModelPaths
    from .job import Job


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

        try:
            comparison.use_models(paths)
            remember_models(comparison.reference.path, comparison.candidate.path, paths)
        except CaptureError as error:
            job.tell(ModelsTaken(str(error)))
        else:
            job.tell(ModelsTaken())
        return then(job)

    return work
