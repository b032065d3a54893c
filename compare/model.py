"""What a comparison is made of: rows, measurements, verdicts, counts. No arithmetic here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..capture.names import slot_role
from ..capture.records import Record
from .vocabulary import FAILING, MARKS, Level, MatchedBy, Origin, RowKind

if TYPE_CHECKING:
    from .measuring.error_structure import Structure


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison: a pair, or a gap with the record of one side.

    `canonical` is the module's name common to both sides (`layers.0.self_attn.q_proj`, `model`
    for the root), `slot` the canonical slot (`input_0`, `output`). The recipes are the layout
    steps, in text form, that bring each side's record into the pair's common view (empty: as it
    is). `how` says in words what the match is based on. `problem` is set when the two cannot
    be compared: `problem_level` is then `shape` or `unreadable`. `sure` (0 to 1) is there for
    pairs that values made.
    """

    index: int
    kind: RowKind
    reference: Record | None
    candidate: Record | None
    canonical: str
    slot: str
    step: int = 0
    call: int = 1
    recipe_reference: str = ""
    recipe_candidate: str = ""
    matched_by: MatchedBy | None = None
    how: str = ""
    problem: str | None = None
    problem_level: Level | None = None
    sure: float | None = None

    @property
    def label(self) -> str:
        """`layers.0.mlp-output`, with the call when it is not the first."""
        call = f"({self.call})" if self.call > 1 else ""
        return f"{self.canonical}{call}-{self.slot}"

    @property
    def role(self) -> str:
        return slot_role(self.slot)

    @property
    def partial(self) -> tuple[int, int] | None:
        """`(shown, total)` when either dump holds only some elements."""
        for record in (self.reference, self.candidate):
            if record is not None and record.partial is not None:
                return record.partial
        return None


@dataclass(frozen=True, slots=True)
class SideStatistics:
    """Statistics of one side's elements in the pair's view. NaN and Inf are counted, and left out
    of min, max, mean, std (population) and l2; those are None when nothing finite is there.
    """

    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    l2: float | None
    nan: int
    inf: int
    zeros: int


class Totals(NamedTuple):
    """The sums of all elements of both sides, of a pair of which only some are compared. `size` is
    the RMS of a side that has all of them, None where neither has.
    """

    reference: float
    candidate: float
    size: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The numbers of a pair; d = candidate - reference over the elements finite on both sides.

    A number that cannot be computed is None and `reasons` says why. Indices are in the pair's
    view. Definitions: `measuring.metrics`.
    """

    shape: tuple[int, ...]
    count: int
    compared: int  # elements finite on both sides
    identical: bool  # every element equal, NaN and Inf at the same places included
    mse: float | None = None
    rmse: float | None = None
    nmse: float | None = None
    relative_l2: float | None = None
    cosine: float | None = None
    pearson: float | None = None
    sqnr_db: float | None = None
    mean_abs: float | None = None
    max_abs: float | None = None
    max_abs_index: tuple[int, ...] | None = None
    max_abs_values: tuple[float, float] | None = None
    max_rel: float | None = None
    max_rel_index: tuple[int, ...] | None = None
    max_rel_values: tuple[float, float] | None = None
    ulp: float | None = None  # greatest distance in units of the coarser dtype's last place
    mismatched: int = 0
    mismatched_fraction: float | None = None
    scale: float | None = None
    scale_se: float | None = None
    offset: float | None = None
    fit_residual: float | None = None
    nonfinite_mismatch: int = 0
    rtol: float = 0.0
    atol: float = 0.0
    partial: tuple[int, int] | None = None
    totals: Totals | None = None  # of a partial pair
    reference: SideStatistics | None = None
    candidate: SideStatistics | None = None
    structure: Structure | None = None  # of floating-point pairs that differ
    reasons: dict[str, str] = field(default_factory=dict)
    further: dict[str, float | None] = field(default_factory=dict)  # metrics without a field here

    def metric(self, name: str) -> float | None:
        """The number called `name` (of `measuring.metrics`), None when it could not be computed."""
        value = self.further[name] if name in self.further else getattr(self, name)
        return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Failure:
    """A pair that could not be measured: why, in one line, and which side's record it is."""

    reason: str
    side: Literal["reference", "candidate"] | None = None
    level: Level = "unreadable"


@dataclass(frozen=True, slots=True)
class ByStatistics:
    """A pair with a side that was captured without its values, compared by what both sides have.

    `compared` names that. `identical`: both hashes are equal; `same_hash` is None where they are
    not of one kind. `relative_l2` is an estimate, None without one; `where` says in words where
    most of the difference lies, if that is seen. The RMS of both sides is None where it is not
    known. `nonfinite_apart`: NaN or Inf on one side only. `population`: both deviations are surely
    those of the population.
    """

    shape: tuple[int, ...]
    count: int
    reference: SideStatistics
    candidate: SideStatistics
    compared: tuple[str, ...]
    identical: bool
    same_hash: bool | None
    relative_l2: float | None
    where: str
    reference_rms: float | None
    candidate_rms: float | None
    nonfinite_apart: bool
    population: bool


Measured = Measurement | ByStatistics | Failure


