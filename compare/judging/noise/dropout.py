"""Dropout that was at work: no two such runs agree element by element, with nothing wrong.

It shows in the values: what a dropout module gave (of a run in training mode also what a module was
given, beside what was returned before it) is what it was given, with some elements zero and
the rest larger by one factor (Srivastava et al., JMLR 15 (2014), 1929-1958, in the inverted form
that frameworks have). From the first such module on rows are judged by statistics of either side.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from ....capture.dtypes import DTYPES
from ....capture.models.run_details import run_details
from ...limits import DROPOUT_ELEMENTS, DROPOUT_RECENT, DROPOUT_ROUNDING, STATISTICS_APART
from ...model import Measurement, Result, Row, Verdict
from ..row_verdicts import override_for

if TYPE_CHECKING:
    from ....capture.records import Capture, Record
    from ...aligned import Aligned, SideName
    from ...laws.report import LawRow
    from ...rules.rules import ThresholdRule

_DROPOUT = re.compile(r"drop", re.IGNORECASE)  # names and classes: Dropout, resid_drop, DropPath
_MOST = 64  # modules of a side that are examined


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of a run: how many of the modules examined did it, the greatest share of
    zeros that they made, and the names of their records.
    """

    names: tuple[str, ...]
    share: float

    @property
    def words(self) -> str:
        count = f"{len(self.names)} modules zero" if len(self.names) > 1 else "a module zeroes"
        return f"dropout was active: {count} up to {100 * self.share:.2g} % of their input"


def dropout_of(records: Iterable[Record], training: bool = False) -> Dropout | None:
    """What the records of one run show; None for nothing. `training`: the model was in
    training mode: then functions between modules may have done it, too. Reads samples.
    """
    found: list[str] = []
    most = 0.0
    listed = list(records)
    pairs = chain(_modules(listed), between(listed)) if training else _modules(listed)
    for given, output in pairs:
        share = zeroed(given, output)
        if share is not None:
            found.append(output.name)
            most = max(most, share)
    return Dropout(tuple(found), most) if found else None


def dropout_of_run(capture: Capture) -> Dropout | None:
    """What a capture shows, in the mode that its details say the model was in. Reads samples."""
    return dropout_of(capture.records, run_details(capture.path).get("training") == "True")


def _modules(records: Iterable[Record]) -> Iterator[tuple[Record, Record]]:
    """Inputs and outputs of modules whose name or class says that they do dropout."""
    inputs: dict[tuple[str, int, int], Record] = {}
    told: dict[tuple[str, str], bool] = {}  # layers have modules of few names
    count = 0
    for record in records:
        names = record.module.rpartition(".")[2], record.module_class or ""
        if names not in told:
            told[names] = any(_DROPOUT.search(name) for name in names)
        if not told[names]:
            continue
        place = record.module, record.call, record.step
        if record.slot in ("input", "input_0"):
            inputs[place] = record
        elif record.slot == "output" and place in inputs:
            given = inputs[place]
            if (given.dtype, given.shape) == (record.dtype, record.shape):
                yield given, record
                count += 1
                if count == _MOST:
                    return


