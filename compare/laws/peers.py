"""What is usual among the layers of one kind, and which of them stick out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from ..vocabulary import LawState
from . import limits
from .arithmetic import FEWEST, OWN, Arithmetic, arithmetic_of, arithmetic_said, own_limit
from .evaluation import Evaluation
from .numerics.local_error import LocalError
from .registry import law_named


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians among peers on one side, in units of predicted rounding; `spread` is the robust
    standard deviation of the ratios' logarithms, `count` how many peers there are.
    """

    ratio: float
    spread: float
    row: float
    channel: float
    group: float
    gain: float
    count: int


@dataclass(frozen=True, slots=True)
class Excess:
    """How a local error sticks out: `times` beyond the limit, `words` for the reason. `by_factor`:
    by what it has in common with the prediction, which may be far below its size.
    """

    times: float
    words: str
    by_factor: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a local error may be: the median row, and the greatest row, channel and group, in units
    of predicted rounding; `gain` is the most that a common factor may be off 1.
    """

    ratio: float
    row: float
    channel: float
    group: float
    gain: float


@dataclass(frozen=True)
class Judged:
    """An evaluation with what is usual for it. `trusted`: the reference keeps to the law; `excess`
    is set where the candidate does not.
    """

    evaluation: Evaluation
    trusted: bool
    usual_reference: Usual
    usual_candidate: Usual
    arithmetic_reference: Arithmetic
    arithmetic_candidate: Arithmetic
    excess: Excess | None = None

    @property
    def state(self) -> LawState:
        """Whether the candidate keeps to the law; `unknown` where the reference itself does not."""
        if not self.trusted:
            return "unknown"
        return "keeps" if self.excess is None else "breaks"


@dataclass
class Peers:
    """The evaluations of a pair of captures, compared with each other. Of the laws in `exact` the
    candidate's errors are not taken for those of a coarser arithmetic.
    """

    evaluations: Sequence[Evaluation]
    exact: frozenset[str] = frozenset()
    _by_kind: dict[tuple[str, str], list[Evaluation]] = field(init=False, default_factory=dict)
    _by_law: dict[str, list[Evaluation]] = field(init=False, default_factory=dict)
    _arithmetic: dict[tuple[str, str], Arithmetic] = field(init=False, default_factory=dict)
    _usual: dict[tuple[str, str, str, str], Usual] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for evaluation in self.evaluations:
            site = evaluation.site  # two laws may have places of one kind
            self._by_kind.setdefault((site.law, site.kind), []).append(evaluation)
            self._by_law.setdefault(evaluation.site.law, []).append(evaluation)
        for side in ("reference", "candidate"):
            for law, members in self._by_law.items():
                if side == "reference" or law not in self.exact:
                    self._arithmetic[law, side] = _arithmetic(law, members, side)
            for (law, kind), members in self._by_kind.items():
                if len(members) >= FEWEST and _has(law, "arithmetic"):
                    self._arithmetic[f"{law} {kind}", side] = _arithmetic(law, members, side)

    def coarse_by_size(self) -> Iterator[tuple[str, Evaluation]]:
        """Laws whose candidate counts as coarser for the size of its errors alone, where the
        reference does not, each with the layer that is in the middle.
        """
        for law, members in self._by_law.items():
            if _has(law, "arithmetic") or self._arithmetic[law, "reference"].name:
                continue
            if self._arithmetic.get((law, "candidate"), OWN).name:
                ordered = sorted(members, key=lambda m: m.candidate.ratio)
                yield law, ordered[len(ordered) // 2]

    def judged(self) -> list[Judged]:
        return [self.judgement(evaluation) for evaluation in self.evaluations]

    def judgement(self, evaluation: Evaluation) -> Judged:
        left, right = (self.arithmetic(evaluation, s) for s in ("reference", "candidate"))
        usual = [self.usual(evaluation, side) for side in ("reference", "candidate")]
        reference = evaluation.reference
        trusted = (
            reference.total <= limits.TRUST * left.factor
            and reference.row.ratio <= 4 * limits.TRUST * left.factor
            and not reference.bad
        )
        judged = Judged(evaluation, trusted, usual[0], usual[1], left, right)
        if not trusted:
            return judged
        excess = excess_of(evaluation.candidate, judged)
        if excess is not None and _in_arithmetic(evaluation, right):
            excess = None
        return replace(judged, excess=excess)

    def arithmetic(self, evaluation: Evaluation, side: str) -> Arithmetic:
        """The arithmetic of the evaluation's kind of layer on a side."""
        law, kind = evaluation.site.law, evaluation.site.kind
        own = self._arithmetic.get((f"{law} {kind}", side))
        return own or self._arithmetic.get((law, side), OWN)

    def usual(self, evaluation: Evaluation, side: str) -> Usual:
        """What is usual for the evaluation's kind on a side."""
        kind, law = evaluation.site.kind, evaluation.site.law
        members = self._by_kind[law, kind]
        if len(members) <= limits.FEW_PEERS:
            members, kind = self._by_law[law], "all"
        many = len(members) > 16
        place = (law, kind, side, "" if many else evaluation.site.target.label)
        if place not in self._usual:
            others = members if many else [m for m in members if m is not evaluation]
            factor = self.arithmetic(evaluation, side).factor
            unit = median(_unit(m, side) for m in members)
            cap = limits.usual_cap(unit, _has(law, "few_roundings")) * factor
            self._usual[place] = usual_of([_error(m, side) for m in others], factor, unit, cap)
        return self._usual[place]


