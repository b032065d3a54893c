"""Which checkpoints belong to two captures: as the user says, said before, or as captured.

One name a side serves everything that needs a model: its weights are what layers are checked
against, and a directory is what a rerun loads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .remembered_models import MODELS, remembered_model

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...capture.weights import Weights


ModelSide = Literal["reference", "candidate"]
SIDES: tuple[ModelSide, ModelSide] = ("reference", "candidate")


@dataclass(frozen=True, slots=True)
class ModelPaths:
    """Checkpoints by side, as somebody named them; None where nothing was said."""

    reference: str | None = None
    candidate: str | None = None

    def of(self, side: ModelSide) -> str | None:
        """The one of a side."""
        return self.reference if side == "reference" else self.candidate

    def by_side(self) -> tuple[tuple[ModelSide, str | None], ...]:
        """Each side with its own."""
        return tuple((side, self.of(side)) for side in SIDES)

    def over(self, other: ModelPaths) -> ModelPaths:
        """These, and those of `other` where nothing is said here."""
        return ModelPaths(self.reference or other.reference, self.candidate or other.candidate)

    def absolute(self) -> ModelPaths:
        """With whole paths for what lies here; ids of models stay."""
        return ModelPaths(*(path and _absolute(path) for path in (self.reference, self.candidate)))


@dataclass(frozen=True, slots=True)
class Models:
    """The weights that were found. `reference` serves both sides where `candidate` is None, which
    it is unless the candidate's own checkpoint is known. `notes` are sentences for the user.
    """

    reference: Weights | None = None
    candidate: Weights | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What is known, a line a side."""
        found: list[str] = []
        if self.reference is not None:
            both = " (used for both sides)" if self.candidate is None else ""
            found.append(f"weights of the reference: {self.reference.path}{both}")
        if self.candidate is not None:
            found.append(f"weights of the candidate: {self.candidate.path}")
        return [*found, *self.notes]


def find_models(
    reference: Capture, candidate: Capture, given: ModelPaths | None = None, *, strict: bool = True
) -> Models:
    """The checkpoints of two captures, opened but not read.

    For each side the first of: `given` (by options, a command or a rules file), what was given
    for this capture before, what the capture itself says, as far as it still stands, and what was
    kept with the capture (which may be its small parameters only). One checkpoint that is known
    serves both sides.

    Raises `CaptureError` for one that is given and cannot be opened, where that is `strict`; any
    other is passed over with a note.
    """
    search = _Search(given or ModelPaths(), strict)
    ours, theirs = search.of("reference", reference), search.of("candidate", candidate)
    if theirs is not None and (ours is None or _completes(theirs, ours, reference)):
        search.notes.append("the candidate's checkpoint is used for the reference too")
        ours = theirs
    return Models(ours, theirs, tuple(search.notes))


@dataclass(slots=True)
class _Search:
    """Opens each path once."""

    given: ModelPaths
    strict: bool
    notes: list[str] = field(default_factory=list)
    opened: dict[str, Weights] = field(default_factory=dict)

    def of(self, side: ModelSide, capture: Capture) -> Weights | None:
        from ...capture.errors import CaptureError
        from ...capture.weights.recorded import recorded_parameters

        said = self.given.of(side)
        for path in (said,) if said is not None else _known(side, capture):
            try:
                found = self._open(path)
                if said is None:
                    _refuse_changed(found, capture)
                return found
            except CaptureError as error:
                if said is not None and self.strict:
                    raise
                self._note(f"no weights of the {side}: {error}")
        try:
            return recorded_parameters(capture)
        except CaptureError as error:
            self._note(f"no weights of the {side}: {error}")
            return None

    def _note(self, note: str) -> None:
        self.notes += [] if note in self.notes else [note]

    def _open(self, path: str) -> Weights:
        from ...capture.weights import open_weights

        known = _absolute(path)
        if known not in self.opened:
            self.opened[known] = open_weights(known)
        return self.opened[known]


def _completes(theirs: Weights, ours: Weights, capture: Capture) -> bool:
    """Whether the candidate's checkpoint has, as far as can be told, all of what the reference kept
    only a part of.
    """
    from ...capture.weights.recorded import changed_since, recorded_digests

    if theirs.partial or not ours.partial:
        return False
    return changed_since(theirs, recorded_digests(capture)) is None


def _refuse_changed(weights: Weights, capture: Capture) -> None:
    """Raises `CaptureError` where a checkpoint has other values than the run that was captured."""
    from ...capture.errors import CaptureError
    from ...capture.weights.recorded import changed_since, recorded_digests

    name = changed_since(weights, recorded_digests(capture))
    if name is not None:
        raise CaptureError(f"{weights.path}: no longer what was captured: {name} is different")


def _known(side: ModelSide, capture: Capture) -> Iterator[str]:
    """Checkpoints that may be the capture's: remembered, of its runner, as it says itself."""
    from ...capture.storage import is_url
    from ..rerun.remembered import recall

    runner = recall(capture) if side == "candidate" else None
    own = (capture.run or {}).get("model")
    own = own if isinstance(own, str) else capture.model
    # No word of a capture leads to a server; a lone one is the name of a class.
    named = own is not None and not is_url(own) and (os.sep in own or os.path.exists(own))
    paths = (
        remembered_model(capture),
        runner.model if runner is not None and runner.kind != "external" else None,
        own if named else None,
    )
    yield from dict.fromkeys(path for path in paths if path)


def check_models(given: ModelPaths) -> None:
    """Raises `CaptureError` for a checkpoint that has no files of weights; none is opened."""
    for path in (given.reference, given.candidate):
        if path is not None:
            from ...capture.weights.files import find_model, layout_of

            layout_of(find_model(_absolute(path)))


def remember_models(reference: str, candidate: str, given: ModelPaths) -> None:
    """Keep what was given for the captures at these paths; a rerun uses the candidate's too."""
    for side, path in zip(SIDES, (reference, candidate), strict=True):
        said = given.absolute().of(side)
        if said is None:
            continue
        if MODELS.of(path) != said:
            MODELS.put(path, said)
        if side == "candidate":
            from ..rerun.remembered import use_model

            use_model(path, said)


def _absolute(path: str) -> str:
    """The whole path of what lies here; anything else may be the id of a model."""
    place = os.path.expanduser(path)
    return os.path.realpath(place) if os.path.exists(place) else path
