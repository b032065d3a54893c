"""What a rerun of a layer gave, how far it is, and what it has to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...capture.records import Locator
from ...capture.runners.spec import RunnerSpec
from ..model import Failure, Measurement
from .judge import Judgement


@dataclass(frozen=True, slots=True)
class RerunResult:
    """What the rerun of a row's layer gave.

    `single` is the reference's output against the rerun's, None with a `problem` in words.
    `inputs` is the input that differs most, `input_row` its row. `output` is where the rerun's
    tensor lies, for as long as the session lives; None for results of earlier sessions. `given`
    is what the layer was fed, by slot, where inputs are kept.
    `failed` tells a rerun that went wrong from one that is not possible. `seconds` and
    `compile_seconds` are the runner's, None where it does not say. `judgement` is set where it was
    made by other means than from these errors.
    """

    row: int
    layer: str
    single: Measurement | Failure | None
    inputs: Measurement | Failure | None = None
    input_row: int | None = None
    problem: str | None = None
    failed: bool = False
    seconds: float | None = None
    compile_seconds: float | None = None
    output: Locator | None = None
    remembered: bool = False
    given: tuple[tuple[str, Locator], ...] = ()
    notes: tuple[str, ...] = ()
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class RerunProgress:
    """Layers `done` of `total`, and what is done now; `rows` have just got results."""

    done: int
    total: int
    layer: str = ""
    text: str = ""
    rows: tuple[int, ...] = ()


Tell = Callable[[RerunProgress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Question:
    """What must be asked before anything can be rerun; `proposal` fills the dialog."""

    text: str
    proposal: RunnerSpec
