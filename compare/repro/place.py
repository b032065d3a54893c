"""The layer that a reproduction is made of, held against its law once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...capture.errors import CaptureError
from ..inspection.naming import NoSuchNameError, module_names, row_named
from ..laws.evaluate import best_of, by_target, read_cases
from ..laws.evaluation import Evaluation
from ..laws.law import Case, Fit, Law, Prediction, Scene, Site
from ..laws.registry import LAWS, law_named
from ..laws.report import LawReport, LawRow
from ..measuring.bounded_sample import UNREADABLE
from ..measuring.pair_reader import CancelledError
from ..running.law_checks import LawCheck, scene_of

if TYPE_CHECKING:
    from ..comparison import Comparison

Cancelled = Callable[[], bool]


class NothingToReproduceError(CaptureError):
    """A layer that no test can be made of: why, in one line."""


@dataclass(frozen=True)
class Place:
    """A law row, and its law evaluated: the cases and predictions are those of the reference and
    of the candidate.
    """

    row: LawRow
    scene: Scene
    site: Site
    fit: Fit
    cases: tuple[Case, Case]
    predictions: tuple[Prediction, Prediction]


def place_of(
    comparison: Comparison, name: str | None, cancelled: Cancelled | None = None
) -> Place:  # fmt: skip
    """The layer that `name` means (see `law_row_named`), evaluated.

    Raises `NothingToReproduceError`, and `CancelledError`.
    """
    row = law_row_named(comparison, law_report(comparison, cancelled), name)
    if row.state == "unknown":
        raise NothingToReproduceError(
            f"{row.label}: the reference violates the {row.local.law} law too, so the law does not "
            "say what the layer should output"
        )
    try:
        scene = scene_of(comparison.aligned, comparison.results, comparison.models, cancelled)
        return _evaluated(scene, row)
    except UNREADABLE as error:
        raise NothingToReproduceError(f"{row.label}: {error}") from error


def law_report(comparison: Comparison, cancelled: Cancelled | None = None) -> LawReport:
    """What the laws say, worked out where the policy did not ask. Raises `CancelledError`."""
    if comparison.laws is not None:
        return comparison.laws
    report = LawCheck(
        comparison.aligned, comparison.results, comparison.models, cancelled=cancelled
    ).run()
    if report is None:
        raise CancelledError
    return report


def law_row_named(comparison: Comparison, report: LawReport, name: str | None) -> LawRow:
    """The law row of a module (of several the one that is furthest beyond its limit), of a label
    `module-slot`, of a record or of a row's number as `#12`; without a name that of the first
    divergence.

    Raises `NothingToReproduceError`.
    """
    if name is None:
        return _of_first_divergence(comparison, report)
    found = _of_module(comparison, report, name)
    if found is not None:
        return found
    if any(name in module_names(row) for row in comparison.rows):
        raise NothingToReproduceError(f"{name}: {_why_none(comparison)}")
    try:
        row = row_named(comparison, name, None)
    except NoSuchNameError as error:
        raise NothingToReproduceError(str(error)) from error
    if row.index in report.rows:
        return report.rows[row.index]
    known = _of_module(comparison, report, row.canonical)
    if known is not None and row.role == "output" and row.kind == "pair":
        return known
    raise NothingToReproduceError(f"{row.label}: {_why_none(comparison)}")


def _of_first_divergence(comparison: Comparison, report: LawReport) -> LawRow:
    first = comparison.first_divergence()
    if first is None:
        if not report.broken:
            raise NothingToReproduceError("nothing diverges: name the layer you mean")
        return report.broken[0]
    known = report.rows.get(first.index)
    if known is not None and known.state != "unknown":
        return known
    found = _of_module(comparison, report, first.module)
    if found is None:
        raise NothingToReproduceError(
            f"{first.module}, the first divergence: {_why_none(comparison)}"
        )
    return found


def _of_module(comparison: Comparison, report: LawReport, name: str) -> LawRow | None:
    """The row of a module, by its canonical name or as either side calls it: of those that its own
    code makes, else of those that its records show.
    """
    made: list[LawRow] = []
    shown: list[LawRow] = []
    for law_row in report.rows.values():
        row = comparison.rows[law_row.row]
        called = module_names(row)
        if name == law_row.module or (law_row.module == row.canonical and name in called):
            made.append(law_row)
        elif name in called:
            shown.append(law_row)
    order = ("breaks", "keeps", "unknown")
    return min(made or shown, key=lambda r: (order.index(r.state), -r.excess, r.row), default=None)


def _why_none(comparison: Comparison) -> str:
    words = "no law says what it should be, or not all of its inputs are recorded on both sides"
    if comparison.models.reference is None:
        words += "; projections need the checkpoint (--reference-model)"
    return words


def _evaluated(scene: Scene, row: LawRow) -> Place:
    law, evaluation = _evaluation(scene, row)
    cases = read_cases(scene, law, evaluation.site, row.grid)
    if cases is None:
        raise NothingToReproduceError(f"{row.label}: its records can no longer be read")
    with np.errstate(all="ignore"):
        found = law.predict(scene, evaluation.site, evaluation.fit, cases)
    left, right = found
    if left is None or right is None:
        raise NothingToReproduceError(f"{row.label}: its law does not apply to these inputs")
    return Place(row, scene, evaluation.site, evaluation.fit, cases, (left, right))


def _evaluation(scene: Scene, row: LawRow) -> tuple[Law, Evaluation]:
    """The law of a row and its site as they were found before."""
    wanted = law_named(row.local.law)
    for law, sites in by_target(scene, [law for law in LAWS if law is wanted]):
        target = scene.candidate.known[sites[0].target]
        if target.row != row.row:
            continue
        found = best_of(scene, law, sites)
        if found is not None:
            return law, found
    raise NothingToReproduceError(f"{row.label}: its law can no longer be checked")
