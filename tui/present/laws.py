"""What the laws say of a row, in the words of the screens.

Nothing here reads a record: what is not worked out yet is not said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...compare.reports.law_words import percent
from .field import Field

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.laws.report import LawRow
    from ...compare.model import Cause

NO_LAWS_YET = "the layers were not held against their laws yet; Ctrl-R on the list does that"
_NO_CAUSE = "no known mistake explains it"


def local_text(comparison: Comparison, index: int) -> str:
    """`1.1x`, for the column: the candidate's local error over what is usual; `?` where the
    reference does not keep to the law, nothing where no law applies.
    """
    row = comparison.law_row(index)
    if row is not None and row.state == "unknown":
        return "?"
    local = comparison.locals.get(index) if row is None else row.local
    return "" if local is None else times_text(local.candidate, local.usual_candidate)


def times_text(error: float, usual: float) -> str:
    """`1.1x`: at most seven cells; nothing where the usual error is not known yet."""
    if math.isnan(error):
        return "nan"
    if error == 0:
        return "0x"
    if usual <= 0:
        return ""
    times = error / usual
    if math.isinf(times):
        return "inf"
    if times >= 1000:
        return f"{times:.0e}x"
    return f"{times:.0f}x" if times >= 100 else f"{times:.1f}x"


def breaks_law(comparison: Comparison, index: int) -> bool:
    """Whether the candidate does not keep to the row's law."""
    row = comparison.law_row(index)
    return row is not None and row.state == "breaks"


def law_fields(comparison: Comparison, index: int) -> list[Field]:
    """The law of a row, its causes, both sides' local errors, and what they are held against."""
    row = comparison.law_row(index)
    if row is None:
        return []
    local, level = row.local, ("diverged" if row.state == "breaks" else None)
    fields = [Field("law", f"{local.law}: {_state_words(row)}", level), *cause_fields(row)]
    if row.model_difference:
        fields.append(Field("model", row.model_difference))
    for label, error, usual, relative in (
        ("local ref", local.reference, local.usual_reference, row.relative[0]),
        ("local cand", local.candidate, local.usual_candidate, row.relative[1]),
    ):
        words = f"{error:.3g} x its rounding, {usual:.3g} x is usual; relative {relative:.2g}"
        fields.append(Field(label, words))
    if row.parameters:
        words = ", ".join(f"{name} {value}" for name, value in row.parameters)
        fields.append(Field("ref has", words))
    sampled, total = row.sampled
    if total:
        fields.append(Field("looked at", f"{sampled} of {total} rows"))
    fields += [Field("derived" if at == 0 else "", words) for at, words in enumerate(row.derived)]
    return fields


def cause_fields(row: LawRow) -> list[Field]:
    """What explains a local error that sticks out, the best first."""
    if row.causes is None:
        return []
    if not row.causes:
        return [Field("cause", _NO_CAUSE, "diverged")]
    fields: list[Field] = []
    for at, cause in enumerate(row.causes):
        fields.append(Field("or" if at else "cause", cause.text, "diverged"))
        fields.append(Field("", change_words(cause)))
    return fields


def change_words(cause: Cause) -> str:
    """`eps: 1e-5 -> 0 (+- 1e-9); local error 4e+04 -> 1.4, explains 99.99 %`."""
    change = ""
    if cause.parameter and (cause.reference or cause.candidate):
        sure = _uncertainty(cause.uncertainty)
        change = f"{cause.parameter}: {cause.reference} -> {cause.candidate}{sure}; "
    return (
        f"{change}local error {cause.before:.3g} -> {cause.after:.3g}, "
        f"explains {percent(cause.explained)}"
    )


def _uncertainty(text: str) -> str:
    """A number, or words such as `below 1e-9`."""
    if not text:
        return ""
    return f" (+- {text})" if text[0].isdigit() else f" ({text})"


def _state_words(row: LawRow) -> str:
    if row.state == "breaks":
        return f"broken, {row.where}, {row.excess:.3g} x the limit"
    if row.state == "keeps":
        return "kept to"
    return "the reference does not keep to it: nothing is said of the candidate"
