"""Numbers, shapes, places and shares as text: reports and screens have them from here, so that the
same number looks the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from ..measuring.metrics import NUMBERS

if TYPE_CHECKING:
    from ...capture.records import Record
    from ..model import Result, Row, Symptom
    from ..vocabulary import MatchedBy

NONE = "-"  # where there is no number, index or record
_WHOLE = 100_000  # whole numbers below are written as such
_NEAR = 1e-3  # a likeness this near to 1 is shown by its distance
_ALL_BUT_SURE = 0.99

MATCH_WORDS: dict[MatchedBy, str] = {
    "name": "same name", "rule": "naming rule", "fused": "part of a fused tensor",
    "order": "order of execution", "content": "values", "hand": "by hand",
}  # fmt: skip


def wrapped(text: str, indent: str = "  ") -> list[str]:
    """A sentence in lines that fit a terminal of 80 columns; names are not broken."""
    return wrap(
        text, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


# Numbers


def number(value: float | None, digits: int = 4) -> str:
    """`3.142e-14`, `0`, `12`; `-` where there is none."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return value_text(value)
    if value == int(value) and abs(value) < _WHOLE:
        return str(int(value))
    return f"{value:.{digits - 1}e}"


def metric_text(name: str, value: float | None, digits: int = 4) -> str:
    """A metric's number. A likeness near 1 is shown by its distance: `1-2.1e-09`."""
    spec = NUMBERS.get(name)
    if value is None or spec is None or spec.greater_is_worse or not math.isfinite(value):
        return number(value, digits)
    distance = 1.0 - value
    if distance == 0:
        return "1"
    return f"1-{distance:.1e}" if 0 < distance < _NEAR else f"{value:.5f}"


def value_text(value: complex | None, digits: int = 6) -> str:
    """A value of a tensor, to read and compare; `-` where there is none."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return str(value)
    if isinstance(value, complex):
        return f"{value.real:.{digits}g}{value.imag:+.{digits}g}j"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Inf" if value > 0 else "-Inf")
    return f"{value:.{digits}g}"


def share_text(count: int, total: int) -> str:
    """`12 (0.3 %)`."""
    return f"{count} ({percent_text(count, total)})" if total else str(count)


def mismatch_text(count: int, total: int) -> str:
    """`12 / 4096 (0.3 %)`, as torch.testing has it."""
    return f"{count} / {total} ({percent_text(count, total)})" if total else f"{count} / {total}"


def percent_text(count: int, total: int) -> str:
    """`0.3 %`; 0 % and 100 % mean none and all."""
    percent = 100.0 * count / total
    if count in (0, total) or 0.01 <= percent <= 99.99:
        return f"{percent:.3g} %"
    return "<0.01 %" if percent < 1 else ">99.99 %"


def sure_text(confidence: float) -> str:
    """`97 % sure`; nothing is all sure."""
    if confidence > _ALL_BUT_SURE:
        return f"over {100 * _ALL_BUT_SURE:.0f} % sure"
    return f"{100 * confidence:.0f} % sure"


# Shapes and places


def shape_text(shape: Sequence[int] | None, unknown: str = "?") -> str:
    """`[1,10,64]`, `[]` for a scalar; `unknown` where the header could not be read."""
    return unknown if shape is None else f"[{','.join(map(str, shape))}]"


def record_shape(record: Record | None) -> str:
    """The shape of a record, `-` where there is none."""
    return NONE if record is None else shape_text(record.shape)


def index_text(index: tuple[int, ...] | None) -> str:
    """`(0, 7, 12)`; `-` where there is none."""
    return NONE if index is None else f"({', '.join(map(str, index))})"


def place_text(
    index: tuple[int, ...] | None, values: tuple[float, float] | None, allowed: float | None = None
) -> str:
    """` at index (0, 7): reference 1.5, candidate 1.25`; nothing where no element was compared.
    With what a tolerance allows ` at index (0, 7) (up to 1e-05 allowed): ...`, as torch.testing
    has it.
    """
    if index is None or values is None:
        return ""
    left, right = (value_text(value, 9) for value in values)
    up_to = "" if allowed is None else f" (up to {allowed:g} allowed)"
    return f" at index {index_text(index)}{up_to}: reference {left}, candidate {right}"


# Parts of dumps, symptoms


def partial_text(row: Row, result: Result) -> str:
    """`partial 100 of 6144` where a dump holds only some of the elements."""
    found = getattr(result, "partial", None) or row.partial  # a failure has none of its own
    return "" if found is None else partial_words(found)


def partial_words(shown: tuple[int, int]) -> str:
    """`partial 100 of 6144`."""
    return "partial {} of {}".format(*shown)


def symptom_lines(symptoms: Sequence[Symptom]) -> list[str]:
    """What a difference looks like, a line a symptom."""
    return [symptom_line(symptom) for symptom in symptoms]


def symptom_line(symptom: Symptom) -> str:
    """`scale, explains 98 %: x1.0100 +- 0.0003 ...`; what explains nothing has no share."""
    if symptom.name in ("none", "noise-like", "other-weights"):
        return f"{symptom.name}: {symptom.evidence}"
    return f"{symptom.name}, explains {100 * symptom.score:.3g} %: {symptom.evidence}"
