"""Everything known of one row, as text: for export and the clipboard."""

from __future__ import annotations

from ...capture.records import Record
from ..comparison import Comparison
from ..model import Failure, Measurement, Row, SideStatistics, verdict_word
from ..symptoms.thumb import rules_of_thumb
from ..vocabulary import origin_words
from .escaping import clean
from .law_words import labelled_causes, local_lines
from .summary import recorded_statistics
from .words import number, partial_text, shape_text, symptom_lines


def row_text(
    comparison: Comparison, index: int, row: Row | None = None,
    result: Measurement | Failure | None = None,
) -> str:  # fmt: skip
    """Everything known of one row, as text: for export and the clipboard.

    `row` and `result` replace those of the comparison, where other recipes are tried.
    """
    if row is None:
        row, result = comparison.rows[index], comparison.measurements[index]
    verdict = comparison.verdict_of(row, result)
    step = f", step {row.step}" if row.step else ""
    lines = [f"{row.label} (row {index}{step}): {verdict_word(verdict)}"]
    if verdict.reason:
        lines.append(f"  reason     {verdict.reason}")
    if comparison.policy.name == "noise" and not comparison.complete:
        lines.append("  so far     judged by its dtype alone: the other rows are not measured")
    if verdict.fails:
        lines += _origin_lines(comparison, index)
    law = comparison.law_row(index)
    if law is not None and row is comparison.rows[index]:
        lines += [f"  {line}" for line in local_lines(law) if not line.startswith("reference")]
        lines += [
            f"  {label:10} {line}"
            for label, line in labelled_causes(law.causes, law.model_difference)
        ]
    floor = comparison.floors.get(index)
    if floor is not None and row is comparison.rows[index]:
        lines += [f"  {label:10} {line}" for label, line in floor.lines]
    for word, record, recipe in (
        ("reference", row.reference, row.recipe_reference),
        ("candidate", row.candidate, row.recipe_candidate),
    ):
        lines += _record_lines(word, record, recipe)
    if row.kind == "pair":
        lines.append(f"  matched    by {row.matched_by}: {row.how}")
    partial = partial_text(row, result)
    if partial:
        lines.append(f"  {partial}: compared on the elements that both dumps show")
    if isinstance(result, Measurement):
        lines += metric_lines(result)
    else:
        lines += _recorded_table(row)
    return "\n".join(clean(line) for line in lines) + "\n"


def _origin_lines(comparison: Comparison, index: int) -> list[str]:
    """Where the error of a failing row comes from and what it looks like, if that is known."""
    lines: list[str] = []
    if comparison.complete:  # which all of its neighbours are needed for
        origin, sure = comparison.origin(index), comparison.analysis().confidence(index)
        words = origin_words(comparison.verdicts[index].level, origin)
        if words:
            share = "" if sure is None else f", confidence {sure:.0%}"
            lines.append(f"  origin     {words}{share}")
    for line in symptom_lines(comparison.known_symptoms(index)):
        lines.append(f"  looks like {line}")
    return lines + [
        f"  usually    {line}" for line in rules_of_thumb(comparison.measurements[index])
    ]


def _record_lines(word: str, record: Record | None, recipe: str) -> list[str]:
    if record is None:
        return [f"  {word}  none"]
    lines = [f"  {word}  {record.name}  {shape_text(record)} {record.dtype or '?'}"]
    lines.append(f"             {record.path}" + (f" [{record.key}]" if record.key else ""))
    if record.module_class:
        lines.append(f"             class {record.module_class}")
    if recipe:
        lines.append(f"             recipe {recipe}")
    if record.error:
        lines.append(f"             unreadable: {record.error}")
    return lines


def metric_lines(result: Measurement) -> list[str]:
    """The numbers of a pair, a few to a line, and both sides' statistics as a table."""
    lines = [f"  view       {list(result.shape)}, {result.count} elements"]
    lines.append(
        "  error      "
        + "  ".join(f"{name} {_metric(result, name)}" for name in ("mse", "rmse", "nmse"))
    )
    lines.append(
        "             "
        + "  ".join(f"{n} {_metric(result, n)}" for n in ("relative_l2", "mean_abs", "sqnr_db"))
    )
    lines.append(f"  likeness   cosine {_unit(result.cosine)}  pearson {_unit(result.pearson)}")
    for name in ("max_abs", "max_rel"):
        lines.append(f"  {name}    {_extreme(result, name)}")
    if result.ulp is not None:
        lines.append(f"  ulp        {result.ulp:.3g} at most")
    lines.append(
        f"  mismatched {result.mismatched} of {result.count} at rtol {result.rtol:g}, "
        f"atol {result.atol:g}"
    )
    if result.scale is not None:
        error = "" if result.scale_se is None else f" +- {result.scale_se:.1e}"
        lines.append(
            f"  fit        candidate = {result.scale:.7f}{error} x reference + "
            f"{number(result.offset)}, residual {number(result.fit_residual)}"
        )
    if result.nonfinite_mismatch:
        lines.append(f"  NaN or Inf at {result.nonfinite_mismatch} places on one side only")
    lines += _side_table(result.reference, result.candidate)
    lines += [f"  {name} is absent: {why}" for name, why in result.reasons.items() if name != "ulp"]
    return lines


def _metric(result: Measurement, name: str) -> str:
    value = getattr(result, name)
    return "-" if value is None else ("0" if value == 0 else f"{value:.6g}")


def _unit(value: float | None) -> str:
    return "-" if value is None else f"{value:.10f}"


def _extreme(result: Measurement, name: str) -> str:
    value = getattr(result, name)
    index, values = getattr(result, f"{name}_index"), getattr(result, f"{name}_values")
    if value is None or index is None or values is None:
        return "-"
    return f"{value:.6g} at {list(index)}: reference {values[0]:.9g}, candidate {values[1]:.9g}"


def _recorded_table(row: Row) -> list[str]:
    """Statistics that the captures hold themselves, where no values could be compared."""
    ref, cand = recorded_statistics(row.reference), recorded_statistics(row.candidate)
    none = SideStatistics(None, None, None, None, None, 0, 0, 0)
    return _side_table(ref or none, cand or none) if ref or cand else []


def _side_table(ref: SideStatistics | None, cand: SideStatistics | None) -> list[str]:
    if ref is None or cand is None:
        return []
    lines = [f"  {'':10} {'reference':>16} {'candidate':>16}"]
    for name in ("min", "max", "mean", "std", "l2"):
        a, b = getattr(ref, name), getattr(cand, name)
        left, right = ("-" if v is None else f"{v:.8g}" for v in (a, b))
        lines.append(f"  {name:10} {left:>16} {right:>16}")
    for name in ("nan", "inf", "zeros"):
        lines.append(f"  {name:10} {getattr(ref, name):>16} {getattr(cand, name):>16}")
    return lines
