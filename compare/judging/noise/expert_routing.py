"""Mixtures of experts: which tokens went to other experts, and whether rounding explains it.

A router sends each token to the experts with the greatest logits. Where two of these are nearly
equal, rounding decides, and all that follows for this token differs by more than rounding: that is
no fault of the experts. A flip is within noise when the margin by which the reference preferred its
choice to the candidate's is no larger than what the two sides' logits differ by, and these do not
differ by a fault of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

from ...limits import MARGIN
from ...matching.names.roles import may_be_router
from ...model import Measurement, Row

if TYPE_CHECKING:
    from ....capture.values import Array
    from ...aligned import Aligned, Results
    from ...measuring.bounded_sample import Sample
    from ...measuring.error_structure import Structure

_MOST_EXPERTS = 1024
_LIKELY = (1, 2, 4, 6, 8)  # experts per token goes to, where no record shows it


@dataclass(frozen=True, slots=True)
class Routing:
    """The flips of one router in one step. `experts` is the number that each token goes to; `rest`
    the structure of the rows behind it without the flipped tokens, where a row has tokens.
    """

    router: str
    tokens: tuple[int, ...]
    total: int
    experts: int
    margin: float
    noise: float
    within_noise: bool
    rest: Mapping[int, Structure] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """`routing flipped at tokens 3, 17 ...`."""
        shown = ", ".join(map(str, self.tokens[:8])) + (" ..." if len(self.tokens) > 8 else "")
        how = "within" if self.within_noise else "beyond"
        return (
            f"routing flipped at tokens {shown} ({len(self.tokens)} of {self.total}), margin "
            f"{self.margin:.2g} {how} noise ({self.noise:.2g})"
        )

    def touches(self, row: Row) -> bool:
        """Whether the row, in the block of experts, comes from the choice of experts."""
        block = block_of(self.router)
        if row.canonical == self.router:
            return row.role == "output" and row.slot not in ("output",)
        if row.canonical == block:
            return row.role == "output"
        return row.canonical.startswith(block + ".expert")


def is_within_noise(margin: Array, noise: Array) -> bool:
    """Whether the margins by which tokens were routed are no larger than what logits differ by."""
    return bool((margin <= MARGIN * noise).all())


def block_of(router: str) -> str:
    """The module that a router belongs to."""
    return router.rpartition(".")[0]


def find_routings(aligned: Aligned, results: Results) -> dict[int, Routing]:
    """The routers whose choices differ, by the row of their logits. Reads those records."""
    from ...measuring.bounded_sample import UNREADABLE

    found: dict[int, Routing] = {}
    modules: list[str] = []  # sorted, which takes long, where there is a router
    for row in aligned.rows:
        result = results.measurements[row.index]
        if not isinstance(result, Measurement) or result.identical or not _is_router(row, result):
            continue
        modules = modules or sorted({row.canonical for row in aligned.rows})
        if not _has_experts(modules, row):
            continue
        try:
            routing = _routing(aligned, results, row)
            if routing is not None:
                rest = dict(_without_flips(aligned, results, row, routing))
                found[row.index] = replace(routing, rest=rest)
        except UNREADABLE:
            continue  # nothing is known of its choices: nothing is excused by them
    return found


def _without_flips(
    aligned: Aligned, results: Results, router: Row, routing: Routing
) -> Iterator[tuple[int, Structure]]:  # fmt: skip
    """The errors of what comes from the choice of experts, of the tokens that did not flip."""
    import numpy as np

    from ...measuring.error_structure import structure_of

    for row in aligned.rows:
        result = results.measurements[row.index]
        if row.step != router.step or not isinstance(result, Measurement):
            continue
        if not routing.touches(row) or result.structure is None:
            continue
        if prod(result.shape[:-1]) != routing.total:
            continue
        sample = _sample(aligned, row)
        keep = ~np.isin(sample.rows, routing.tokens)
        kept = replace(sample, x=sample.x[keep], y=sample.y[keep], rows=sample.rows[keep])
        structure = structure_of(kept) if keep.any() else None
        if structure is not None:
            yield row.index, structure


def _is_router(row: Row, result: Measurement) -> bool:
    width = result.shape[-1] if result.shape else 0
    if not 2 <= width <= _MOST_EXPERTS or row.slot not in ("output", "output_0"):
        return False
    return bool(result.structure) and may_be_router(row.canonical)


def _has_experts(modules: Sequence[str], row: Row) -> bool:
    """Whether one of the sorted `modules` is an expert beside the router."""
    block = block_of(row.canonical) + ".expert"
    at = bisect_left(modules, block)
    return at < len(modules) and modules[at].startswith(block)


def _routing(aligned: Aligned, results: Results, row: Row) -> Routing | None:
    sample = _sample(aligned, row)
    recorded = _recorded(aligned, results, row)
    if recorded is not None and len(recorded.x) == len(sample.x):
        choices = recorded.x.astype(int), recorded.y.astype(int)
        return _flips(row, sample, *choices) if _within(choices, sample) else None
    for experts in _LIKELY:
        if experts < sample.x.shape[1]:
            left, right = (_greatest(side, experts) for side in (sample.x, sample.y))
            routing = _flips(row, sample, left, right)
            if routing is not None:
                return routing
    return None


def _greatest(logits: Array, count: int) -> Array:
    return (-logits).argsort(axis=1, kind="stable")[:, :count]


def _within(choices: tuple[Array, Array], logits: Sample) -> bool:
    """Ids of experts that there are: they come from files."""
    width = logits.x.shape[1]
    return all(c.size and c.min() >= 0 and c.max() < width for c in choices)


def _sample(aligned: Aligned, row: Row) -> Sample:
    from ...measuring.bounded_sample import read_sample

    return read_sample(aligned.task(row.index))


def _recorded(aligned: Aligned, results: Results, row: Row) -> Sample | None:
    """Which experts were chosen, where the router's record of it is paired."""
    for other in aligned.rows:
        same = other.canonical == row.canonical and other.step == row.step
        if same and other.slot in ("output_1", "output_2") and aligned.measurable(other.index):
            result = results.measurements[other.index]
            dtype = other.reference.dtype if other.reference is not None else None
            if isinstance(result, Measurement) and dtype and dtype.startswith(("int", "uint")):
                return _sample(aligned, other)
    return None


def _flips(row: Row, logits: Sample, left: Array, right: Array) -> Routing | None:
    """What differs between the two sides' choices, `[tokens, experts]` each."""
    import numpy as np

    x, y = logits.x, logits.y
    flipped = np.flatnonzero((left != right).any(axis=1))
    if flipped.size == 0:
        return None
    preferred = np.take_along_axis(x, left, 1) - np.take_along_axis(x, right, 1)
    margin = preferred.max(axis=1)[flipped]
    noise = np.abs(y - x).max(axis=1)[flipped]
    worst = int((margin / np.maximum(noise, 1e-300)).argmax())
    return Routing(
        row.canonical, tuple(logits.rows[flipped].tolist()), len(x), left.shape[1],
        float(margin[worst]), float(noise[worst]), is_within_noise(margin, noise),
    )  # fmt: skip
