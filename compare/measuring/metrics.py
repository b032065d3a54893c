"""The table of metrics: everything that the program knows of a number of a pair, one entry each.

With x the reference, y the candidate and d = y - x over the n elements finite on both sides:

    mse = mean(d^2)                    rmse = sqrt(mse)
    nmse = mse / mean(x^2)             relative_l2 = |d| / |x|
    cosine = <x, y> / (|x| |y|)        pearson = the same about the means
    sqnr_db = 10 log10(|x|^2 / |d|^2)  mean_abs = mean |d|
    max_abs = max |d|                  max_rel = max |d| / max(|x|, 1e-8)
    mismatched = elements with |d| > atol + rtol |x| (whole numbers and bools: all that differ),
        and all that are not finite alike
    scale, offset = least squares of y = scale x + offset;  scale_se the standard error of scale;
    fit_residual = |y - scale x - offset| / |x|
    ulp = greatest number of steps between x and y in the coarser dtype (see `ulp`)

A new metric is one entry of `_TABLE`: JSON and CSV, `--metric` and its help, thresholds, the
screen's columns and its bar of errors by depth follow. No numpy here: the screens need the words
before they have anything to show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...capture.values import Array
    from .per_token import TokenRows
    from .sums import Sums

Reason = Callable[["Sums"], str | None]
_OUT_OF_RANGE = "the squares leave the range of float64"


def _no_reason(_: Sums) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric.

    `of` computes it; None, or what is not finite, could not be computed, and `why_absent` says why
    where that is special to the metric. `needs_values`: there is none without an element finite on
    both sides. `choice` is its place among those that `--metric` takes, 0 for one that it does not
    take. `limit`: `layertui thresholds` learns a limit of it. `strip_range` are the powers of ten
    between which the bars of the strip by depth grow: fixed, so that results which arrive never
    change what is already drawn. `of_rows` computes it for every row of `per_token`.
    """

    name: str
    of: Callable[[Sums], float | None]
    heading: str = ""
    why_absent: Reason = _no_reason
    needs_values: bool = True
    greater_is_worse: bool = True
    choice: int = 0
    csv: bool = True
    limit: bool = False
    strip_range: tuple[float, float] = (-15, 0)
    of_rows: Callable[[TokenRows], Array] | None = None

    @property
    def limit_name(self) -> str:
        """What its limit is called in a thresholds file: of a likeness its distance from 1."""
        return self.name if self.greater_is_worse else f"{self.name}_distance"

    def error(self, value: float) -> float:
        """The number as one of which more is worse: of a likeness its distance from 1."""
        return value if self.greater_is_worse else max(0.0, 1.0 - value)

    def reason(self, sums: Sums) -> str:
        """Why it is absent."""
        if sums.count == 0:
            return "no elements"
        if sums.moments.n == 0 and self.needs_values:
            return "no element is finite on both sides"
        return self.why_absent(sums) or _OUT_OF_RANGE


# Sums about zero


def _xx(sums: Sums) -> float:
    m = sums.moments
    return m.xx + m.n * m.mean_x * m.mean_x


def _yy(sums: Sums) -> float:
    m = sums.moments
    return m.yy + m.n * m.mean_y * m.mean_y


def _dd(sums: Sums) -> float:
    m = sums.moments
    dd = m.dd + m.n * m.mean_d * m.mean_d
    # Of squares below the smallest number the sum is not zero, and not known.
    return math.nan if dd == 0 and sums.max_abs.value > 0 else dd


# The metrics


def _mse(sums: Sums) -> float:
    return _dd(sums) / sums.moments.n


def _nmse(sums: Sums) -> float | None:
    xx = _xx(sums)
    return _dd(sums) / xx if xx > 0 else None


def _relative_l2(sums: Sums) -> float | None:
    nmse = _nmse(sums)
    return None if nmse is None else math.sqrt(nmse)


def _cosine(sums: Sums) -> float | None:
    m = sums.moments
    xy, xd = m.xy + m.n * m.mean_x * m.mean_y, m.xd + m.n * m.mean_x * m.mean_d
    return _cosine_of(_xx(sums), _yy(sums), _dd(sums), xy, xd)


def _pearson(sums: Sums) -> float | None:
    m = sums.moments
    return _cosine_of(m.xx, m.yy, m.dd, m.xy, m.xd)


def _cosine_of(xx: float, yy: float, dd: float, xy: float, xd: float) -> float | None:
    """Cosine of x and y = x + d. Near 1 from sin^2, so that what is missing to 1 keeps its
    digits; the determinant |x|^2 |y|^2 - <x, y>^2 is the same with d for y.
    """
    if not (0 < xx < math.inf and 0 < yy < math.inf):
        return None
    along = xy / math.sqrt(xx) / math.sqrt(yy)
    if along * along < 0.5:
        return along
    if dd < yy:
        sine2 = (dd / xx - (xd / xx) ** 2) * (xx / yy)
    else:
        sine2 = 1.0 - along * along
    return math.copysign(math.sqrt(1.0 - min(1.0, max(0.0, sine2))), along)


def _sqnr_db(sums: Sums) -> float | None:
    xx, dd = _xx(sums), _dd(sums)
    return 10 * math.log10(xx / dd) if 0 < xx < math.inf and 0 < dd < math.inf else None