def usual_of(errors: Sequence[LocalError], factor: float, unit: float, cap: float) -> Usual:
    """Medians; never above `cap`, what the arithmetic predicts, so that a fault of all layers is
    seen. `unit` is the unit roundoff of the records.
    """
    if len(errors) < limits.PEERS_TOLD:
        return Usual(cap, 0.0, 4 * cap, 4 * cap, 2 * cap, 0.0, len(errors))
    logs = [math.log(max(e.ratio, limits.USUAL_LEAST)) for e in errors]
    middle = median(logs)
    spread = 1.4826 * median(abs(value - middle) for value in logs)
    ratio = min(math.exp(middle), cap)

    # A factor of all layers is not usual either: no more than rounding of a factor makes.
    gain = median(abs(e.gain - 1.0) for e in errors)
    gain = min(gain, max(limits.GAIN_LEAST, limits.GAIN_USUAL * unit * factor))

    def capped(of: Callable[[LocalError], float], most: float) -> float:
        return min(median(of(e) for e in errors), most * ratio)

    return Usual(
        ratio, spread, capped(lambda e: e.row.ratio, 8), capped(lambda e: e.channel.ratio, 8),
        capped(lambda e: e.group.ratio, 4), gain, len(errors),
    )  # fmt: skip


def excess_of(error: LocalError, judged: Judged) -> Excess | None:
    """The strongest way in which a candidate's local error sticks out."""
    found = max(strains(error, judged), key=lambda e: e.times)
    return found if found.times > 1.0 else None


def strains(error: LocalError, judged: Judged) -> list[Excess]:
    """Every test of a candidate's local error: how many times its limit it is, below 1 where it
    does not stick out.
    """
    allowed = limits_of(error, judged)
    tests = (
        (error.ratio, allowed.ratio, "every row"),
        (error.row.ratio, allowed.row, f"row {error.row.at}"),
        (error.channel.ratio, allowed.channel, f"channel {error.channel.at}"),
        (error.group.ratio, allowed.group, f"head {error.group.at}"),
    )
    found = [Excess(value / limit, words) for value, limit, words in tests]
    gain = abs(error.gain - 1.0) / allowed.gain
    found.append(Excess(gain, f"a common factor of {error.gain:.6g}", by_factor=True))
    found += _terms(error, judged.evaluation.reference, judged)
    if error.bad:
        found.append(Excess(1e6, f"{error.bad} elements are not finite"))
    return found


