"""A row in words and numbers: short fields for the pane beside the list, a page for one pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.measuring.metrics import METRICS
from ...compare.model import Failure, Measurement, Row, SideStatistics, Verdict
from ...compare.reports.summary import recorded_statistics
from ..theme import LOOKS
from .field import Field
from .laws import law_fields
from .origin import judged_fields, verdict_origin
from .text import clean, dtype_text, metric_number, number, precise, shape_text, short

if TYPE_CHECKING:
    from ...capture.records import Record
    from ...compare.comparison import Comparison
    from ..pair.scene import Scene

_MATCH_WORDS = {
    "name": "same name", "rule": "naming rule", "fused": "part of a fused tensor",
    "order": "order of execution", "content": "content", "hand": "by hand",
}  # fmt: skip


def verdict_text(comparison: Comparison, index: int) -> str:
    """`DIVERGED  relative L2 is 1e-2`; what is not measured yet says so."""
    return verdict_words(comparison.verdicts[index])


def verdict_words(verdict: Verdict) -> str:
    """The same for a verdict that is not one of a comparison's rows."""
    if verdict.level == "pending":
        return "not measured yet"
    word = "doubtful" if verdict.doubtful else LOOKS[verdict.level].word
    origin = verdict_origin(verdict)
    word += f" {origin}" if origin else ""
    reason = verdict.doubtful or verdict.reason
    return f"{word}  {reason}" if reason else word


def gap_text(row: Row) -> str:
    """Which side has no partner."""
    side = "candidate" if row.kind == "gap_reference" else "reference"
    return f"nothing in the {side} goes with it"


def index_text(index: tuple[int, ...] | None) -> str:
    return "" if index is None else "(" + ", ".join(map(str, index)) + ")"


def record_text(record: Record) -> str:
    """`name  [1,10,64] f32`."""
    parts = [record.name, f"{shape_text(record.shape)} {dtype_text(record.dtype)}".strip()]
    if record.partial is not None:
        parts.append("partial {} of {}".format(*record.partial))
    return "  ".join(part for part in parts if part)


def measured(comparison: Comparison, index: int) -> Measurement | None:
    found = comparison.measurements[index]
    return found if isinstance(found, Measurement) else None


def summary(comparison: Comparison, index: int) -> str:
    """One line, for screens that have no room for the pane."""
    row = comparison.rows[index]
    parts = [row.label, verdict_text(comparison, index)]
    numbers = measured(comparison, index)
    if row.kind != "pair":
        parts.append(gap_text(row))
    if numbers is not None:
        parts.append(f"max abs {number(numbers.max_abs)} {index_text(numbers.max_abs_index)}")
    shapes = [shape_text(r.shape) for r in (row.reference, row.candidate) if r is not None]
    parts.append(" ".join(dict.fromkeys(shapes)))
    return clean("  ".join(part.strip() for part in parts if part.strip()))


def pane_fields(comparison: Comparison, index: int) -> list[Field]:
    """What the pane shows, most telling first."""
    row = comparison.rows[index]
    level = comparison.verdicts[index].level
    fields = [Field("row", f"{row.index}  {row.label}")]
    fields.append(Field("verdict", verdict_text(comparison, index), level))
    if row.kind != "pair":
        fields.append(Field("gap", gap_text(row)))
    found = comparison.measurements[index]
    problem = found.reason if isinstance(found, Failure) else row.problem
    if problem and problem not in fields[1].value:
        fields.append(Field("problem", problem, level))
    fields += law_fields(comparison, index)
    fields += judged_fields(comparison, index)
    if isinstance(found, Measurement):
        fields += _number_fields(found)
    fields += _side_fields(row)
    for label, side in zip(
        ("ref values", "cand values"), sides_statistics(row, measured(comparison, index)),
        strict=True,
    ):  # fmt: skip
        if side is not None:
            fields.append(Field(label, _statistics_text(side)))
    fields += _match_fields(row)
    return [Field(f.label, clean(f.value), f.level) for f in fields]


