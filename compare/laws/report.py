"""Results of the laws for every row of a comparison: numbers and words, small enough to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..model import Cause, Local
from ..vocabulary import LAW_STATES, LawState
from .causes import COARSER, diagnose, joined
from .evaluate import Evaluate, evaluations, one_by_one
from .evaluation import Evaluation
from .law import Scene
from .model_difference import ModelDifference
from .peers import Judged, Limits, Peers, limits_of
from .suspects import diagnosed


@dataclass(frozen=True, slots=True)
class LawRow:
    """A row against its law. `state`: whether the candidate keeps to the law; `unknown` where
    the reference itself does not. `excess` is how many times beyond its limit the local error is,
    and `where` what sticks out. `layers` are all peers of the kind. `limits` is what the local
    error may be, `grid` the unit that the candidate's output was held to, where that is its peers'.
    `model_difference` says what the candidate's own checkpoint or config has otherwise there.
    """

    row: int
    module: str
    label: str
    kind: str
    state: LawState
    local: Local
    relative: tuple[float, float] = (0.0, 0.0)
    excess: float = 0.0
    where: str = ""
    causes: tuple[Cause, ...] | None = None
    derived: tuple[str, ...] = ()
    sampled: tuple[int, int] = (0, 0)
    parameters: tuple[tuple[str, str], ...] = ()
    layers: int = 1
    limits: Limits | None = None
    grid: float | None = None
    model_difference: str = ""

    @property
    def words(self) -> str:
        """Why the row diverges or is doubtful, in one sentence."""
        local = self.local
        size = (
            f"its output is not what its own inputs imply: the local error is "
            f"{local.candidate:.3g} x its rounding, typically {local.usual_candidate:.3g} x"
        )
        if not self.causes:
            return f"{size} ({self.where})"
        return f"{self.causes[0].text}; {size}"


@dataclass(frozen=True, slots=True)
class LawReport:
    """All rows that a law was tried on, by row, and what is to be said of either side's
    arithmetic.
    """

    rows: dict[int, LawRow] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> list[LawRow]:
        """Rows that do not keep to their law, in execution order."""
        return [self.rows[i] for i in sorted(self.rows) if self.rows[i].state == "breaks"]


def examine(
    scene: Scene,
    told: Callable[[Evaluation | None, int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None, evaluate_all: Evaluate = one_by_one,
) -> LawReport | None:  # fmt: skip
    """Try all laws, then look for the causes of what sticks out; None when cancelled. `told` hears
    of every place that was evaluated, how many are done, and how many there are.
    """
    found = evaluations(scene, told=told, evaluate_all=evaluate_all)
    if cancelled is not None and cancelled():
        return None
    judged = peers_of(scene, found, cancelled).judged()
    diagnoses = []
    for at, place in enumerate(judged):
        diagnosis = diagnosed(scene, place, cancelled)
        if cancelled is not None and cancelled():
            return None  # it has not tried everything
        if diagnosis is not None:
            diagnoses.append(diagnosis)
            judged[at] = diagnosis.judged
    causes = {id(d.judged): d.causes for d in joined(diagnoses)}
    counts = Counter((j.evaluation.site.law, j.evaluation.site.kind) for j in judged)
    own = ModelDifference(scene, cancelled)
    rows: dict[int, LawRow] = {}
    for place in judged:
        site, found_there = place.evaluation.site, causes.get(id(place))
        words = ""
        if found_there is not None:
            words = own.words(site, [cause.name for cause in found_there])
        row = law_row(place, found_there, counts[site.law, site.kind], words)
        rows[row.row] = preferred(rows.get(row.row), row)
    if cancelled is not None and cancelled():
        return None
    return LawReport(rows, arithmetic_notes(judged))


def peers_of(
    scene: Scene, found: Sequence[Evaluation], cancelled: Callable[[], bool] | None = None
) -> Peers:
    """The evaluations as peers. Errors of all layers that are of the size of coarse arithmetic may
    as well be those of one mistake: where one explains the middle layer, there is no such
    arithmetic.
    """
    peers = Peers(found)
    wrong: set[str] = set()
    for law, evaluation in peers.coarse_by_size():
        place = Peers(found, frozenset({law})).judgement(evaluation)
        causes = diagnose(scene, place, cancelled).causes
        if causes and causes[0].name not in COARSER:
            wrong.add(law)
    return Peers(found, frozenset(wrong)) if wrong else peers


def law_row(
    judged: Judged, causes: tuple[Cause, ...] | None, layers: int, model_difference: str = ""
) -> LawRow:
    """The row of one place."""
    evaluation, excess = judged.evaluation, judged.excess
    site = evaluation.site
    local = Local(
        site.law, evaluation.reference.total, evaluation.candidate.total,
        judged.usual_reference.ratio, judged.usual_candidate.ratio,
    )  # fmt: skip
    if causes is not None:
        causes = tuple(replace(c, text=c.text + layer_words(c.layers, layers)) for c in causes)
    return LawRow(
        evaluation.row, site.module, site.target.label, site.kind, judged.state, local,
        (evaluation.reference.relative, evaluation.candidate.relative),
        excess.times if excess else 0.0, excess.words if excess else "", causes,
        evaluation.derived, (evaluation.sampled, evaluation.rows),
        tuple(evaluation.fit.words.items()), layers, limits_of(evaluation.candidate, judged),
        evaluation.grid, model_difference,
    )  # fmt: skip


def layer_words(showing: int, layers: int) -> str:
    """`, in all 30 layers`, or in how many of them; nothing for one."""
    if showing < 2:
        return ""
    return (
        f", in all {layers} layers" if showing == layers else f", in {showing} of {layers} layers"
    )


def preferred(first: LawRow | None, second: LawRow) -> LawRow:
    """Of two laws of one row: one that is kept to says that the row's own module is fine; one that
    the reference does not keep to says nothing; of two that are broken one with a cause says more.
    """
    if first is None:
        return second
    return min(first, second, key=lambda row: (LAW_STATES.index(row.state), not row.causes))


def arithmetic_notes(judged: Iterable[Judged]) -> tuple[str, ...]:
    """Which kinds of layers a side computes less precisely than it records them."""
    found: dict[tuple[str, str, str], int] = {}
    for place in judged:
        for side, arithmetic in (
            ("reference", place.arithmetic_reference), ("candidate", place.arithmetic_candidate),
        ):  # fmt: skip
            if arithmetic.name:
                key = side, place.evaluation.site.law, arithmetic.name
                found[key] = found.get(key, 0) + 1
    return tuple(
        f"{side}: {count} {law} layers were computed in {name}, with less precision than their "
        "records: judged by that precision"
        for (side, law, name), count in found.items()
    )