def limits_of(error: LocalError, judged: Judged) -> Limits:
    """What a candidate's local error may be: by its peers, and by the reference's at the place."""
    usual, control = judged.usual_candidate, judged.evaluation.reference
    factor = limits.LEAST_FACTOR
    if usual.count >= limits.FEW_PEERS:
        factor = min(max(factor, math.exp(limits.SPREADS * usual.spread)), limits.MOST_FACTOR)
    elif usual.count < limits.PEERS_TOLD:
        factor = limits.NO_PEERS
    own = max(limits.USUAL_LEAST, usual.ratio)
    gain = max(
        limits.GAIN_ERRORS * error.gain_error, limits.GAIN_PEERS * usual.gain,
        limits.GAIN_UNITS * judged.evaluation.unit_candidate * judged.arithmetic_candidate.factor,
        3 * abs(control.gain - 1.0), limits.GAIN_LEAST, limits.GAIN_SHARED * error.shared,
    )  # fmt: skip
    row = _peak_limit(usual.row, own, control.row.ratio)
    ratio = max(factor * own, limits.OWN_FACTOR * control.ratio)
    return Limits(
        max(ratio, row) if error.rows < limits.FEW_ROWS else ratio,
        row,
        _peak_limit(usual.channel, own, control.channel.ratio),
        max(factor * max(usual.group, own), 2 * control.group.ratio),
        gain,
    )


def _terms(error: LocalError, control: LocalError, judged: Judged) -> Iterator[Excess]:
    """Terms of a sum with a factor, which rounding does not have."""
    unit = judged.evaluation.unit_candidate * judged.arithmetic_candidate.factor
    for term, own in zip(error.terms, control.terms, strict=False):
        off = abs(term.factor - 1.0)
        allowed = max(
            limits.GAIN_ERRORS * term.error, limits.GAIN_UNITS * unit, 3 * abs(own.factor - 1.0),
            limits.GAIN_LEAST,
        )  # fmt: skip
        name = term.name.partition(" ")[2] or term.name
        words = f"a factor of {round(term.factor, 9):.6g} of {name}"
        yield Excess(off / allowed, words, by_factor=True)


def _peak_limit(usual: float, own: float, control: float) -> float:
    return max(limits.ROW_FACTOR * usual, limits.ROW_LEAST * own, 2 * control)


def _arithmetic(law: str, members: Sequence[Evaluation], side: str) -> Arithmetic:
    ratios = [_error(m, side).ratio for m in members]
    if _has(law, "arithmetic"):
        at = 0 if side == "reference" else 1
        return arithmetic_said([m.asked[at] for m in members if m.asked is not None], ratios)
    return arithmetic_of(ratios, median(_unit(m, side) for m in members))


def _in_arithmetic(evaluation: Evaluation, arithmetic: Arithmetic) -> bool:
    """Whether a layer shows the arithmetic of its peers, and nothing else: its error is larger
    than theirs (one outlier makes the steps of a whole row coarse), but just what it gives.
    """
    error, asked = evaluation.in_arithmetic, evaluation.asked
    if not arithmetic.name or error is None or asked is None or asked[1] != arithmetic.name:
        return False
    most = own_limit(evaluation.unit_candidate)
    gain = limits.GAIN_UNITS * evaluation.unit_candidate + limits.GAIN_LEAST
    return (
        not error.bad and error.ratio <= most
        and max(error.row.ratio, error.channel.ratio) <= limits.ROW_FACTOR * most
        and abs(error.gain - 1.0) <= max(limits.GAIN_ERRORS * error.gain_error, gain)
    )  # fmt: skip


def _has(law: str, what: str) -> bool:
    """Whether a law says itself which arithmetic its layers show (`arithmetic`), or that its values
    have but few roundings (`few_roundings`).
    """
    try:
        return hasattr(law_named(law), what)
    except KeyError:
        return False


def _error(evaluation: Evaluation, side: str) -> LocalError:
    return evaluation.reference if side == "reference" else evaluation.candidate


def _unit(evaluation: Evaluation, side: str) -> float:
    return evaluation.unit_reference if side == "reference" else evaluation.unit_candidate
