"""The noise floor from further captures, pair by pair.

A *baseline* is another run of the reference: on other hardware, in the candidate's dtype.
What it differs by from the reference is what may be expected of the candidate; the ratio of the two
errors says how much more there is. An *exact* capture is a run in higher precision: both sides are
compared with it, which shows which of them is off.

Ratios are of relative L2. Their intervals are bootstrapped over tokens (rows of the pair's view,
all but the last axis; Efron, 1979), because elements of one token share their errors; where both
pairs have the same tokens, the same ones are drawn for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ....capture.dtypes import DTYPES
from ...limits import TOO_FAR
from ...measuring.pair_dtypes import coarser_dtype
from ...model import Measurement, Row, Verdict

if TYPE_CHECKING:
    from ....capture.values import Array
    from ...aligned import Aligned, Results

MARGIN = 1.5  # the least ratio, at the interval's near end, that is more than a baseline
_DRAWS = 500
_INTERVAL = (2.5, 97.5)  # percent
_MOST = 1 << 15  # elements of a pair that are read for it
_Key = tuple[int, str]
_NOT_USED = (
    ("equal", "are bitwise equal and show no noise"),
    ("apart", "differ by more than rounding can explain and were ignored"),
    ("missing", "are missing"),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """err(first) / err(second) with a 95 % interval; both errors are relative L2."""

    error: float
    floor: float
    ratio: float
    low: float
    high: float
    tokens: int

    @property
    def words(self) -> str:
        return f"{self.ratio:.3g}x ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, slots=True)
class Floor:
    """What the further captures show of a pair. `baseline`: the candidate's error over that of the
    baseline with the greatest error. `exact`: the candidate's error against the exact capture over
    the reference's; `off` is the side that is further from it, None when they are alike.
    """

    baseline: Ratio | None = None
    baseline_path: str = ""
    exact: Ratio | None = None

    @property
    def off(self) -> str | None:
        if self.exact is None:
            return None
        if self.exact.low > MARGIN:
            return "candidate"
        return "reference" if self.exact.high < 1 / MARGIN else None

    @property
    def lines(self) -> list[tuple[str, str]]:
        """A label (`baseline`, `exact`) and a line of words for each that there is."""
        lines: list[tuple[str, str]] = []
        if self.baseline is not None:
            one = self.baseline
            errors = f"{one.error:.2g} against {one.floor:.2g}, over {one.tokens} tokens"
            lines.append(("baseline", f"{one.words} the error of {self.baseline_path}: {errors}"))
        if self.exact is not None:
            one = self.exact
            off = "neither side is off" if self.off is None else f"the {self.off} is off"
            errors = f"candidate {one.error:.2g} from it, reference {one.floor:.2g}"
            lines.append(("exact", f"{off}: {errors}, {one.words}"))
        return lines

    def applied_to(self, verdict: Verdict) -> Verdict:
        """A verdict of the policy `noise`, given what further captures show of the pair.

        More than the baseline, with margin, is diverged; no more than it is noise, independent of
        the neighbours. NaN, shapes and the like stay as they are.
        """
        if verdict.level not in ("ok", "noise", "drift", "diverged"):
            return verdict
        ratio, what = self.baseline, "the baseline's error"
        if ratio is None:
            ratio, what = self.exact, "the reference's error against the exact capture"
        assert ratio is not None
        words = f"{ratio.words} {what} ({ratio.error:.2g} against {ratio.floor:.2g})"
        if self.exact is not None and self.off is not None:
            words += f"; by the exact capture the {self.off} is off"
        more = ratio.low > MARGIN
        unsure = verdict.level == "diverged" and (ratio.high > MARGIN or self.off == "reference")
        if more or unsure:
            reason = f"{words}; {verdict.reason}" if verdict.reason else words
            return replace(verdict, level="diverged", reason=reason)
        return Verdict(
            "noise" if verdict.level in ("diverged", "drift") else verdict.level, words, "none"
        )


@dataclass(slots=True)
class Baselines:
    """The further captures, aligned: the reference against each baseline, the exact capture
    against the reference and against the candidate.
    """

    against: list[Aligned] = field(default_factory=list)
    exact: tuple[Aligned, Aligned] | None = None
    usage: dict[str, Counter[str]] = field(default_factory=dict)  # by path: how its pairs were used

    @property
    def notes(self) -> list[str]:
        """For each further capture: how many pairs it is usable for, and why not for others."""
        lines: list[str] = []
        for path, count in self.usage.items():
            why = "; ".join(f"{count[how]} {words}" for how, words in _NOT_USED if count[how])
            of = f"{path}: usable for {count['used']} of {sum(count.values())} differing pairs"
            lines.append(f"{of} ({why})" if why else of)
        return lines

    def floors(
        self, aligned: Aligned, results: Results, cancelled: Callable[[], bool] | None = None
    ) -> dict[int, Floor]:
        """By row, for every pair that differs and that a further capture has."""
        self.usage.clear()
        indexed = [_by_label(other) for other in self.against]
        exact = None if self.exact is None else tuple(_by_label(side) for side in self.exact)
        found: dict[int, Floor] = {}
        for row in aligned.rows:
            result = results.measurements[row.index]
            if cancelled is not None and cancelled():
                break
            if not isinstance(result, Measurement) or result.identical or not result.structure:
                continue
            floor = self._floor(aligned, row, indexed, exact)
            if floor.baseline is not None or floor.exact is not None:
                found[row.index] = floor
        return found

    def _floor(
        self, aligned: Aligned, row: Row, indexed: list[dict[_Key, int]],
        exact: tuple[dict[_Key, int], ...] | None,
    ) -> Floor:  # fmt: skip
        key, least = (row.step, row.label), _least(row)
        own = token_errors(aligned, row.index)
        best: tuple[Ratio, str] | None = None
        for other, places in zip(self.against, indexed, strict=True):
            theirs = token_errors(other, places[key]) if key in places else None
            if not self._is_usable(other.candidate.path, theirs):
                continue
            ratio = ratio_of(own, theirs, least)
            if ratio is not None and (best is None or ratio.floor > best[0].floor):
                best = ratio, other.candidate.path
        against_exact = None
        if self.exact is not None and exact is not None:
            reference, candidate = (
                token_errors(side, places[key]) if key in places else None
                for side, places in zip(self.exact, exact, strict=True)
            )
            if self._is_usable(self.exact[0].reference.path, reference):
                against_exact = ratio_of(candidate, reference, least)
        if best is None:
            return Floor(exact=against_exact)
        return Floor(best[0], best[1], against_exact)

    def _is_usable(self, path: str, errors: TokenErrors | None) -> bool:
        """Whether a further capture is a measure: one that is equal bit for bit has no noise, one
        that differs by more than any rounding is another run, or a wrong one.
        """
        how = "used"
        if errors is None:
            how = "missing"
        elif float(errors[0].sum()) == 0:
            how = "equal"
        elif is_too_far(errors[0].sum(), errors[1].sum()):
            how = "apart"
        self.usage.setdefault(path, Counter())[how] += 1
        return how == "used"


def is_too_far(error: float, size: float) -> bool:
    """Whether a run differs, in squares, by more than rounding can explain."""
    return error > TOO_FAR**2 * size


def _by_label(aligned: Aligned) -> dict[_Key, int]:
    return {
        (row.step, row.label): row.index for row in aligned.rows if aligned.measurable(row.index)
    }


def _least(row: Row) -> float:
    """The error below which nothing is resolved: a quarter unit of the last place."""
    dtype = DTYPES.get(coarser_dtype(row) or "")
    return 0.0 if dtype is None else dtype.epsilon / 8


TokenErrors = tuple["Array", "Array"]  # |d|^2 and |x|^2 of each token


def token_errors(aligned: Aligned, index: int) -> TokenErrors | None:
    """Squares by token of the pair on row `index`; by channel where it has one token. None where
    it cannot be read or is not finite.
    """
    import numpy as np

    from ...measuring.bounded_sample import UNREADABLE, read_sample

    try:
        sample = read_sample(aligned.task(index), most=_MOST)
    except UNREADABLE:
        return None
    axis = 1 if len(sample.x) > 1 else 0
    with np.errstate(all="ignore"):  # a file may hold any bits
        d = sample.y - sample.x
        squares = (d * d).sum(axis), (sample.x * sample.x).sum(axis)
    return squares if all(np.isfinite(part).all() for part in squares) else None


def ratio_of(
    first: TokenErrors | None, second: TokenErrors | None, least: float = 0.0
) -> Ratio | None:
    """The ratio of two relative errors and its bootstrapped interval; None where one is not known.

    Errors below `least` count as `least`.
    """
    import numpy as np

    if first is None or second is None or first[1].sum() == 0 or second[1].sum() == 0:
        return None
    draw = np.random.default_rng(0)
    count, other = len(first[0]), len(second[0])
    places = draw.integers(0, count, (_DRAWS, count))
    others = places if count == other else draw.integers(0, other, (_DRAWS, other))
    above, below = _errors(first, places, least), _errors(second, others, least)
    low, high = np.percentile(above[1:] / below[1:], _INTERVAL)
    error, floor = float(above[0]), float(below[0])
    return Ratio(error, floor, error / floor, float(low), float(high), count)


def _errors(squares: TokenErrors, places: Array, least: float) -> Array:
    """Relative L2 of all tokens, then of every draw."""
    import numpy as np

    d, x = squares
    dd = np.concatenate([[d.sum()], d[places].sum(1)])
    xx = np.concatenate([[x.sum()], x[places].sum(1)])
    return np.maximum(np.sqrt(dd / np.maximum(xx, 1e-300)), max(least, 1e-300))


def open_baselines(aligned: Aligned, baselines: Sequence[str], exact: str | None) -> Baselines:
    """Open and align further captures. Raises `CaptureError` when one cannot be opened."""
    from ....capture.open import open_capture
    from ...matching.align import align

    reference, candidate, rules = aligned.reference, aligned.candidate, aligned.rules
    found = Baselines([align(reference, open_capture(path), rules) for path in baselines])
    if exact is not None:
        capture = open_capture(exact)
        found.exact = align(capture, reference, rules), align(capture, candidate, rules)
    return found
