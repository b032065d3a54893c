"""What a rerun of a row would do, and what of what it needs is missing; nothing is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...capture.engines.registry import ENGINES
from ...capture.runners.layers import RerunError
from ..reports.words import record_shape
from .layers import why_no_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...capture.runners.spec import RunnerSpec
    from ..model import Row
    from .layers import Layer
    from .session import RerunSession

_MOST_INPUTS = 4  # that are named


@dataclass(frozen=True)
class Needed:
    """One line: in `text` what is there, or in `missing` what is not, and how to get it."""

    label: str
    text: str
    missing: str = ""


@dataclass(frozen=True)
class Outlook:
    """`does` is a sentence, or, where nothing can be rerun, `refused` says why."""

    does: str
    needed: tuple[Needed, ...] = ()
    refused: str = ""

    @property
    def ready(self) -> bool:
        """Whether everything is there, as far as is known before the runner has started."""
        return not self.refused and not any(each.missing for each in self.needed)


def outlook(session: RerunSession, index: int) -> Outlook:
    """What `session.rerun` of a row would do. Goes through all rows the first time, and reads what
    was remembered of the capture: for a worker thread.
    """
    comparison = session.comparison
    layer = session.layers.of_row(index)
    if layer is None:
        return Outlook("", refused=why_no_layer(comparison.rows[index]))
    outputs = "output" if len(layer.outputs) == 1 else f"{len(layer.outputs)} outputs"
    does = (
        f"runs {layer.name or 'the whole model'} of the candidate alone, on the reference's "
        f"inputs, and compares its {outputs} with the reference's: an error that remains was "
        "introduced there"
    )
    spec = session.spec
    question = session.needs()
    chosen = spec or (None if question is None else question.proposal)
    needed = [_inputs(session, layer)]
    if chosen is not None:
        needed += [_model(chosen, None if question is None else question.text), _engine(chosen)]
    return Outlook(does, tuple(needed))


def _inputs(session: RerunSession, layer: Layer) -> Needed:
    rows = [session.comparison.rows[index] for index in layer.inputs]
    paired = [row for row in rows if row.reference is not None and row.candidate is not None]
    ours = [row for row in rows if row.reference is not None and row.candidate is None]
    theirs = [row for row in rows if row.reference is None and row.candidate is not None]
    if not paired and not ours:
        return Needed("inputs", "", "the reference's capture has none of this layer: capture it "
                      "again with inputs")  # fmt: skip
    shown = _named(paired or ours)
    if theirs and not session.own_inputs:
        shown += f"; the candidate's own {_named(theirs)}, as far as it says where, not what"
    return Needed("inputs", f"of the reference: {shown}")


def _named(rows: Sequence[Row]) -> str:
    """`input_0 [1,10,64], input_1 [1,10]`."""
    names: list[str] = []
    for row in rows[:_MOST_INPUTS]:
        record = row.reference or row.candidate
        names.append(row.slot if record is None else f"{row.slot} {record_shape(record)}")
    more = len(rows) - _MOST_INPUTS
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _model(spec: RunnerSpec, question: str | None) -> Needed:
    """The checkpoint or graph, the code, or the command that has the layers."""
    words = "checkpoint" if spec.kind in ENGINES else "command"
    engine = ENGINES.get(spec.kind)
    if engine is not None and engine.files:
        words = "graph"
    if spec.factory:
        words = "code"
    if question is None:
        return Needed(words, spec.command or spec.factory or spec.model or "")
    how = {
        "checkpoint": "R asks for its directory; `:model candidate DIR` names it, too",
        "graph": "R asks for the file or directory; `:model candidate PATH` names it, too",
        "command": "R asks for a directory, MODULE:FUNCTION or ! COMMAND",
        "code": "R asks",
    }[words]
    known = f" ({spec.factory})" if spec.factory else ""
    return Needed(words, "", f"{question}{known}: {how}")


def _engine(spec: RunnerSpec) -> Needed:
    engine = ENGINES.get(spec.kind)
    if engine is None:
        return Needed("engine", "another one's, spoken to over the protocol of runners")
    try:
        spec.check_installed()
    except RerunError as error:
        return Needed("engine", "", str(error))
    about = [spec.dtype or "", f"device {spec.device}"]
    slow = "; compiles each layer for seconds to minutes the first time" if spec.compiles else ""
    return Needed("engine", f"{engine.title}, {', '.join(filter(None, about))}{slow}")
