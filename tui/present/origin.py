"""Where an error comes from and what it looks like, in the words of the screens.

Nothing here reads a record or works out an analysis: what is not known yet is not said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.model import ByStatistics, FirstDivergence
from ...compare.reports.effect_words import short_effect_line
from ...compare.reports.row_report import WORTH_A_LOOK
from ...compare.reports.words import sure_text
from .text import width_of

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.judging.noise.floor import Floor
    from ...compare.model import Effect
    from ...compare.reports.row_report import RowReport


FIRST = "first divergence"  # how the sentence about it begins


def made_rows(comparison: Comparison) -> list[int]:
    """The failing rows whose error was made there, in order."""
    return [i for i in comparison.failing if comparison.verdicts[i].origin == "made"]


def first_known(comparison: Comparison) -> FirstDivergence | None:
    """The first divergence, without working out what is not known: as long as pairs are measured,
    the row and its verdict only.
    """
    index = comparison.first_index
    if index is None:
        return None
    if comparison.analysed:
        return comparison.first_divergence()
    row, verdict = comparison.rows[index], comparison.verdicts[index]
    left, right = (record.name if record else "" for record in (row.reference, row.candidate))
    return FirstDivergence(
        index, row.canonical, left, right, row.slot, verdict.level, verdict.reason
    )


def first_place(comparison: Comparison, first: FirstDivergence) -> str:
    """`introduced inside layers.3.self_attn`, `introduced in layers.3.mlp.down_proj`, or the module
    alone.
    """
    row, verdict = comparison.rows[first.index], comparison.verdicts[first.index]
    if first.module != row.canonical:
        return f"introduced inside {first.module}"
    return f"introduced in {first.module}" if verdict.origin == "made" else first.module


def first_sentence(comparison: Comparison, first: FirstDivergence) -> str:
    """The first divergence in one line, most telling first: the line may be cut."""
    final = "" if comparison.first_is_final() else " so far, still measuring"
    sure = "" if first.confidence is None else f" ({sure_text(first.confidence)})"
    rank = f"{first.rank}; " if first.rank else ""
    reason = rank + likeness(first) + comparison.verdicts[first.index].reason
    return f"{FIRST}{final}: {first_place(comparison, first)}{sure}: {reason}"


def looks_like(first: FirstDivergence) -> str:
    """`looks like scale`; nothing where a cause is known, which the reason begins with."""
    looks = [s.name for s in first.symptoms if s.name not in ("none", "noise-like")][:1]
    return f"looks like {looks[0]}" if looks and not first.causes else ""


def likeness(first: FirstDivergence) -> str:
    """The same in front of a reason."""
    looks = looks_like(first)
    return f"{looks}: " if looks else ""


def last_words(comparison: Comparison, width: int) -> str:
    """What is said when all is known: what the differences come to in the logits, and the first
    divergence, which the answer has anyway, where both fit into `width` cells. Nothing where
    nothing differs there.
    """
    first, effect = first_known(comparison), comparison.known_effect
    parts = [] if effect is None or _nothing(effect) else [short_effect_line(effect)]
    parts += [] if first is None else [first_sentence(comparison, first)]
    whole = "; ".join(parts)
    return whole if width_of(whole) <= width else parts[0]


def _nothing(effect: Effect) -> bool:
    return effect.logits_kl == 0 and effect.top1_agreement == 1


def symptom_hint(report: RowReport) -> str:
    """How symptoms can be had where they were not worked out, or why there are none."""
    if report.level not in WORTH_A_LOOK or report.level == "shape" or report.symptoms:
        return ""
    if isinstance(report.result, ByStatistics):
        return ""  # there are no values to look at
    if report.symptoms is None:
        return "not diagnosed yet: press S"
    return "unknown: not enough of the tensor could be read"


def ratio_text(floor: Floor | None) -> str:
    """`12.3x`, for the column: the ratio to the baseline, else to the exact capture's."""
    found = None if floor is None else floor.baseline or floor.exact
    if found is None:
        return ""
    return f"{found.ratio:.3g}x" if 1e-3 <= found.ratio < 1000 else f"{found.ratio:.0e}x"
