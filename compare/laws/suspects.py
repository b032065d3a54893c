"""Layers without peers, held against the reference's own error at the same place.

What is usual cannot be learnt from one or two layers, so that their limit is wide. Where both sides
compute in one arithmetic and the candidate's error is several times the reference's, the mistakes
are tried all the same, and it counts where one of them explains nearly all of the error: rounding
never looks like a mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import limits
from .causes import COARSER, Diagnosis, diagnose
from .law import Scene
from .peers import Judged, Usual, excess_of


def diagnosed(
    scene: Scene, judged: Judged, cancelled: Callable[[], bool] | None = None
) -> Diagnosis | None:
    """What is wrong at a place; None where nothing is."""
    if judged.state == "breaks":
        return diagnose(scene, judged, cancelled)
    closer = suspected(judged)
    if closer is None:
        return None
    diagnosis = diagnose(scene, closer, cancelled)
    return diagnosis if is_convincing(diagnosis) else None


def suspected(judged: Judged) -> Judged | None:
    """The place, judged by the reference's own error; None where nothing sticks out then, or the
    two sides cannot be compared so.
    """
    evaluation, control = judged.evaluation, judged.evaluation.reference
    alike = (
        evaluation.unit_reference == evaluation.unit_candidate
        and not judged.arithmetic_reference.name and not judged.arithmetic_candidate.name
    )  # fmt: skip
    if judged.state != "keeps" or judged.usual_candidate.count >= limits.PEERS_TOLD or not alike:
        return None
    usual = Usual(
        max(control.ratio, limits.CONTROL_LEAST), 0.0, control.row.ratio, control.channel.ratio,
        control.group.ratio, 0.0, 0,
    )  # fmt: skip
    closer = replace(judged, usual_candidate=usual)
    excess = excess_of(evaluation.candidate, closer)
    return None if excess is None else replace(closer, excess=excess)


def is_convincing(diagnosis: Diagnosis) -> bool:
    """Whether one mistake explains nearly all of a suspected place's error."""
    if not diagnosis.causes:
        return False
    cause = diagnosis.causes[0]
    return cause.name not in COARSER and cause.after <= limits.CONVINCING * cause.before
