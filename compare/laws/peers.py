"""What is usual among the layers of one kind, and which of them stick out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from . import limits
from .arithmetic import OWN, Arithmetic, arithmetic_of
from .evaluate import Evaluation
from .local_error import LocalError


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
    reason: str = ""


@dataclass
class Peers:
    """The evaluations of a pair of captures, compared with each other."""

    evaluations: Sequence[Evaluation]
    _by_kind: dict[str, list[Evaluation]] = field(init=False, default_factory=dict)
    _by_law: dict[str, list[Evaluation]] = field(init=False, default_factory=dict)
    _arithmetic: dict[tuple[str, str], Arithmetic] = field(init=False, default_factory=dict)
    _usual: dict[tuple[str, str, str], Usual] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for evaluation in self.evaluations:
            self._by_kind.setdefault(evaluation.site.kind, []).append(evaluation)
            self._by_law.setdefault(evaluation.site.law, []).append(evaluation)
        for law, members in self._by_law.items():
            for side in ("reference", "candidate"):
                ratios = [_error(m, side).ratio for m in members]
                unit = median(_unit(m, side) for m in members)
                self._arithmetic[law, side] = arithmetic_of(ratios, unit)

    def judged(self) -> list[Judged]:
        return [self._judged(evaluation) for evaluation in self.evaluations]

    def _judged(self, evaluation: Evaluation) -> Judged:
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
            words = "the reference does not keep to this law: nothing is said of it"
            return _replace(judged, reason=words)
        return _replace(judged, excess=excess_of(evaluation.candidate, judged))

    def arithmetic(self, evaluation: Evaluation, side: str) -> Arithmetic:
        """The arithmetic of the evaluation's kind of layer on a side."""
        return self._arithmetic.get((evaluation.site.law, side), OWN)

    def usual(self, evaluation: Evaluation, side: str) -> Usual:
        """What is usual for the evaluation's kind on a side."""
        kind, law = evaluation.site.kind, evaluation.site.law
        members = self._by_kind[kind]
        if len(members) <= limits.FEW_PEERS:
            members, kind = self._by_law[law], f"all {law}"
        many = len(members) > 16
        place = (kind, side, "" if many else evaluation.site.target.label)
        if place not in self._usual:
            others = members if many else [m for m in members if m is not evaluation]
            factor = self.arithmetic(evaluation, side).factor
            self._usual[place] = usual_of([_error(m, side) for m in others], factor)
        return self._usual[place]


def usual_of(errors: Sequence[LocalError], factor: float) -> Usual:
    """Medians; never above what the arithmetic predicts, so that a fault of all layers is seen."""
    cap = limits.USUAL_CAP * factor
    if len(errors) < 2:
        return Usual(cap, 0.0, 4 * cap, 4 * cap, 2 * cap, 0.0, len(errors))
    logs = [math.log(max(e.ratio, limits.USUAL_LEAST)) for e in errors]
    middle = median(logs)
    spread = 1.4826 * median(abs(value - middle) for value in logs)
    ratio = min(math.exp(middle), cap)

    def capped(of: Callable[[LocalError], float], most: float) -> float:
        return min(median(of(e) for e in errors), most * ratio)

    return Usual(
        ratio, spread, capped(lambda e: e.row.ratio, 8), capped(lambda e: e.channel.ratio, 8),
        capped(lambda e: e.group.ratio, 4), median(abs(e.gain - 1.0) for e in errors), len(errors),
    )  # fmt: skip


def excess_of(error: LocalError, judged: Judged) -> Excess | None:
    """The strongest way in which a candidate's local error sticks out."""
    usual, control = judged.usual_candidate, judged.evaluation.reference
    factor = limits.LEAST_FACTOR
    if usual.count >= limits.FEW_PEERS:
        factor = min(max(factor, math.exp(limits.SPREADS * usual.spread)), limits.MOST_FACTOR)
    elif usual.count < 2:
        factor = limits.NO_PEERS
    own = max(limits.USUAL_LEAST, usual.ratio)
    tests = (
        (error.ratio, max(factor * own, limits.OWN_FACTOR * control.ratio), "every row"),
        (error.row.ratio, _peak_limit(usual.row, own, control.row.ratio), f"row {error.row.at}"),
        (
            error.channel.ratio, _peak_limit(usual.channel, own, control.channel.ratio),
            f"channel {error.channel.at}",
        ),
        (
            error.group.ratio, max(factor * max(usual.group, own), 2 * control.group.ratio),
            f"head {error.group.at}",
        ),
    )  # fmt: skip
    found = [Excess(value / limit, where) for value, limit, where in tests if value > limit]
    gain = abs(error.gain - 1.0)
    allowed = max(
        limits.GAIN_ERRORS * error.gain_error, limits.GAIN_PEERS * usual.gain,
        limits.GAIN_UNITS * judged.evaluation.unit_candidate * judged.arithmetic_candidate.factor,
        3 * abs(control.gain - 1.0),
    )  # fmt: skip
    if gain > allowed:
        words = f"a common factor of {error.gain:.6g}"
        found.append(Excess(gain / allowed, words, by_factor=True))
    found += _terms_out(error, control, judged)
    if error.bad:
        found.append(Excess(1e6, f"{error.bad} elements are not finite"))
    return max(found, key=lambda e: e.times, default=None)


def _terms_out(error: LocalError, control: LocalError, judged: Judged) -> Iterator[Excess]:
    """Terms of a sum with a factor that rounding does not explain."""
    unit = judged.evaluation.unit_candidate * judged.arithmetic_candidate.factor
    for term, own in zip(error.terms, control.terms, strict=False):
        off = abs(term.factor - 1.0)
        allowed = max(
            limits.GAIN_ERRORS * term.error, limits.GAIN_UNITS * unit, 3 * abs(own.factor - 1.0)
        )
        if off > allowed:
            words = f"a factor of {round(term.factor, 9):.6g} of {term.name.partition(' ')[2]}"
            yield Excess(off / allowed, words, by_factor=True)


def _peak_limit(usual: float, own: float, control: float) -> float:
    return max(limits.ROW_FACTOR * usual, limits.ROW_LEAST * own, 2 * control)


def _error(evaluation: Evaluation, side: str) -> LocalError:
    return evaluation.reference if side == "reference" else evaluation.candidate


def _unit(evaluation: Evaluation, side: str) -> float:
    return evaluation.unit_reference if side == "reference" else evaluation.unit_candidate


def _replace(judged: Judged, excess: Excess | None = None, reason: str = "") -> Judged:
    return Judged(
        judged.evaluation, judged.trusted, judged.usual_reference, judged.usual_candidate,
        judged.arithmetic_reference, judged.arithmetic_candidate, excess, reason,
    )  # fmt: skip
