"""Two matrices of captures, compared case by case: one part of the report a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..capture.errors import CaptureError
from ..compare.case_pairs import CasePair, case_pairs

if TYPE_CHECKING:
    from ..compare.comparison import Comparison
    from ..compare.reports import Part, Settings

__all__ = ["CasePair", "case_pairs", "compare_cases"]


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
        return Part(pair.name, 1, problem=pair.lacking)
    try:
        comparison = compared(pair.reference, pair.candidate)
    except CaptureError as error:
        return Part(pair.name, 1, problem=str(error))
    return part_of(comparison, form, settings, pair.name)
