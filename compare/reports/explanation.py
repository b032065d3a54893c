"""`explain`: a layer against its law, with every hypothesis that was tried.

What the report keeps is a summary; here the records are read again and all of it is worked out for
the layers that are asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..inspection.naming import rows_called
from ..laws.wanted_records import records_wanted
from ..model import Cause, explained_share
from ..running.law_checks import scene_of
from .law_words import NO_CAUSE, cause_line, law_lines, percent, short_module

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..laws.causes import Diagnosis
    from ..laws.peers import Judged
    from ..laws.report import LawRow


@dataclass(frozen=True, slots=True)
class Tried:
    """A hypothesis: the candidate's local error with it, and whether nothing sticks out any
    more.
    """

    name: str
    text: str
    candidate: str
    local: float
    explained: float
    restored: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """One quantity of a layer. `law` is None where none applies: `words` then say why, and which
    records would make it possible.
    """

    label: str
    module: str
    words: tuple[str, ...]
    law: LawRow | None = None
    causes: tuple[Cause, ...] = ()
    tried: tuple[Tried, ...] = ()


def explain(
    comparison: Comparison, name: str | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Explained]:  # fmt: skip
    """The quantities of a layer (a module, or a label `module-slot`); without a name those that
    violate their law, and where there are none, all. Reads records.
    """
    wanted = _rows(comparison, name)
    laws = comparison.laws
    if laws is None:
        return []
    known = [index for index in wanted if index in laws.rows]
    judged = _judged(comparison, known, cancelled) if known else {}
    found = [_explained(comparison, i, judged.get(i), cancelled) for i in known]
    if name is not None:
        found += [_unknown(comparison, i) for i in wanted if i not in laws.rows]
    return found


def explain_row(
    comparison: Comparison, index: int, cancelled: Callable[[], bool] | None = None
) -> list[str]:
    """One row in lines, for a screen."""
    laws = comparison.laws
    if laws is None:
        return ["the laws have not been checked yet"]
    if index not in laws.rows:
        return list(_unknown(comparison, index).words)
    judged = _judged(comparison, [index], cancelled)
    return lines_of(_explained(comparison, index, judged.get(index), cancelled))


def _rows(comparison: Comparison, name: str | None) -> list[int]:
    laws = comparison.laws
    if laws is None:
        return []
    if name is None:
        broken = [row.row for row in laws.broken]
        return broken or sorted(laws.rows)
    return [row.index for row in rows_called(comparison, name)]


def _judged(
    comparison: Comparison, rows: Sequence[int], cancelled: Callable[[], bool] | None
) -> dict[int, tuple[Judged, Any]]:
    """The evaluations of all places (their peers are needed), by row, and the scene."""
    from ..laws.evaluate import evaluations
    from ..laws.peers import Peers

    scene = scene_of(comparison.aligned, comparison.results, comparison.models, cancelled)
    assert comparison.laws is not None
    wanted = {comparison.laws.rows[i].kind for i in rows}
    laws = {comparison.laws.rows[i].local.law for i in rows}
    found = evaluations(scene, only=lambda site: site.kind in wanted or site.law in laws)
    by_row: dict[int, tuple[Judged, Any]] = {}
    for judged in Peers(found).judged():
        by_row.setdefault(judged.evaluation.row, (judged, scene))
    return by_row


def _explained(
    comparison: Comparison, index: int, judged: tuple[Judged, Any] | None,
    cancelled: Callable[[], bool] | None,
) -> Explained:  # fmt: skip
    from ..laws.causes import diagnose
    from ..laws.suspects import suspected

    assert comparison.laws is not None
    law = comparison.laws.rows[index]
    tried: tuple[Tried, ...] = ()
    if judged is not None and judged[0].trusted:
        tried = _tried(diagnose(judged[1], suspected(judged[0]) or judged[0], cancelled))
    return Explained(law.label, law.module, tuple(_law_words(law)), law, law.causes or (), tried)


def _law_words(law: LawRow) -> list[str]:
    """All but the causes, which have lines of their own, with what was tried."""
    bare = replace(law, causes=None, model_difference="")
    return [f"{label:10} {words}" for label, words, _ in law_lines(bare)]


def _tried(diagnosis: Diagnosis) -> tuple[Tried, ...]:
    before = diagnosis.judged.evaluation.candidate.total
    found = []
    for trial in diagnosis.trials:
        after = trial.error.total
        explained = explained_share(before, after)
        hypothesis = trial.hypothesis
        found.append(
            Tried(hypothesis.name, hypothesis.text, hypothesis.candidate, after, explained,
                  trial.restored)
        )  # fmt: skip
    return tuple(found)


def _unknown(comparison: Comparison, index: int) -> Explained:
    row = comparison.rows[index]
    words = records_wanted(comparison.rows, row)
    if comparison.models.reference is None:
        words.append("with a checkpoint (--reference-model), projections can be checked as well")
    return Explained(row.label, row.canonical, tuple(words))


def lines_of(explained: Explained) -> list[str]:
    """One quantity in lines."""
    lines = [f"{short_module(explained.module)}  ({explained.label})"]
    lines += [f"  {word}" for word in explained.words]
    lines += [f"  cause      {cause_line(cause)}" for cause in explained.causes]
    law = explained.law
    if law is not None and law.state == "breaks" and not explained.causes:
        lines.append(f"  cause      {NO_CAUSE}")
    if law is not None and law.model_difference:
        lines.append(f"  model      {law.model_difference}")
    if explained.tried and law is not None and law.state == "keeps":
        lines.append("  no mistake is looked for: the candidate satisfies the law")
    elif explained.tried:
        count = len(explained.tried)
        said = "1 hypothesis was" if count == 1 else f"{count} hypotheses were"
        lines.append(f"  {said} tried, best first:")
        for tried in explained.tried[:12]:
            mark = "*" if tried.restored else " "
            lines.append(
                f"  {mark} {tried.name:16} {tried.local:>10.3g} x  {percent(tried.explained):>14}  "
                f"{tried.text}"
            )
        if len(explained.tried) > 12:
            lines.append(f"    and {len(explained.tried) - 12} more")
    return lines


def text_of(found: Iterable[Explained], notes: Sequence[str] = ()) -> str:
    """All of it as text."""
    parts = ["\n".join(lines_of(each)) for each in found]
    parts += ["\n".join(notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def json_of(found: Iterable[Explained]) -> list[dict[str, Any]]:
    """All of it for programs."""
    return [
        {
            "label": each.label,
            "module": each.module,
            "words": list(each.words),
            "law": None if each.law is None else asdict(each.law),
            "causes": [asdict(cause) for cause in each.causes],
            "model_difference": "" if each.law is None else each.law.model_difference,
            "tried": [asdict(tried) for tried in each.tried],
        }
        for each in found
    ]