def between(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """What modules were given beside what was returned shortly before, where it is as large: code
    may have called a function of dropout in between.
    """
    last: deque[Record] = deque(maxlen=DROPOUT_RECENT)
    count = 0
    for record in records:
        if record.slot.startswith("output"):
            last.append(record)
        elif record.slot in ("input", "input_0", "input_hidden_states"):
            for given in reversed(last):
                alike = (given.dtype, given.shape) == (record.dtype, record.shape)
                if not alike or given.module == record.module:
                    continue
                yield given, record
                count += 1
                if count == _MOST:
                    return


def zeroed(given: Record, output: Record) -> float | None:
    """The share of elements that were set to zero where the rest has one factor, None where that is
    not so, or nothing was changed.
    """
    import numpy as np

    from ...checks.samples import sampled

    if given.locator is None or output.locator is None or output.dtype is None:
        return None
    x, y = sampled(given.locator), sampled(output.locator)
    if x is None or y is None or x.dtype.kind != "f":
        return None
    used = (x != 0) & np.isfinite(x) & np.isfinite(y)
    x, y = x[used], y[used]
    if x.size < DROPOUT_ELEMENTS:
        return None
    kept = y != 0
    share = 1.0 - np.count_nonzero(kept) / x.size
    if not 0 < share < 1:
        return None
    factors = y[kept] / x[kept]
    middle = float(np.median(factors))
    apart = DROPOUT_ROUNDING * DTYPES[output.dtype].epsilon * middle
    one = middle > 1.0 and np.mean(np.abs(factors - middle) <= apart) > 0.99
    return share if one else None


@dataclass(frozen=True, slots=True)
class ByStatistics:
    """Judging from row `first` on by statistics: dropout was at work on these sides, in these
    `modules` (canonical).
    """

    first: int
    reference: Dropout | None
    candidate: Dropout | None
    modules: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[tuple[SideName, str], ...]:
        """Side and sentence."""
        sides: tuple[tuple[SideName, Dropout | None], ...] = (
            ("reference", self.reference), ("candidate", self.candidate),
        )  # fmt: skip
        end = "everything after it is judged by the statistics of each side, not element by element"
        return tuple((name, f"{d.words}; {end}") for name, d in sides if d is not None)

    def verdicts(
        self, rows: Sequence[Row], results: Sequence[Result],
        verdicts: Sequence[Verdict], laws: dict[int, LawRow],
        overrides: tuple[ThresholdRule, ...] = (),
    ) -> list[Verdict]:  # fmt: skip
        """The same verdicts, those of rows after the dropout by statistics where they diverged.
        What a rules file has a limit for stays, and so does what a law with a known cause shows of
        a module that has no such dropout inside.
        """
        found = list(verdicts)
        for row in rows[self.first :]:
            result, verdict = results[row.index], verdicts[row.index]
            if verdict.level != "diverged" or self._is_known(laws.get(row.index)):
                continue
            if isinstance(result, Measurement) and override_for(row, overrides) is None:
                found[row.index] = self.by_moments(result, verdict)
        return found

    def _is_known(self, law: LawRow | None) -> bool:
        if law is None or law.state != "breaks" or not law.causes:
            return False
        return not any(module.startswith(f"{law.module}.") for module in self.modules)

    def by_moments(self, result: Measurement, verdict: Verdict) -> Verdict:
        """The verdict by root mean square and mean of either side."""
        left, right = _moments(result, "reference"), _moments(result, "candidate")
        if left is None or right is None:
            return verdict
        words = f"RMS {left[0]:.3g} and {right[0]:.3g}, mean {left[1]:.3g} and {right[1]:.3g}"
        limit = STATISTICS_APART + 3.0 / math.sqrt(2.0 * result.compared)  # of the sample's size
        size = max(left[0], right[0])
        factor = right[0] / left[0] if left[0] > 0 else math.inf
        if left[0] == right[0] == 0:
            factor = 1.0
        grows = self._growth()
        near = 1.0 / ((1.0 + limit) * grows[0]) <= factor <= (1.0 + limit) * grows[1]
        if near and abs(left[1] - right[1]) <= limit * size:
            reason = f"differs as two runs with dropout do, by statistics: {words}"
            return Verdict("noise", reason, "none", by_statistics=True)
        reason = f"differs by statistics, more than dropout explains: {words}"
        return replace(verdict, reason=reason, by_statistics=True)

    def _growth(self) -> tuple[float, float]:
        """How much larger dropout may have made the reference and the candidate."""
        factors = [
            1.0 if d is None else 1.0 / math.sqrt(max(1.0 - d.share, 1e-3))
            for d in (self.reference, self.candidate)
        ]
        return factors[0], factors[1]


def _moments(result: Measurement, side: str) -> tuple[float, float] | None:
    """RMS and mean of what is finite on a side; None where nothing is."""
    known = getattr(result, side)
    if known is None or known.mean is None or known.std is None:
        return None
    return math.hypot(known.mean, known.std), known.mean


def judging_of(aligned: Aligned) -> ByStatistics | None:
    """How two captures are to be judged where dropout was at work on either side; None where it was
    on neither. Reads samples of dropout modules.
    """
    left, right = dropout_of_run(aligned.reference), dropout_of_run(aligned.candidate)
    if left is None and right is None:
        return None
    names = (left.names if left else (), right.names if right else ())
    rows = [
        row
        for row in aligned.rows
        for record, known in zip((row.reference, row.candidate), names, strict=True)
        if record is not None and record.name in known
    ]
    first = rows[0].index if rows else len(aligned.rows)
    modules = tuple(dict.fromkeys(row.canonical for row in rows))
    return ByStatistics(first, left, right, modules)
