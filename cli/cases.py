"""Two matrices of captures, compared case by case: one part of the report a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..capture.cases import find_cases, read_index
from ..capture.errors import CaptureError
from .errors import UserError

if TYPE_CHECKING:
    from ..compare.comparison import Comparison
    from ..compare.reports import Part, Settings


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case; a side that does not have it is None."""

    name: str
    reference: str | None
    candidate: str | None


def case_pairs(reference: str, candidate: str) -> list[CasePair] | None:
    """The cases of both directories in the reference's order; None where neither has an index, and
    the sub-directories of both are not cases either.

    Raises `UserError` where only one has an index.
    """
    ref, cand = read_index(reference), read_index(candidate)
    if ref is None and cand is None:
        ref, cand = find_cases(reference), find_cases(candidate)
        if ref is None or cand is None or not ref.keys() & cand.keys():
            return None
    for path, cases, other in ((reference, ref, candidate), (candidate, cand, reference)):
        if cases is None:
            holder = next(iter((cand if ref is None else ref) or {}))
            raise UserError(
                f"{other} holds several captures and {path} does not; give one of them, "
                f"such as {other}/{holder}"
            )
    ref, cand = ref or {}, cand or {}
    names = [*ref, *(name for name in cand if name not in ref)]
    return [CasePair(name, ref.get(name), cand.get(name)) for name in names]


def compare_cases(
    pairs: list[CasePair], compared: Callable[[str, str], Comparison], form: str,
    settings: Settings,
) -> list[Part]:  # fmt: skip
    """The report of every case, in parts. The status is 1 also where a side lacks a case or it
    cannot be opened: its part says so, and the others are compared all the same.
    """
    return [_part(pair, compared, form, settings) for pair in pairs]


def _part(
    pair: CasePair, compared: Callable[[str, str], Comparison], form: str, settings: Settings
) -> Part:
    from ..compare.reports import Part, part_of

    if pair.reference is None or pair.candidate is None:
        side = "reference" if pair.reference is None else "candidate"
        return Part(pair.name, 1, problem=f"the {side} has no such case")
    try:
        comparison = compared(pair.reference, pair.candidate)
    except CaptureError as error:
        return Part(pair.name, 1, problem=str(error))
    return part_of(comparison, form, settings, pair.name)