def _number_fields(numbers: Measurement) -> list[Field]:
    values = numbers.max_abs_values
    relative = numbers.max_rel_values
    fields = [
        Field("MSE", f"{number(numbers.mse):<11}rel L2  {number(numbers.relative_l2)}"),
        Field(
            "cosine",
            f"{metric_number('cosine', numbers.cosine):<11}NMSE    {number(numbers.nmse)}",
        ),
        Field("max abs", f"{number(numbers.max_abs):<11}at {index_text(numbers.max_abs_index)}"),
        Field("", f"{precise(values[0])} vs {precise(values[1])}" if values else ""),
        Field("max rel", f"{number(numbers.max_rel):<11}at {index_text(numbers.max_rel_index)}"),
        Field("", f"{precise(relative[0])} vs {precise(relative[1])}" if relative else ""),
        Field("ULP", f"{number(numbers.ulp):<11}{_mismatch_text(numbers)}"),
        Field("scale", _scale_text(numbers)),
    ]
    if numbers.nonfinite_mismatch:
        fields.append(Field("NaN or Inf", f"{numbers.nonfinite_mismatch} only on one side", "nan"))
    if numbers.partial is not None:
        fields.append(Field("partial", "{} of {} elements".format(*numbers.partial)))
    return [f for f in fields if f.label or f.value]


def _mismatch_text(numbers: Measurement) -> str:
    share = numbers.mismatched_fraction
    percent = "" if share is None else f" ({share:.2%})"
    return f"{numbers.mismatched} of {numbers.count} mismatch{percent}"


def _scale_text(numbers: Measurement) -> str:
    if numbers.scale is None:
        return "--"
    error = "" if numbers.scale_se is None else f" +- {numbers.scale_se:.1e}"
    return f"{numbers.scale:.6g}{error}"


def _statistics_text(side: SideStatistics | None) -> str:
    if side is None:
        return "--"
    bad = f"  NaN {side.nan}  Inf {side.inf}" if side.nan or side.inf else ""
    return f"{short(side.min)} .. {short(side.max)}  std {short(side.std)}{bad}"


def _side_fields(row: Row) -> list[Field]:
    fields = []
    for label, record in (("reference", row.reference), ("candidate", row.candidate)):
        if record is not None:
            fields.append(Field(label, record_text(record)))
            if record.error is not None:
                fields.append(Field("", record.error, "unreadable"))
    return fields


def _match_fields(row: Row) -> list[Field]:
    fields = []
    recipes = (("ref recipe", row.recipe_reference), ("cand recipe", row.recipe_candidate))
    fields += [Field(label, recipe) for label, recipe in recipes if recipe]
    if row.matched_by is not None:
        how = _MATCH_WORDS.get(row.matched_by, row.matched_by)
        fields.append(Field("matched by", f"{how}: {row.how}" if row.how else how))
    return fields


def page_fields(scene: Scene) -> list[tuple[str, list[Field]]]:
    """Everything about one pair, in titled sections, for a screen of its own."""
    row, found, verdict = scene.row, scene.measurement, scene.verdict
    head = [Field("verdict", verdict_words(verdict), verdict.level)]
    if row.kind != "pair":
        head.append(Field("gap", gap_text(row)))
    if scene.problem and scene.problem not in head[0].value:
        head.append(Field("problem", scene.problem, verdict.level))
    head += _judged(scene)
    sections = [("", head)]
    if isinstance(found, Measurement):
        sections.append(("Numbers", _all_numbers(found)))
    sections.append(("Matched", _match_fields(row) or [Field("matched by", "not paired")]))
    if isinstance(found, Measurement) and found.reasons:
        reasons = [Field(name, reason) for name, reason in sorted(found.reasons.items())]
        sections.append(("Not computed", reasons))
    return [
        (title, [Field(f.label, clean(f.value), f.level) for f in fields])
        for title, fields in sections
    ]


