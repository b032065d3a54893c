"""The results of the laws for a comparison, in words and in the forms of the reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...capture.plurals import counted, which
from ..model import Cause, Counts, FirstDivergence
from .nothing_compared import nothing_compared

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..laws.report import LawRow

NO_CAUSE = "no known mistake explains it"
_LAYER = re.compile(r"^(?:layers?|h|blocks?)\.(\d+)(?:\.|$)")


def short_module(module: str) -> str:
    """`L3 self_attn.q_norm` for `layers.3.self_attn.q_norm`."""
    layer = _LAYER.match(module)
    if layer is None:
        return module
    return f"L{layer[1]} {module[layer.end() :]}".strip()


def percent(share: float) -> str:
    """A share with as many nines as it has: 96.8 %, 99.99 %; never 100 % where something is
    left.
    """
    if share >= 1.0:
        return "100 %"
    if share < 0.99:
        return f"{100 * share:.3g} %"
    for digits in range(1, 7):
        text = f"{100 * share:.{digits}f}"
        if not text.startswith("100"):
            return f"{text} %"
    return "over 99.9999 %"


def headline(comparison: Comparison) -> str:
    """The answer in one line: the first divergence and its cause; where there is none, how far off
    the worst layer is; where nothing could be compared, that.
    """
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return nothing.line
    first = comparison.first_divergence()
    return agreement(comparison).words[0] if first is None else first_line(first)


LEAST_COVERAGE = 0.5  # of the outputs, below which "no divergence" is weak evidence


@dataclass(frozen=True, slots=True)
class Agreement:
    """That nothing diverges among what is known: `words` from the longest form to the shortest;
    `doubts`: not everything could be compared.
    """

    words: tuple[str, ...]
    doubts: bool = False


def agreement(comparison: Comparison, counts: Counts | None = None) -> Agreement:
    """What there is to say where nothing diverges; what could not be compared is never left out.
    `counts` are the comparison's, where they are known.
    """
    counts = counts or comparison.counts
    levels = comparison.level_counts()
    if levels.get("pending"):
        total = comparison.to_measure
        done = total - levels["pending"]
        return Agreement((f"no divergence so far, in {done} of {total} pairs",))
    sentence = f"no divergence in {counted(counts.pairs, 'pair')}"
    doubts = []
    if levels.get("unreadable"):
        doubts.append(f"{levels['unreadable']} cannot be read")
    if comparison.same is not None:
        doubts.append(comparison.same.short)
    if counts.doubtful:
        doubts.append(f"{counts.doubtful} of them {which(counts.doubtful, 'is', 'are')} doubtful")
    if counts.coverage is not None and counts.coverage < LEAST_COVERAGE:
        doubts.append(f"only {counts.coverage:.0%} of the outputs are paired")
    sentence += f", but {' and '.join(doubts)}" if doubts else ""
    if comparison.laws is not None and not comparison.judges_by_laws:
        broken = [row for row in comparison.laws.rows.values() if row.state == "breaks"]
        if broken:  # a policy that looks at sizes alone lets it pass
            name = short_module(broken[0].module)
            forms = (f"{sentence}; but {name} is not what its own inputs imply",
                     f"{sentence}; but {name} breaks its law", sentence)  # fmt: skip
            return Agreement(forms, True)
    worst = worst_row(comparison)
    if worst is None:
        return Agreement((sentence,), bool(doubts))
    times, row = worst
    size, name = f"{times:.2g} x", short_module(row.module)
    forms = (
        f"{sentence}; the worst is {size} its typical rounding, {name}",
        f"{sentence}; worst {size} typical rounding, {name}",
        f"{sentence}; worst {size} typical, {name}",
        sentence,
    )
    return Agreement(forms, bool(doubts))


def first_line(first: FirstDivergence) -> str:
    """`L0 self_attn.q_norm  eps 0 where the reference has 1e-2, explains 99.99 %`."""
    name = short_module(first.module)
    if first.causes:
        cause = first.causes[0]
        return f"{name}  {cause.text}, explains {percent(cause.explained)}"
    return f"{name}  {first.reason}"


def worst_row(comparison: Comparison) -> tuple[float, LawRow] | None:
    """The layer that satisfies its law with the greatest local error over its typical one."""
    if comparison.laws is None:
        return None
    kept = [
        (row.local.candidate / row.local.usual_candidate, row)
        for row in comparison.laws.rows.values()
        if row.state == "keeps" and row.local.usual_candidate > 0
    ]
    return max(kept, key=lambda pair: pair[0], default=None)


def cause_line(cause: Cause) -> str:
    """A cause with its numbers."""
    sure = f" (± {cause.uncertainty})" if cause.uncertainty and "±" not in cause.text else ""
    return (
        f"{cause.name}: {cause.text}{sure}; explains {percent(cause.explained)} of the local error "
        f"({cause.before:.3g} -> {cause.after:.3g} x its rounding, typically {cause.usual:.3g} x)"
    )


def cause_lines(causes: Sequence[Cause] | None) -> list[str]:
    """The causes of a finding, best first; what is printed where none was found."""
    if causes is None:
        return []
    return [cause_line(cause) for cause in causes] or [NO_CAUSE]


def labelled_causes(
    causes: Sequence[Cause] | None, model_difference: str = ""
) -> list[tuple[str, str]]:  # fmt: skip
    """The same with a label, and what the candidate's own model has otherwise, which may be why."""
    lines = [("or" if at else "cause", line) for at, line in enumerate(cause_lines(causes))]
    return lines + ([("model", model_difference)] if model_difference else [])


