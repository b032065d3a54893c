"""Parameters that differ from the other side's by being quantised, or by being its originals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..model import Measurement

if TYPE_CHECKING:
    from ..aligned import Aligned, Results
    from ..laws.linear.quantised_copy import QuantisedCopies

_MOST = 1 << 16  # elements of a sample


def quantised_parameters(
    aligned: Aligned, results: Results, rows: Iterable[int],
    cancelled: Callable[[], bool] | None = None,
) -> dict[int, str]:  # fmt: skip
    """By row, of those pairs of parameters that differ, how they are quantised. Reads a bounded
    part of each, with the greatest difference.
    """
    from ..laws.linear.quantised_copy import QuantisedCopies
    from ..measuring.bounded_sample import UNREADABLE

    copies, found = QuantisedCopies(), dict[int, str]()
    for index in rows:
        if cancelled is not None and cancelled():
            break
        result = results.measurements[index]
        if not isinstance(result, Measurement) or result.nonfinite_mismatch or result.partial:
            continue
        try:
            words = _words(aligned, index, result, copies)
        except UNREADABLE:
            continue
        if words is not None:
            found[index] = words
    return found


def _words(
    aligned: Aligned, index: int, result: Measurement, copies: QuantisedCopies
) -> str | None:  # fmt: skip
    from ...capture.dtypes import DTYPES
    from ..measuring.bounded_sample import read_sample

    task = aligned.task(index)
    sides = (task.reference.effective_dtype, task.candidate.effective_dtype)
    # Where a checkpoint was quantised its own layout counts: groups lie along the inner axis.
    sample = read_sample(task, result.max_abs_index, _MOST)
    if len(sample.shape) < 2 or len(sample.channels) != sample.shape[-1]:
        return None
    units = [DTYPES[name].epsilon / 2 for name in sides]
    return copies.words(sample.x, sample.y, (units[0], units[1]), sample.whole)