def by_values(result: Result) -> Measurement | Failure | None:
    """What values say of a pair; None where it has none, too."""
    return None if isinstance(result, ByStatistics) else result


Result = Measured | None  # of a row; None for gaps and what is not measured yet


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the numbers of a row mean under a policy.

    `origin`: whether the error was made here, None where the policy does not ask, or where records
    before it that have no partner, or statistics without values that differ, leave it open;
    `confidence` (0 to 1) goes with it. `by_statistics`: by those of either side, not by the
    differences of its elements. `doubtful`: why the two records do not seem to belong together.
    """

    level: Level
    reason: str = ""
    origin: Origin | None = None
    confidence: float | None = None
    by_statistics: bool = False
    doubtful: str | None = None

    @property
    def fails(self) -> bool:
        return self.level in FAILING

    @property
    def permuted(self) -> bool:
        """Whether it passes as the same values in another order, whatever the numbers say."""
        return not self.fails and self.reason.startswith(_PERMUTED)


_PERMUTED = "permuted: "  # how the reason begins of what is right in another layout


def verdict_word(verdict: Verdict) -> str:
    """The verdict as reports show it: a doubtful pair is called `doubtful`, whatever its level."""
    return "doubtful" if verdict.doubtful else MARKS[verdict.level][1]


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a difference looks like: one of `SYMPTOMS`, the share of the error that it explains, and
    the evidence in words.
    """

    name: str
    score: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The right values in a different order (`symptoms.layouts`). `error` is the relative L2 that
    is left in that order; `recipe` restores the candidate's order (empty where no step does).
    """

    words: str
    recipe: str
    error: float

    @property
    def reason(self) -> str:
        """The verdict's reason."""
        offered = f"; recipe for the candidate: {self.recipe}" if self.recipe else ""
        return (
            f"{_PERMUTED}the same values in another layout, {self.words} (differs by "
            f"{self.error:.2g} then), and all that is made of them agrees{offered}"
        )


def explained_share(before: float, after: float) -> float:
    """The share of an error's square that is gone, of two errors (RMS or norms)."""
    return 1.0 - min(1.0, (after / before) ** 2) if before > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Cause:
    """One change of a layer's law that explains the candidate's local error.

    `name` is one of `CAUSES`, `text` a sentence, `reference` and `candidate` the values of
    `parameter` on both sides. `before` and `after` are the candidate's local error without and with
    the change, `usual` that of its kind, in units of predicted rounding; `layers` is how many
    layers show the same.
    """

    name: str
    text: str
    parameter: str
    reference: str
    candidate: str
    uncertainty: str
    before: float
    after: float
    usual: float
    layers: int = 1

    @property
    def explained(self) -> float:
        """The share of the local error's square that the change explains."""
        return explained_share(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Local:
    """A row checked against the law of its module, each side by itself: local errors in units of
    predicted rounding, and the typical ones of its kind on each side.
    """

    law: str
    reference: float
    candidate: float
    usual_reference: float
    usual_candidate: float


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of the differences on the logits, over `tokens` tokens (`judging.logits_effect`).

    `logits_kl` is the mean KL divergence of the candidate's distribution from the reference's, in
    nats; `top1_agreement` the share of tokens that have the same most likely next token.
    `first_differing_token` is the first that does not: counted from 0 over the `generated` tokens,
    else a position in the sequence; `margin` is the reference's greatest logit minus its second
    there.
    """

    logits_kl: float
    top1_agreement: float
    first_differing_token: int | None = None
    margin: float | None = None
    tokens: int = 0
    generated: bool = False


@dataclass(frozen=True, slots=True)
class FirstDivergence:
    """The first failing pair in execution order, and the module to look into."""

    index: int
    module: str
    reference: str
    candidate: str
    slot: str
    verdict: Level
    reason: str
    confidence: float | None = None
    symptoms: tuple[Symptom, ...] = ()
    causes: tuple[Cause, ...] | None = None  # None where none were looked for
    model_difference: str = ""  # what the candidate's own checkpoint or config has otherwise
    rank: str = ""  # which rank the error comes from, where that can be told


@dataclass(frozen=True, slots=True)
class SideCounts:
    """Records of one side: total = paired + gap + unreadable + ignored."""

    total: int
    paired: int
    gap: int
    unreadable: int
    ignored: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows and records of a comparison.

    `coverage` is paired output records over the output records of the side that has fewer, None
    when neither side has one. `doubtful` are pairs whose records do not seem to belong together;
    coverage does not count these.
    """

    pairs: int
    gaps_reference: int
    gaps_candidate: int
    unreadable: int
    ignored: int
    records_reference: SideCounts
    records_candidate: SideCounts
    coverage: float | None
    doubtful: int = 0


@dataclass(frozen=True, slots=True)
class Reordered:
    """A pair whose two sides are at different positions in their runs' orders (of pairs)."""

    reference: str
    candidate: str
    index_reference: int
    index_candidate: int


@dataclass(frozen=True, slots=True)
class ExecutionOrder:
    """`same` is None when a side's order is not known; `reason` says so in words."""

    same: bool | None
    reason: str
    reordered: tuple[Reordered, ...] = ()