def _judged(scene: Scene) -> list[Field]:
    """What is known of the row as it was aligned beside its numbers; nothing of a trial's."""
    if scene.trial is not None or scene.injected is not None:
        return []
    comparison, index = scene.comparison, scene.index
    return law_fields(comparison, index) + judged_fields(comparison, index)


def _all_numbers(numbers: Measurement) -> list[Field]:
    fields = [
        Field(METRICS[name].heading, metric_number(name, numbers.metric(name)))
        for name in ("mse", "nmse", "relative_l2", "cosine")
    ]
    fields.append(Field("RMSE", number(numbers.rmse)))
    fields.append(Field("pearson", metric_number("cosine", numbers.pearson)))
    fields.append(Field("SQNR dB", short(numbers.sqnr_db)))
    fields.append(Field("mean abs", number(numbers.mean_abs)))
    for name, index, values in (
        ("max_abs", numbers.max_abs_index, numbers.max_abs_values),
        ("max_rel", numbers.max_rel_index, numbers.max_rel_values),
    ):
        place = f"  at {index_text(index)}" if index is not None else ""
        pair = f"  {precise(values[0])} vs {precise(values[1])}" if values else ""
        fields.append(Field(METRICS[name].heading, f"{number(numbers.metric(name))}{place}{pair}"))
    fields.append(Field("ULP", number(numbers.ulp)))
    tolerances = f"  rtol {number(numbers.rtol)}  atol {number(numbers.atol)}"
    fields.append(Field("mismatched", _mismatch_text(numbers) + tolerances))
    fields.append(Field("scale", _scale_text(numbers)))
    fields.append(Field("offset", precise(numbers.offset)))
    fields.append(Field("fit residual", number(numbers.fit_residual)))
    fields.append(Field("compared", f"{numbers.compared} of {numbers.count} elements, "
                                    f"{shape_text(numbers.shape)}"))  # fmt: skip
    if numbers.nonfinite_mismatch:
        fields.append(Field("NaN or Inf", f"{numbers.nonfinite_mismatch} only on one side", "nan"))
    if numbers.partial is not None:
        fields.append(Field("partial", "{} of {} elements".format(*numbers.partial)))
    return fields


def sides_statistics(
    row: Row, numbers: Measurement | None
) -> tuple[SideStatistics | None, SideStatistics | None]:
    """Statistics of both sides: measured, else those that a capture holds without values."""
    if numbers is not None:
        return numbers.reference, numbers.candidate
    return recorded_statistics(row.reference), recorded_statistics(row.candidate)


def side_table(scene: Scene) -> list[tuple[str, str, str]]:
    """Label, reference, candidate: what both sides are and hold."""
    row, numbers = scene.row, scene.numbers
    left, right = row.reference, row.candidate
    table = [("name", *(_or_gap(r and r.name) for r in (left, right)))]
    table.append(("shape", *(_or_gap(r and shape_text(r.shape)) for r in (left, right))))
    table.append(("dtype", *(_or_gap(r and r.dtype) for r in (left, right))))
    if any(r is not None and r.module_class for r in (left, right)):
        table.append(("class", *(_or_gap(r and r.module_class) for r in (left, right))))
    table.append(("file", *(_or_gap(r and r.path) for r in (left, right))))
    for r in (left, right):
        if r is not None and r.error is not None:
            table.append(("error", *(_or_gap(s and s.error) for s in (left, right))))
            break
    sides = sides_statistics(row, numbers)
    if any(sides):
        for name in ("min", "max", "mean", "std", "l2"):
            table.append((name, *(precise(getattr(s, name)) if s else "--" for s in sides)))
        for name in ("nan", "inf", "zeros"):
            label = {"nan": "NaN", "inf": "Inf"}.get(name, name)
            table.append((label, *(str(getattr(s, name)) if s else "--" for s in sides)))
    return [(label, clean(a), clean(b)) for label, a, b in table]


def _or_gap(text: str | None) -> str:
    return text or "--"