def _varies(sums: Sums) -> bool:
    return 0 < sums.moments.xx < math.inf


def _scale(sums: Sums) -> float | None:
    return sums.moments.xy / sums.moments.xx if _varies(sums) else None


def _rest(sums: Sums) -> float:
    """What the least-squares line leaves of the candidate, squared and summed."""
    m = sums.moments
    rest = m.dd - m.xd * (m.xd / m.xx) if m.dd < m.yy else m.yy - m.xy * (m.xy / m.xx)
    return max(0.0, rest)


def _scale_se(sums: Sums) -> float | None:
    m = sums.moments
    return math.sqrt(_rest(sums) / (m.n - 2) / m.xx) if _varies(sums) and m.n > 2 else None


def _offset(sums: Sums) -> float | None:
    scale = _scale(sums)
    return None if scale is None else sums.moments.mean_y - scale * sums.moments.mean_x


def _fit_residual(sums: Sums) -> float | None:
    return math.sqrt(_rest(sums) / _xx(sums)) if _varies(sums) else None


# Why one is absent


def _first(*reasons: Reason) -> Reason:
    return lambda sums: next((said for why in reasons if (said := why(sums))), None)


def _no_reference(sums: Sums) -> str | None:
    side = sums.reference
    return "the reference is all zeros" if side.low == side.high == 0 else None


def _no_candidate(sums: Sums) -> str | None:
    side = sums.candidate
    return "the candidate is all zeros" if side.low == side.high == 0 else None


def _constant_reference(sums: Sums) -> str | None:
    return "the reference is constant" if sums.moments.xx == 0 else None


def _constant_candidate(sums: Sums) -> str | None:
    return "the candidate is constant" if sums.moments.yy == 0 else None


def _no_difference(sums: Sums) -> str | None:
    return "no difference: infinite" if sums.max_abs.value == 0 else None


def _too_few(sums: Sums) -> str | None:
    return "too few elements" if sums.moments.n <= 2 else None


def _no_ulps(_: Sums) -> str | None:
    return "only real floating-point numbers have units in the last place"


_no_variation = _first(_no_reference, _constant_reference)

_TABLE = (
    MetricSpec("mse", _mse, "MSE", choice=1, of_rows=lambda rows: rows.mse),
    MetricSpec("rmse", lambda sums: math.sqrt(_mse(sums)), "RMSE"),
    MetricSpec("nmse", _nmse, "NMSE", _no_reference, choice=3, limit=True),
    MetricSpec("relative_l2", _relative_l2, "rel L2", _no_reference, choice=2, limit=True,
               strip_range=(-8, 0), of_rows=lambda rows: rows.relative_l2),
    MetricSpec("cosine", _cosine, "cosine", _first(_no_reference, _no_candidate), choice=4,
               greater_is_worse=False, limit=True, of_rows=lambda rows: rows.cosine),
    MetricSpec("pearson", _pearson, "pearson", _first(_no_variation, _constant_candidate),
               greater_is_worse=False),
    MetricSpec("sqnr_db", _sqnr_db, "SQNR dB", _first(_no_difference, _no_reference)),
    MetricSpec("mean_abs", lambda sums: sums.sum_abs / sums.moments.n, "mean abs"),
    MetricSpec("max_abs", lambda sums: sums.max_abs.value, "max abs", choice=5, limit=True,
               strip_range=(-8, 1), of_rows=lambda rows: rows.max_abs),
    MetricSpec("max_rel", lambda sums: sums.max_rel.value, "max rel", choice=6,
               strip_range=(-8, 1)),
    MetricSpec("ulp", lambda sums: sums.max_ulp if sums.tolerance.ulp_dtype else None, "ULP",
               _no_ulps, choice=7, strip_range=(0, 7)),
    MetricSpec("mismatched", lambda sums: sums.mismatched, "mismatched", needs_values=False),
    MetricSpec("mismatched_fraction",
               lambda sums: sums.mismatched / sums.count if sums.count else None,
               "mismatched", needs_values=False),
    MetricSpec("scale", _scale, "scale", _no_variation),
    MetricSpec("scale_se", _scale_se, "scale +-", _first(_no_variation, _too_few)),
    MetricSpec("offset", _offset, "offset", _no_variation),
    MetricSpec("fit_residual", _fit_residual, "fit residual", _no_variation),
)  # fmt: skip

NUMBERS: dict[str, MetricSpec] = {}  # all of them
METRICS: dict[str, MetricSpec] = {}  # those that `--metric` takes, in the order of the choice


def add(spec: MetricSpec) -> None:
    """Take a metric into the table: before the commands are imported, whose help lists them."""
    NUMBERS[spec.name] = spec
    chosen = sorted((s for s in NUMBERS.values() if s.choice), key=lambda s: s.choice)
    METRICS.clear()
    METRICS.update((s.name, s) for s in chosen)


for _spec in _TABLE:
    add(_spec)


def compute(sums: Sums) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every metric, and why those that are None could not be computed."""
    numbers: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name, spec in NUMBERS.items():
        value = spec.of(sums) if sums.moments.n or not spec.needs_values else None
        if value is None or not math.isfinite(value):
            value, reasons[name] = None, spec.reason(sums)
        numbers[name] = value
    return numbers, reasons
