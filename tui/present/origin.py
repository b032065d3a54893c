"""Where an error comes from and what it looks like, in the words of the screens.

Nothing here reads a record or works out an analysis: what is not known yet is not said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...compare.matching.canonical import ROOT
from ...compare.matching.roles import role_of
from ...compare.model import FirstDivergence
from ...compare.reports.effect_words import effect_line, short_effect_line
from ...compare.reports.words import symptom_lines
from ...compare.symptoms.thumb import rules_of_thumb
from ...compare.vocabulary import origin_words
from .field import Field

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ...compare.judging.noise_floor import Floor
    from ...compare.model import Effect, Verdict
    from ...compare.vocabulary import Level

_WORTH_A_LOOK: frozenset[Level] = frozenset({"noise", "drift", "diverged", "nan"})


def origin_word(verdict: Verdict) -> str:
    """Where the error of a failing row comes from (see `origin_words`)."""
    return origin_words(verdict.level, verdict.origin) if verdict.fails else ""


def verdict_origin(verdict: Verdict) -> str:
    """`made here (97 % sure)`, or nothing."""
    word = origin_word(verdict)
    sure = verdict.confidence
    return f"{word} ({sure_text(sure)})" if word and sure is not None else word


def analysed_origin(comparison: Comparison, index: int) -> str:
    """The same for a failing row under a policy that does not ask where errors come from, once
    everything is measured.
    """
    verdict = comparison.verdicts[index]
    if not verdict.fails or verdict.origin is not None or not comparison.analysed:
        return ""
    sure = comparison.analysis().confidence(index)
    return verdict_origin(replace(verdict, origin=comparison.origin(index), confidence=sure))


def sure_text(confidence: float) -> str:
    """`97 % sure`; nothing is all sure."""
    return "over 99 % sure" if confidence > 0.99 else f"{100 * confidence:.0f} % sure"


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
    """`made inside layers.3.self_attn`, `made in layers.3.mlp.down_proj`, or the module alone."""
    row, verdict = comparison.rows[first.index], comparison.verdicts[first.index]
    if first.module != row.canonical:
        return f"made inside {first.module}"
    return f"made in {first.module}" if verdict.origin == "made" else first.module


def first_sentence(comparison: Comparison, first: FirstDivergence) -> str:
    """The first divergence in one line, most telling first: the line may be cut."""
    final = "" if comparison.first_is_final() else " so far, still measuring"
    sure = "" if first.confidence is None else f" ({sure_text(first.confidence)})"
    reason = likeness(first) + comparison.verdicts[first.index].reason
    return f"first divergence{final}: {first_place(comparison, first)}{sure}: {reason}"


def likeness(first: FirstDivergence) -> str:
    """`looks like scale: `; nothing where a cause is known, which the reason begins with."""
    looks = [s.name for s in first.symptoms if s.name not in ("none", "noise-like")][:1]
    return f"looks like {looks[0]}: " if looks and not first.causes else ""


def last_words(comparison: Comparison) -> str:
    """What is said when all is known: what the differences come to in the logits, and the first
    divergence. Nothing where nothing differs there.
    """
    first, effect = first_known(comparison), comparison.known_effect
    parts = [] if effect is None or _nothing(effect) else [short_effect_line(effect)]
    parts += [] if first is None else [first_sentence(comparison, first)]
    return "; ".join(parts)


def _nothing(effect: Effect) -> bool:
    return effect.logits_kl == 0 and effect.top1_agreement == 1


def effect_fields(comparison: Comparison, index: int) -> list[Field]:
    """The same for a row of logits, in full."""
    row, effect = comparison.rows[index], comparison.known_effect
    if effect is None or row.role != "output":
        return []
    record = row.reference or row.candidate
    role = role_of(row.canonical, record.module_class if record is not None else None)
    if role != "head" and not (row.canonical == ROOT and "hidden" not in row.slot):
        return []
    return [Field("effect", effect_line(effect))]


def judged_fields(comparison: Comparison, index: int) -> list[Field]:
    """Origin, symptoms, rules of thumb and what further captures say of a row."""
    fields: list[Field] = []
    words = analysed_origin(comparison, index)
    if words:
        fields.append(Field("origin", words, comparison.verdicts[index].level))
    floor = comparison.floors.get(index)
    fields += [] if floor is None else [Field(label, line) for label, line in floor.lines]
    fields += effect_fields(comparison, index)
    return fields + symptom_fields(comparison, index)


def symptom_fields(comparison: Comparison, index: int) -> list[Field]:
    """What the difference looks like, where that was worked out, and how it can be where it was
    not; then the rules of thumb.
    """
    level = comparison.verdicts[index].level
    if level not in (*_WORTH_A_LOOK, "shape"):
        return []
    lines = symptom_lines(comparison.known_symptoms(index))
    if not lines and level != "shape":
        lines = ["not worked out yet: S does"]
        if comparison.has_symptoms(index):
            lines = ["cannot be told: too little of it can be read"]
    fields = [Field("looks like" if at == 0 else "", line) for at, line in enumerate(lines)]
    hints = rules_of_thumb(comparison.measurements[index])
    return fields + [Field("usually" if at == 0 else "", hint) for at, hint in enumerate(hints)]


def ratio_text(floor: Floor | None) -> str:
    """`12.3x`, for the column: the ratio to the baseline, else to the exact capture's."""
    found = None if floor is None else floor.baseline or floor.exact
    if found is None:
        return ""
    return f"{found.ratio:.3g}x" if 1e-3 <= found.ratio < 1000 else f"{found.ratio:.0e}x"
