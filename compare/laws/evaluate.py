"""All laws of a pair of captures: local errors of every place where one applies.

First every place is evaluated by itself; then each side's arithmetic is inferred by kind, laws that
do not reproduce the reference within that are put aside, and what sticks out among the rest is
found (`peers`). Causes are looked for afterwards (`causes`), one place at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

import numpy as np

from ...capture.values import Array
from ..measuring.bounded_sample import UNREADABLE
from ..measuring.pair_reader import CancelledError
from . import limits
from .arithmetic import own_limit
from .evaluation import Evaluation
from .kept_cases import KeptCases
from .law import Case, Fit, Law, Needed, Scene, Site
from .numerics.local_error import LocalError, corrected, local_error
from .numerics.quantities import Key
from .numerics.sampling import most_rows, sample_rows
from .registry import LAWS
from .same_values import same_values

_KEPT = 2  # fits of a kind that are remembered: layers of two kinds may take turns
# Places of a kind whose fits are remembered for those after them, which then do not depend on each
# other: models mix local and global layers in turns of up to six (Gemma 3).
LEARNING = 8
_ASKED = 4  # layers of a kind that are asked which arithmetic they show
# Ways in which a layer's error is unlike its peers', and how many times their median counts so.
_WAYS: tuple[tuple[Callable[[LocalError], float], float], ...] = (
    (lambda e: e.ratio, 1.4), (lambda e: e.row.ratio, 2.0), (lambda e: e.channel.ratio, 2.0),
    (lambda e: e.group.ratio, 1.4), (lambda e: abs(e.gain - 1.0), 3.0),
)  # fmt: skip


Place = tuple[Law, list[Site]]
"""A law, and the alternatives of one target."""


class Evaluate(Protocol):
    """What every place comes to, in order; fewer where the scene was cancelled. May raise
    `CancelledError`.
    """

    def __call__(self, scene: Scene, places: Sequence[Place]) -> Iterator[Evaluation | None]: ...


def one_by_one(scene: Scene, places: Sequence[Place]) -> Iterator[Evaluation | None]:
    """See `Evaluate`: here, one after the other."""
    for (law, sites), turn in zip(places, turns(places), strict=True):
        if scene.cancelled is not None and scene.cancelled():
            return
        yield best_of(scene, law, sites, turn.learns)


@dataclass(frozen=True, slots=True)
class Turn:
    """When a place is evaluated: `after` another one (by number), from which it learns what fits,
    and whether others learn from it (`learns`: what fits is remembered).
    """

    after: int | None
    learns: bool


def turns(places: Sequence[Place]) -> list[Turn]:
    """Of each place: the first ones of a kind learn from each other in order, all others of the
    kind from those, so that what is found does not depend on how many are evaluated at a time.
    """
    learners: dict[tuple[str, str], list[int]] = {}
    found: list[Turn] = []
    for number, (law, sites) in enumerate(places):
        before = learners.setdefault((law.name, sites[0].kind), [])
        learns = len(before) < LEARNING
        found.append(Turn(before[-1] if before else None, learns))
        if learns:
            before.append(number)
    return found


def evaluations(
    scene: Scene, laws: Sequence[Law] = LAWS,
    told: Callable[[Evaluation | None, int, int], None] | None = None,
    only: Callable[[Site], bool] | None = None, evaluate_all: Evaluate = one_by_one,
) -> list[Evaluation]:  # fmt: skip
    """Every target that some law can be tried on, in execution order; `told` hears of each, how
    many are done and how many there are; `only` says which sites are wanted. Stops early where
    `scene.cancelled` says so: the caller looks at that itself.
    """
    found: list[Evaluation] = []
    kept = KeptCases(found)
    places = [p for p in by_target(scene, laws) if only is None or any(map(only, p[1]))]
    with suppress(CancelledError):
        for number, evaluation in enumerate(evaluate_all(scene, places)):
            if evaluation is not None:
                kept.add(evaluation)
                evaluation = found[-1]
            if told is not None:
                told(evaluation, number + 1, len(places))
    if scene.cancelled is not None and scene.cancelled():
        return found
    return asked(scene, laws, regridded(scene, laws, found))


def regridded(
    scene: Scene, laws: Sequence[Law], found: Sequence[Evaluation]
) -> list[Evaluation]:  # fmt: skip
    """Layers whose candidate is on a coarser grid than that of its peers are held to the peers'
    grid: one layer that rounds to bfloat16 among 29 in float32 is not clean in its own units.
    """
    return [_regridded(scene, laws, e, grid) for e, grid in zip(found, grids(found), strict=True)]


def _regridded(
    scene: Scene, laws: Sequence[Law], evaluation: Evaluation, grid: float | None
) -> Evaluation:
    if grid is None:
        return evaluation
    law = next(law for law in laws if law.name == evaluation.site.law)
    try:
        cases = read_cases(scene, law, evaluation.site, grid)
    except UNREADABLE:
        return evaluation
    if cases is None:
        return evaluation
    with np.errstate(all="ignore"):
        again = evaluate(scene, law, evaluation.site, evaluation.fit, cases)
    return evaluation if again is None else replace(again, grid=grid, cases=None)


def grids(found: Sequence[Evaluation]) -> list[float | None]:
    """For every evaluation the unit of its peers, where the candidate's (but not the reference's)
    is more than twice as coarse; else None.
    """
    units: dict[tuple[str, str], list[float]] = {}  # two laws may have places of one kind
    for evaluation in found:
        site = evaluation.site
        units.setdefault((site.law, site.kind), []).append(evaluation.unit_candidate)
    usual = {kind: median(peers) for kind, peers in units.items()}
    few = {
        kind: len(peers) >= limits.FEW_PEERS
        and sum(unit > 2 * usual[kind] for unit in peers) <= limits.MOST_ODD * len(peers)
        for kind, peers in units.items()
    }
    grid: list[float | None] = []
    for evaluation in found:
        kind = evaluation.site.law, evaluation.site.kind
        finest = 2 * max(usual[kind], evaluation.unit_reference)
        odd = few[kind] and evaluation.unit_candidate > finest
        grid.append(usual[kind] if odd else None)
    return grid


def asked(scene: Scene, laws: Sequence[Law], found: list[Evaluation]) -> list[Evaluation]:
    """The same; of every kind whose errors are far above the rounding of its records a few layers
    are asked which arithmetic they show, and those that are unlike the others.
    """
    by_kind: dict[tuple[str, str], list[int]] = {}
    for index, evaluation in enumerate(found):
        site = evaluation.site  # two laws may have places of one kind
        by_kind.setdefault((site.law, site.kind), []).append(index)
    for (name, _), places in by_kind.items():
        law = next(law for law in laws if law.name == name)
        if hasattr(law, "arithmetic"):
            for at in _to_ask([found[i] for i in places]):
                found[places[at]] = _asked(scene, law, found[places[at]])
    return found


def _to_ask(members: Sequence[Evaluation]) -> list[int]:
    """Positions of the members nearest to the middle, where most of them are coarse, and of the
    candidate's that are not alike.
    """
    chosen: set[int] = set()
    for side in ("reference", "candidate"):
        errors: list[LocalError] = [getattr(m, side) for m in members]
        unit = median(getattr(m, f"unit_{side}") for m in members)
        middle = median(e.ratio for e in errors)
        if middle > own_limit(unit):
            nearest = sorted(range(len(errors)), key=lambda i: abs(errors[i].ratio - middle))
            chosen.update(nearest[:_ASKED])
            if side == "candidate":
                chosen.update(_unlike(errors))
    return sorted(chosen)


def _unlike(errors: Sequence[LocalError]) -> Iterator[int]:
    """Positions of errors that are unlike those of the others in any way that is judged."""
    for of, times in _WAYS:
        values = [of(error) for error in errors]
        middle = median(values)
        yield from (i for i, value in enumerate(values) if value > times * middle)


def _asked(scene: Scene, law: Law, evaluation: Evaluation) -> Evaluation:
    try:
        cases = cases_of(scene, law, evaluation)
    except UNREADABLE:
        return evaluation
    if cases is None:
        return evaluation
    units = evaluation.unit_reference, evaluation.unit_candidate
    errors = evaluation.reference, evaluation.candidate
    said: list[str | None] = []
    again: LocalError | None = None
    with np.errstate(all="ignore"):
        for case, error, unit in zip(cases, errors, units, strict=True):
            shown = None
            if error.ratio > own_limit(unit):
                ask = getattr(law, "arithmetic")  # noqa: B009 - few laws have it
                shown = ask(scene, evaluation.site, evaluation.fit, case)
            said.append(None if shown is None else shown.words)
            if shown is not None and case.side == "candidate":
                again = local_error(case, shown.predict(), evaluation.site.groups)
    return replace(evaluation, asked=(said[0], said[1]), in_arithmetic=again)


def by_target(scene: Scene, laws: Sequence[Law]) -> Iterator[tuple[Law, list[Site]]]:
    """The alternatives of each target, law by law, in execution order."""
    groups: dict[tuple[int, Key], tuple[Law, list[Site]]] = {}
    known = scene.reference.known
    for number, law in enumerate(laws):
        whole = getattr(law, "whole_sequences", False)
        for site in law.sites(scene):
            if not (whole and known[site.target].cut):
                groups.setdefault((number, site.target), (law, []))[1].append(site)
    order = sorted(groups, key=lambda place: (known[place[1]].row, place[0]))
    for place in order:
        yield groups[place]


def best_of(
    scene: Scene, law: Law, sites: Iterable[Site], learns: bool = True
) -> Evaluation | None:
    """The first alternative that the reference keeps to, else the one that it is nearest to.
    `learns`: what fits is remembered for other places of the kind.
    """
    best: Evaluation | None = None
    for site in sites:
        with np.errstate(all="ignore"):  # whatever bits a file holds
            for evaluation in _tried(scene, law, site):
                if best is None or evaluation.reference.total < best.reference.total:
                    best = evaluation
                if evaluation.reference.total <= limits.TRUST:
                    if learns:
                        _keep(scene, evaluation)
                    return evaluation
    return best


def _tried(scene: Scene, law: Law, site: Site) -> Iterator[Evaluation]:
    """One alternative with every fit of the reference, the likeliest first."""
    try:
        if (needed := getattr(law, "needed", None)) is not None:
            yield from _tried_in_part(scene, law, site, needed)
            return
        cases = read_cases(scene, law, site)
    except UNREADABLE:
        return
    if cases is None:
        return
    for fit in law.fit(scene, site, cases[0]):
        evaluation = evaluate(scene, law, site, fit, cases)
        if evaluation is not None:
            yield evaluation


def _tried_in_part(scene: Scene, law: Law, site: Site, needed: Needed) -> Iterator[Evaluation]:
    """The same of a law that needs only some of its inputs once it has a fit: no others of the
    candidate are read, and nothing is kept of what was read.
    """
    rows = _rows_of_both(scene, site)
    reference = None if rows is None else law.read(scene, site, scene.reference, rows[0])
    if rows is None or reference is None:
        return
    for fit in law.fit(scene, site, reference):
        part = needed(site, fit)
        candidate = law.read(scene, part, scene.candidate, rows[1])
        if candidate is None or not _alike(reference, candidate):
            return
        names = {name for name, _ in part.inputs}
        own = {n: v for n, v in reference.inputs.items() if n in names}
        units = {n: u for n, u in reference.units.items() if n in names or n == "output"}
        left = replace(reference, inputs=own, units=units)
        evaluation = evaluate(scene, law, site, fit, (left, candidate))
        if evaluation is not None:
            yield replace(evaluation, cases=None)


def _keep(scene: Scene, evaluation: Evaluation) -> None:
    """Remember a fit as the last of its kind."""
    site = evaluation.site
    fits = scene.kept.setdefault((site.law, site.kind), [])
    fits[:] = [fit for fit in fits if fit.words != evaluation.fit.words][-_KEPT + 1 :]
    fits.append(evaluation.fit)


def cases_of(scene: Scene, law: Law, evaluation: Evaluation) -> tuple[Case, Case] | None:
    """Both sides of an evaluated place: as they were kept, else as `read_cases` gives them."""
    return evaluation.cases or read_cases(scene, law, evaluation.site, evaluation.grid)


def read_cases(
    scene: Scene, law: Law, site: Site, grid: float | None = None
) -> tuple[Case, Case] | None:
    """Both sides of a place on the same rows; None where either lacks something. `grid` is the
    finest unit that the candidate's output may have.
    """
    both = _rows_of_both(scene, site)
    if both is None:
        return None
    cases: list[Case] = []
    for side, rows in zip(scene.sides, both, strict=True):
        with np.errstate(all="ignore"):
            case = law.read(scene, site, side, rows)
        if case is None:
            return None
        cases.append(case)
    if not _alike(*cases):
        return None
    if grid is not None:
        units = {**cases[1].units, "output": min(grid, cases[1].units["output"])}
        cases[1] = replace(cases[1], units=units)
    return cases[0], cases[1]


def _rows_of_both(scene: Scene, site: Site) -> tuple[Array, Array] | None:
    """The flat rows that are looked at of either side; None where one lacks the target."""
    left, right = (side.known.get(site.target) for side in scene.sides)
    if left is None or right is None:
        return None
    counts = scene.tables.rows(left), scene.tables.rows(right)
    if 0 in counts:
        return None
    peak = scene.peaks.get(right.row)
    wanted = [peak] if peak is not None and counts[0] == counts[1] else []
    most = most_rows(_width(scene, site))
    first, second = (sample_rows(count, wanted, most) for count in counts)
    return first, second


def _alike(reference: Case, candidate: Case) -> bool:
    """Whether both sides are as wide: else they are of two models, and one's parameters fit no
    other.
    """
    left, right = (
        {"": case.output, **case.inputs} for case in (reference, candidate)
    )  # fmt: skip
    return all(
        left[name].shape[-1:] == right[name].shape[-1:]
        for name in left.keys() & right.keys()
        if left[name].ndim == 2 and right[name].ndim == 2
    )


def _width(scene: Scene, site: Site) -> int:
    """The most channels among what a site reads of the reference."""
    keys = {site.target, *(key for _, source in site.inputs for key in source)}
    known = [scene.reference.known[key] for key in keys if key in scene.reference.known]
    return max((scene.tables.shape(quantity) or (1,))[-1] for quantity in known)


def evaluate(
    scene: Scene, law: Law, site: Site, fit: Fit, cases: tuple[Case, Case]
) -> Evaluation | None:
    """Both sides against the law with the reference's parameters; what is the same on both sides,
    as everything in front of the first difference is, once for both.
    """
    alike = same_values(cases[0], replace(cases[1], side=cases[0].side))
    asked = cases[:1] if alike else cases
    predictions = law.predict(scene, site, fit, asked)
    if any(p is None or not _usable(p.value, c) for p, c in zip(predictions, asked, strict=True)):
        return None
    errors = [
        local_error(case, p, site.groups)
        for case, p in zip(asked, predictions, strict=True)
        if p is not None
    ]
    left, right = errors[0], errors[-1]
    if fit.free:
        left = corrected(left, fit.free)
    row = scene.candidate.known[site.target].row
    total = scene.tables.rows(scene.candidate.known[site.target])
    return Evaluation(
        site, fit, left, right, cases[0].units["output"], cases[1].units["output"], row, total,
        len(np.unique(cases[1].rows)), tuple(dict.fromkeys((*cases[0].derived, *cases[1].derived))),
        cases=cases,
    )  # fmt: skip


def _usable(value: Array, case: Case) -> bool:
    return value.shape == case.output.shape and bool(np.isfinite(value).any())