def law_lines(row: LawRow) -> list[tuple[str, str, bool]]:
    """A row against its law: label, words, and whether that is what is wrong. The law and whether
    it is kept, the causes, both sides' local errors, what they are held against.
    """
    breaks = row.state == "breaks"
    lines = [("law", f"{row.local.law}: {state_words(row)}", breaks)]
    for at, line in enumerate(cause_lines(row.causes)):
        lines.append(("or" if at else "cause", line, breaks))
    if row.model_difference:
        lines.append(("model", row.model_difference, False))
    lines += [(label, words, False) for label, words in local_errors(row)]
    if row.parameters:
        words = ", ".join(f"{name} {value}" for name, value in row.parameters)
        lines.append(("parameters", words, False))
    sampled, total = row.sampled
    if total:
        words = f"{sampled} of {total} rows" if sampled < total else f"all {total} rows"
        lines.append(("checked", words, False))
    lines += [("" if at else "derived", words, False) for at, words in enumerate(row.derived)]
    return lines


def state_words(row: LawRow) -> str:
    """Whether the candidate satisfies the law of its module."""
    return {
        "keeps": "satisfied by the candidate",
        "breaks": f"violated by the candidate: {row.where}, {row.excess:.3g} x the limit",
        "unknown": "violated by the reference itself, so it says nothing about the candidate",
    }[row.state]


def local_errors(row: LawRow) -> list[tuple[str, str]]:
    """The local errors of both sides, in units of predicted rounding."""
    local = row.local
    return [
        (label, f"{error:.3g} x its rounding, typically {usual:.3g} x; relative error {size:.2g}")
        for label, error, usual, size in (
            ("local ref", local.reference, local.usual_reference, row.relative[0]),
            ("local cand", local.candidate, local.usual_candidate, row.relative[1]),
        )
    ]


def finding_lines(comparison: Comparison) -> list[str]:
    """Every divergence that was made where it shows, where there is more than one."""
    found = comparison.findings()
    if len(found) < 2:
        return []
    lines = [f"{number}. {_whole_line(first)}" for number, first in enumerate(found[:20], 1)]
    return lines + ([f"and {len(found) - 20} more"] if len(found) > 20 else [])


def _whole_line(first: FirstDivergence) -> str:
    model = f"; {first.model_difference}" if first.model_difference else ""
    return first_line(first) + model


def row_json(comparison: Comparison, index: int) -> dict[str, Any]:
    """What JSON has of a row besides its verdict."""
    law = comparison.law_row(index)
    causes = comparison.causes(index)
    return {
        "local": None if law is None else asdict(law.local),
        "causes": None if causes is None else [asdict(cause) for cause in causes],
        "model_difference": "" if law is None else law.model_difference,
        "by_statistics": comparison.verdicts[index].by_statistics,
        "derived_inputs": list(comparison.derived(index)),
    }
