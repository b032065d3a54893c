"""What jobs tell while they run: each kind of news, and all of them as one type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ...compare.case_pairs import CasePair
    from ...compare.checks.finding import Finding
    from ...compare.comparison import Comparison
    from ...compare.model import Counts
    from ...compare.rerun.results import RerunProgress


@dataclass(frozen=True)
class CasesFound:
    """Both are folders of captures, one for each case; nothing of them is opened yet."""

    cases: tuple[CasePair, ...]


@dataclass(frozen=True)
class Listed:
    """Both captures' names are known; nothing is read or aligned yet. `prepared` is what
    `Preparing` made of them.
    """

    reference: Capture
    candidate: Capture
    prepared: Any


@dataclass(frozen=True)
class Reading:
    """Headers: `done` of `total` records of both sides; all of them: they are aligned now."""

    done: int
    total: int


@dataclass(frozen=True)
class Aligned:
    """The rows exist, and are counted; nothing is measured yet. `prepared` is what `Preparing` made
    of them.
    """

    comparison: Comparison
    counts: Counts
    prepared: Any


@dataclass(frozen=True)
class Counted:
    """Rows and records, counted once more."""

    counts: Counts


@dataclass(frozen=True)
class Measured:
    """These rows have numbers and a verdict now."""

    rows: tuple[int, ...]


@dataclass(frozen=True)
class Ended:
    """The job is over: `complete` is False when it was stopped, `error` what went wrong."""

    complete: bool
    error: BaseException | None = None


@dataclass(frozen=True)
class Checking:
    """The captures themselves are looked at now: what headers show, or all, when it is measured."""


@dataclass(frozen=True)
class Checked:
    """Whether the captures are fit to be compared: lines, the gravest first. `early`: what is told
    before anything is measured.
    """

    findings: tuple[Finding, ...]
    early: bool = False


@dataclass(frozen=True)
class Judged:
    """All verdicts are new ones: another policy."""


@dataclass(frozen=True)
class ModelsTaken:
    """Other checkpoints serve the comparison from now on; or why they do not."""

    problem: str = ""


@dataclass(frozen=True)
class Diagnosed:
    """What the difference on these rows looks like was worked out: `done` of `total`."""

    rows: tuple[int, ...]
    done: int
    total: int


@dataclass(frozen=True)
class Exported:
    """Rows are being written: `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class Reran:
    """How far a rerun is."""

    progress: RerunProgress


@dataclass(frozen=True)
class Recalled:
    """Rows whose results an earlier session left."""

    rows: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """What a screen asked for is there."""

    result: Any


News = (
    CasesFound | Listed | Reading | Aligned | Measured | Checking | Checked | Judged | ModelsTaken
    | Counted | Diagnosed | Ended | Exported | Reran | Recalled | Made
)  # fmt: skip
