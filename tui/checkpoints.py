"""`:model`: which checkpoints belong to the captures, said on the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .commands import CommandError

if TYPE_CHECKING:
    from ..compare.comparison import Comparison
    from ..compare.models import ModelPaths
    from .jobs import Job


def with_model(text: str, known: ModelPaths) -> ModelPaths:
    """`known` with what `reference PATH` or `candidate PATH` says; raises `CommandError`."""
    from ..compare.models import SIDES

    word, _, path = text.partition(" ")
    side = next((side for side in SIDES if word and side.startswith(word)), None)
    if side is None or not path.strip():
        raise CommandError("model reference PATH, or model candidate PATH")
    return replace(known, **{side: path.strip()})


def models_job(comparison: Comparison, paths: ModelPaths) -> Callable[[Job], bool]:
    """Work that opens checkpoints and remembers them; fails with `CaptureError` on a bad path,
    and then the comparison keeps those that it had.
    """

    def work(job: Job) -> bool:
        from ..compare.models import remember_models

        comparison.use_models(paths)
        remember_models(comparison.reference.path, comparison.candidate.path, paths)
        return True

    return work
