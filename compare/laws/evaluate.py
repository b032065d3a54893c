"""All laws of a pair of captures: local errors of every place where one applies.

First every place is evaluated by itself; then each side's arithmetic is inferred by kind, laws that
do not reproduce the reference within that are put aside, and what sticks out among the rest is
found (`peers`). Causes are looked for afterwards (`causes`), one place at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from ...capture.arrays import Array
from ..pair_reader import CancelledError
from ..sample import UNREADABLE
from . import limits
from .law import Case, Fit, Law, Scene, Site
from .local_error import LocalError, local_error
from .quantities import Key
from .registry import LAWS
from .sampling import sample_rows


@dataclass(frozen=True)
class Evaluation:
    """A place and both sides' local errors there. `unit_reference`, `unit_candidate` are the unit
    roundoffs of the target's grid; `sampled` is how many of the target's `rows` were looked at.
    """

    site: Site
    fit: Fit
    reference: LocalError
    candidate: LocalError
    unit_reference: float
    unit_candidate: float
    row: int
    rows: int
    sampled: int
    derived: tuple[str, ...] = ()


def evaluations(
    scene: Scene, laws: Sequence[Law] = LAWS,
    told: Callable[[Evaluation | None, int, int], None] | None = None,
) -> list[Evaluation]:  # fmt: skip
    """Every target that some law can be tried on, in execution order; `told` hears of each, how
    many are done and how many there are. Stops early where `scene.cancelled` says so: the caller
    looks at that itself.
    """
    found: list[Evaluation] = []
    places = list(by_target(scene, laws))
    for number, (law, sites) in enumerate(places):
        if scene.cancelled is not None and scene.cancelled():
            break
        try:
            evaluation = best_of(scene, law, sites)
        except CancelledError:
            break
        if evaluation is not None:
            found.append(evaluation)
        if told is not None:
            told(evaluation, number + 1, len(places))
    return found


def by_target(scene: Scene, laws: Sequence[Law]) -> Iterator[tuple[Law, list[Site]]]:
    """The alternatives of each target, law by law, in execution order."""
    groups: dict[tuple[int, Key], tuple[Law, list[Site]]] = {}
    for number, law in enumerate(laws):
        for site in law.sites(scene):
            groups.setdefault((number, site.target), (law, []))[1].append(site)
    known = scene.reference.known
    order = sorted(groups, key=lambda place: (known[place[1]].row, place[0]))
    for place in order:
        yield groups[place]


def best_of(scene: Scene, law: Law, sites: Iterable[Site]) -> Evaluation | None:
    """The first alternative that the reference keeps to, else the one that it is nearest to."""
    best: Evaluation | None = None
    for site in sites:
        try:
            cases = read_cases(scene, law, site)
        except UNREADABLE:
            continue
        if cases is None:
            continue
        for fit in law.fit(scene, site, cases[0]):
            with np.errstate(all="ignore"):  # whatever bits a file holds
                evaluation = evaluate(scene, law, site, fit, cases)
            if evaluation is None:
                continue
            if best is None or evaluation.reference.total < best.reference.total:
                best = evaluation
            if evaluation.reference.total <= limits.TRUST:
                return evaluation
    return best


def read_cases(scene: Scene, law: Law, site: Site) -> tuple[Case, Case] | None:
    """Both sides of a place on the same rows; None where either lacks something."""
    left, right = (side.known.get(site.target) for side in scene.sides)
    if left is None or right is None:
        return None
    counts = scene.tables.rows(left), scene.tables.rows(right)
    if 0 in counts:
        return None
    peak = scene.peaks.get(right.row)
    cases: list[Case] = []
    for side, count in zip(scene.sides, counts, strict=True):
        same = counts[0] == counts[1]
        rows = sample_rows(count, [peak] if peak is not None and same else [])
        with np.errstate(all="ignore"):
            case = law.read(scene, site, side, rows)
        if case is None:
            return None
        cases.append(case)
    return cases[0], cases[1]


def evaluate(
    scene: Scene, law: Law, site: Site, fit: Fit, cases: tuple[Case, Case]
) -> Evaluation | None:
    """Both sides against the law with the reference's parameters."""
    predictions = law.predict(scene, site, fit, cases)
    if any(p is None or not _usable(p.value, c) for p, c in zip(predictions, cases, strict=True)):
        return None
    left, right = (
        local_error(case, p, site.groups)
        for case, p in zip(cases, predictions, strict=True)
        if p is not None
    )
    if fit.free:
        left = corrected(left, fit.free)
    row = scene.candidate.known[site.target].row
    total = scene.tables.rows(scene.candidate.known[site.target])
    return Evaluation(
        site, fit, left, right, cases[0].units["output"], cases[1].units["output"], row, total,
        len(np.unique(cases[1].rows)), tuple(dict.fromkeys((*cases[0].derived, *cases[1].derived))),
    )  # fmt: skip


def _usable(value: Array, case: Case) -> bool:
    return value.shape == case.output.shape and bool(np.isfinite(value).any())


def corrected(error: LocalError, free: float) -> LocalError:
    """A fit takes part of the error with it: with as many numbers as rows nothing is left to
    see.
    """
    left = 1.0 - free / max(1, error.rows)
    factor = inf if left <= 0.2 else left**-0.5
    return replace(error, ratio=error.ratio * factor, total=error.total * factor)
