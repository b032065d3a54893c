"""What the reports say of the first divergence and of the rows that do not pass, once for all forms
that people read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..measuring.metrics import METRICS
from ..vocabulary import MARKS, NOT_PASSED, Level
from .law_words import labelled_causes
from .nothing_compared import nothing_compared
from .row_report import Fact, RowReport, row_report
from .words import sure_text, symptom_lines

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..model import FirstDivergence

COLUMNS = ("mse", "relative_l2", "max_abs", "cosine")  # of tables, behind the one asked for
BADGES: dict[Level, str] = {
    "pending": "⏳", "missing": "➖", "identical": "🟰", "ok": "✅", "noise": "✅", "drift": "⚠️",
    "diverged": "❌", "shape": "❌", "nan": "❌", "unreadable": "❓",
}  # fmt: skip


def columns_of(metric: str) -> tuple[str, ...]:
    """The metrics of a table, the one asked for first."""
    return tuple(dict.fromkeys((metric, *COLUMNS)))


def headings(columns: Sequence[str]) -> list[str]:
    return [METRICS[name].heading for name in columns]


def word_of(level: Level) -> str:
    """The verdict in the word that all forms have."""
    return MARKS[level][1]


def agreement_of(comparison: Comparison) -> str:
    """`no divergence`, and what makes that say less; or that nothing could be compared."""
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return nothing.line
    doubtful = comparison.counts.doubtful
    if comparison.exit_status():
        why = f"{doubtful} doubtful" if doubtful else "not everything could be compared"
        return f"no divergence found, but {why}"
    less = [] if comparison.same is None else ["the candidate may be the reference itself"]
    less += [f"{doubtful} doubtful"] if doubtful else []
    return f"no divergence, but {' and '.join(less)}" if less else "no divergence"


def first_verdict(first: FirstDivergence) -> str:
    """`DIVERGED (97 % sure)`."""
    word = word_of(first.verdict)
    return word if first.confidence is None else f"{word} ({sure_text(first.confidence)})"


def first_facts(first: FirstDivergence) -> list[Fact]:
    """Its rank, its causes, what the candidate's own model has otherwise, and its symptoms."""
    causes = labelled_causes(first.causes, first.model_difference)
    facts = [Fact("rank", first.rank)] if first.rank else []
    facts += [Fact(label, line) for label, line in causes]
    return facts + [Fact("looks like", line) for line in symptom_lines(first.symptoms)]


def reports_of(comparison: Comparison) -> list[RowReport]:
    """What is known of every row, in execution order; where errors come from and what they do to
    the logits is worked out for that.
    """
    if comparison.complete:
        comparison.analysis()
        comparison.find_effect()
    return [row_report(comparison, row.index) for row in comparison.rows]


def does_not_pass(report: RowReport) -> bool:
    """Whether a row fails, cannot be read, or was not measured."""
    return report.level in NOT_PASSED
