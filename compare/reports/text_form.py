"""Reports of a comparison: text to read, JSON and CSV for programs, one row whole for export."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from ...capture.records import Capture, Record
from ...capture.sizes import byte_text
from ..comparison import Comparison
from ..model import (
    Failure,
    FirstDivergence,
    Measurement,
    Row,
    SideStatistics,
    Symptom,
    Verdict,
    verdict_word,
)
from ..symptoms.thumb import rules_of_thumb
from ..vocabulary import MARKS, METRICS, origin_words
from .effect_words import effect_json, effect_line
from .escaping import clean
from .law_words import finding_lines, headline, labelled_causes, local_lines, row_json
from .summary import components, recorded_statistics, spread

SCHEMA = "layertui.compare/1"


def number(value: float | None) -> str:
    """A number as reports show it; `-` when there is none."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.3e}"


def shape_text(record: Record | None) -> str:
    """`[1, 10, 64]`, `?` when the header could not be read."""
    if record is None:
        return "-"
    return "?" if record.shape is None else str(list(record.shape)).replace(" ", "")


def partial_text(row: Row, result: Measurement | Failure | None) -> str:
    """`partial 100 of 6144` where a dump holds only some of the elements."""
    if isinstance(result, Measurement) and result.partial:
        return "partial {} of {}".format(*result.partial)
    return "partial {} of {}".format(*row.partial) if row.partial else ""


# JSON


def json_report(comparison: Comparison, command: str, min_coverage: float = 0.5) -> dict[str, Any]:
    """The report as in `layertui.compare/1`: only values that JSON has."""
    first = comparison.first_divergence()
    counts = comparison.counts
    outcome = comparison.outcome(min_coverage)
    return plain_json(
        {
            "schema": SCHEMA,
            "command": command,
            "outcome": {
                "status": outcome.status,
                "reasons": outcome.reasons,
                "doubts": outcome.doubts,
            },
            "policy": comparison.policy.describe(),
            "reference": _side(comparison.reference),
            "candidate": _side(comparison.candidate),
            "counts": asdict(counts),
            "verdicts": dict(comparison.level_counts()),
            "execution_order": {
                "same": comparison.order.same,
                "reason": comparison.order.reason,
                "reordered": [asdict(moved) for moved in comparison.order.reordered],
            },
            "statistics": {name: asdict(spread(comparison, name)) for name in METRICS},
            "components": {
                name: {"layers": part.layers, "pairs": part.pairs, "mse": asdict(part.mse)}
                for name, part in components(comparison).items()
            },
            "first_divergence": None if first is None else asdict(first),
            "findings": [asdict(found) for found in comparison.findings()],
            "answer": headline(comparison),
            "same_as_reference": None if comparison.same is None else comparison.same.words,
            "effect": effect_json(comparison.effect()),
            "rows": [_row(comparison, row) for row in comparison.rows],
        }
    )


def plain_json(value: Any) -> Any:
    """Floats that JSON has not become the strings NaN, Infinity and -Infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def _side(capture: Capture) -> dict[str, Any]:
    return {
        "path": capture.path,
        "format": capture.format,
        "framework": capture.framework,
        "framework_version": capture.framework_version,
        "order_source": capture.order_source,
        "records": len(capture.records),
        "bytes": capture.nbytes,
        "complete": capture.complete,
        "prompt": capture.prompt,
        "input_ids": capture.input_ids,
        "notes": capture.notes,
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "name": record.name,
        "module": record.module,
        "slot": record.slot,
        "call": record.call,
        "step": record.step,
        "shape": None if record.shape is None else list(record.shape),
        "dtype": record.dtype,
        "path": record.path,
        "partial": record.partial,
    }


def _row(comparison: Comparison, row: Row) -> dict[str, Any]:
    verdict = comparison.verdicts[row.index]
    result = comparison.measurements[row.index]
    return {
        "index": row.index,
        "kind": row.kind,
        "reference": _record(row.reference),
        "candidate": _record(row.candidate),
        "canonical": row.canonical,
        "slot": row.slot,
        "recipe": {"reference": row.recipe_reference, "candidate": row.recipe_candidate},
        "matched_by": row.matched_by,
        "how": row.how,
        "metrics": _metrics(result) if isinstance(result, Measurement) else None,
        "verdict": verdict.level,
        "reason": verdict.reason,
        "origin": comparison.origin(row.index),
        "doubtful": verdict.doubtful,
        **_floor(comparison, row.index),
        **row_json(comparison, row.index),
    }


def _floor(comparison: Comparison, index: int) -> dict[str, Any]:
    """What a baseline and an exact capture say; null where there is none."""
    floor = comparison.floors.get(index)
    if floor is None:
        return {"baseline": None, "exact": None}
    baseline = None if floor.baseline is None else asdict(floor.baseline)
    exact = None if floor.exact is None else {**asdict(floor.exact), "off": floor.off}
    if baseline is not None:
        baseline["path"] = floor.baseline_path
    return {"baseline": baseline, "exact": exact}


def _metrics(result: Measurement) -> dict[str, Any]:
    return {name: value for name, value in asdict(result).items() if name != "partial"}


# CSV

_CSV_METRICS = (
    "count", "mse", "rmse", "nmse", "relative_l2", "cosine", "pearson", "sqnr_db", "mean_abs",
    "max_abs", "max_rel", "ulp", "mismatched", "mismatched_fraction", "scale", "scale_se",
    "offset", "fit_residual", "nonfinite_mismatch",
)  # fmt: skip


def csv_report(comparison: Comparison) -> str:
    """One line a row of the comparison, gaps included. Control characters in names are written
    out, as in the text report: tables end up on terminals too.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["index", "kind", "canonical", "slot", "step", "call", "reference", "candidate",
         "reference_shape", "candidate_shape", "reference_dtype", "candidate_dtype",
         "recipe_reference", "recipe_candidate", "matched_by", "verdict", "reason", "partial",
         "local_reference", "local_candidate", "cause", "model_difference", "doubtful",
         *_CSV_METRICS]
    )  # fmt: skip
    for row in comparison.rows:
        cells = _csv_row(comparison, row)
        writer.writerow([clean(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def _csv_row(comparison: Comparison, row: Row) -> list[Any]:
    verdict, result = comparison.verdicts[row.index], comparison.measurements[row.index]
    ref, cand = row.reference, row.candidate
    measured = result if isinstance(result, Measurement) else None
    values = ["" if measured is None else getattr(measured, name) for name in _CSV_METRICS]
    local, causes = comparison.locals.get(row.index), comparison.causes(row.index)
    law = comparison.law_row(row.index)
    return [
        row.index, row.kind, row.canonical, row.slot, row.step, row.call,
        ref.name if ref else "", cand.name if cand else "",
        shape_text(ref) if ref else "", shape_text(cand) if cand else "",
        (ref.dtype or "") if ref else "", (cand.dtype or "") if cand else "",
        row.recipe_reference, row.recipe_candidate, row.matched_by or "",
        verdict.level, verdict.reason, partial_text(row, result),
        "" if local is None else local.reference, "" if local is None else local.candidate,
         causes[0].text if causes else "", "" if law is None else law.model_difference,
         verdict.doubtful or "",
        *("" if value is None else value for value in values),
    ]  # fmt: skip


# Text


def text_report(
    comparison: Comparison, command: str, *, only_diverged: bool = False, metric: str = "mse",
    min_coverage: float = 0.5,
) -> str:  # fmt: skip
    """The report to read; `only_diverged` leaves rows that agree, and gaps, out of the table.

    `metric` (one of `METRICS`) stands first in the table, with statistics of its own.
    """
    parts = [
        _header(comparison),
        section("EXECUTION ORDER VERIFICATION", order_lines(comparison)),
        section("OUTCOME", comparison.outcome(min_coverage).lines()),
        section("SUMMARY", summary_lines(comparison)),
        *(
            section(f"{_heading(name).upper()} STATISTICS", spread_lines(comparison, name))
            for name in dict.fromkeys(("mse", metric))
        ),
        section("PER-COMPONENT STATISTICS", component_lines(comparison)),
        section("FIRST DIVERGENCE", _first_lines(comparison)),
        section("ALL FINDINGS", found) if (found := finding_lines(comparison)) else "",
        section("ROWS IN EXECUTION ORDER", _row_lines(comparison, only_diverged, metric)),
        section("ONLY IN THE REFERENCE", _gap_lines(comparison, "gap_reference")),
        section("ONLY IN THE CANDIDATE", _gap_lines(comparison, "gap_candidate")),
        section("REPRODUCE", [command]),
    ]
    return "\n".join(part for part in parts if part)


def section(title: str, lines: list[str]) -> str:
    """A heading, underlined, and its lines; control characters in them are shown."""
    return "\n".join([title, "-" * len(title), *(clean(line) for line in lines), ""])


def side_line(capture: Capture) -> str:
    """`torch 2.13 float32 cpu, torch file, 84 records, 312.4 kB, order from tensor_names.txt`."""
    who = " ".join(
        part
        for part in (
            capture.framework, capture.framework_version, capture.main_dtype(), capture.device,
        )
        if part
    )  # fmt: skip
    order = f"order from {capture.order_source}" if capture.order_known else "order unknown"
    size = f"{len(capture.records)} records, {byte_text(capture.nbytes)}"
    state = ", INCOMPLETE" if capture.complete is False else ""
    return ", ".join(part for part in (who, capture.format, size, order) if part) + state


def _header(comparison: Comparison) -> str:
    lines = ["layertui comparison", ""]
    for word, capture in (("reference", comparison.reference), ("candidate", comparison.candidate)):
        lines += [f"{word}  {capture.path}", f"           {side_line(capture)}"]
        if capture.prompt:
            lines.append(f"           prompt: {capture.prompt}")
        lines += [f"           note: {note}" for note in capture.notes]
    return "\n".join([*(clean(line) for line in lines), ""])


def order_lines(comparison: Comparison) -> list[str]:
    """Whether both sides ran in the same order, and what was moved."""
    order = comparison.order
    word = {True: "same order", False: "DIFFERENT ORDER", None: "not checked"}[order.same]
    lines = [f"{word}: {order.reason}"]
    for moved in order.reordered[:50]:
        lines.append(
            f"  {moved.reference} (record {moved.index_reference}) against "
            f"{moved.candidate} (record {moved.index_candidate})"
        )
    if len(order.reordered) > 50:
        lines.append(f"  and {len(order.reordered) - 50} more")
    return lines


def summary_lines(comparison: Comparison) -> list[str]:
    """Counts, coverage, verdicts and the policy: what a glance must tell."""
    counts, levels = comparison.counts, comparison.level_counts()
    lines = [
        f"pairs {counts.pairs}, only in reference {counts.gaps_reference}, only in candidate "
        f"{counts.gaps_candidate}, unreadable {counts.unreadable}, ignored {counts.ignored}"
    ]
    for word, side in (
        ("reference", counts.records_reference), ("candidate", counts.records_candidate),
    ):  # fmt: skip
        lines.append(
            f"{word}: {side.total} records = {side.paired} paired + {side.gap} gap + "
            f"{side.unreadable} unreadable + {side.ignored} ignored"
        )
    coverage = "no outputs to count" if counts.coverage is None else f"{counts.coverage:.1%}"
    lines.append(f"coverage: {coverage} of the outputs of the side with fewer are paired")
    judged = [f"{count} {MARKS[level][1]}" for level, count in levels.items() if level != "missing"]
    lines.append("verdicts: " + (", ".join(judged) or "none: the two have nothing in common"))
    lines += list(comparison.outcome().doubts)
    partial = sum(
        1 for r, m in zip(comparison.rows, comparison.measurements, strict=True)
        if r.kind == "pair" and partial_text(r, m)
    )  # fmt: skip
    apart = sum(
        1
        for row, verdict in zip(comparison.rows, comparison.verdicts, strict=True)
        if row.kind == "pair" and verdict.level == "missing"
    )
    if apart:
        lines.append(f"{apart} pairs could not be compared: the dumps show no common element")
    if partial:
        lines.append(f"{partial} pairs are partial: compared on the elements that both dumps show")
    effect = comparison.effect()
    if effect is not None:
        lines.append(effect_line(effect))
    lines.append(f"policy: {comparison.policy.describe()}")
    return lines


def summary_line(comparison: Comparison) -> str:
    """The whole comparison in one line."""
    counts = comparison.counts
    first = comparison.first_divergence()
    gaps = counts.gaps_reference + counts.gaps_candidate
    end = "no divergence"
    if first is not None:
        end = f"first divergence: {_where(comparison, first)}"
        end += f", {first.causes[0].text}" if first.causes else ""
    else:
        less = [] if comparison.same is None else [comparison.same.short]
        less += [f"{counts.doubtful} doubtful"] if counts.doubtful else []
        end += f", but {' and '.join(less)}" if less else ""
    waiting = comparison.level_counts().get("pending", 0)
    if waiting:
        end = f"{waiting} pairs not measured yet, " + end
    elif first is None and (outcome := comparison.outcome()).status:
        end = f"no divergence found, but {'; '.join(outcome.reasons)}"
    return clean(f"{counts.pairs} pairs, {gaps} gaps, {counts.unreadable} unreadable; {end}")


def _heading(metric: str) -> str:
    return METRICS[metric][0]


def spread_lines(comparison: Comparison, metric: str) -> list[str]:
    """Minimum, maximum, mean, median and number of finite values of a metric."""
    found = spread(comparison, metric)
    return [
        f"min {number(found.min)}  max {number(found.max)}  mean {number(found.mean)}  "
        f"median {number(found.median)}  ({found.finite} finite of {found.total} pairs)"
    ]


def component_lines(comparison: Comparison) -> list[str]:
    """The spread of the MSE by component."""
    lines = [f"{'component':28} {'pairs':>6} {'min':>10} {'max':>10} {'mean':>10} {'median':>10}"]
    for name, part in components(comparison).items():
        mse = part.mse
        lines.append(
            f"{clean(name)[:28]:28} {part.pairs:6d} {number(mse.min):>10} {number(mse.max):>10} "
            f"{number(mse.mean):>10} {number(mse.median):>10}"
        )
    return lines


def _first_lines(comparison: Comparison) -> list[str]:
    first = comparison.first_divergence()
    if first is None:
        nothing = not any(row.kind == "pair" for row in comparison.rows)
        said = "the two have nothing in common" if nothing else headline(comparison)
        return [f"none: {said}"]
    return [
        f"{_where(comparison, first)}, row {first.index}: {first.verdict}",
        f"reference  {first.reference}",
        f"candidate  {first.candidate}",
        f"reason     {first.reason}",
        *(
            f"{label:10} {line}"
            for label, line in labelled_causes(first.causes, first.model_difference)
        ),
        *([] if first.confidence is None else [_confidence(first)]),
        *(f"looks like {line}" for line in symptom_lines(first.symptoms)),
        *(f"usually    {line}" for line in rules_of_thumb(comparison.measurements[first.index])),
    ]


def _confidence(first: FirstDivergence) -> str:
    return f"confidence {first.confidence:.0%} that it was {origin_words(first.verdict, 'made')}"


def symptom_lines(symptoms: tuple[Symptom, ...]) -> list[str]:
    """What a difference looks like, a line a symptom (see `symptom_line`)."""
    return [symptom_line(symptom.name, symptom.score, symptom.evidence) for symptom in symptoms]


def symptom_line(name: str, score: float, evidence: str) -> str:
    """`scale, explains 98 %: x1.0100 +- 0.0003 ...`; what explains nothing has no share."""
    if name in ("none", "noise-like"):
        return f"{name}: {evidence}"
    return f"{name}, explains {100 * score:.3g} %: {evidence}"


def _where(comparison: Comparison, first: FirstDivergence) -> str:
    """The module to blame, and where that was seen when it was at another one's input."""
    row = comparison.rows[first.index]
    if row.canonical == first.module:
        return f"{first.module} ({first.slot})"
    return f"{first.module}, seen at {row.label}"


_COLUMNS = ("mse", "relative_l2", "max_abs", "cosine")


def _row_lines(comparison: Comparison, only_diverged: bool, metric: str) -> list[str]:
    names = tuple(dict.fromkeys((metric, *_COLUMNS)))
    headings = " ".join(f"{_heading(name):>10}" for name in names)
    lines = [
        f"{'row':>5} {'verdict':12} {headings}  module-slot: reference shape -> candidate shape"
    ]
    for row in comparison.rows:
        verdict = comparison.verdicts[row.index]
        fails = verdict.fails or verdict.level in ("unreadable", "pending")
        if only_diverged and not (fails or verdict.doubtful):
            continue
        lines.append(_row_line(comparison, row, verdict, names))
    return lines


def _row_line(comparison: Comparison, row: Row, verdict: Verdict, names: tuple[str, ...]) -> str:
    mark, word = MARKS[verdict.level][0], verdict_word(verdict)
    result = comparison.measurements[row.index]
    columns = " ".join(f"{_cell(result, name):>10}" for name in names)
    step = f"step {row.step} " if row.step else ""
    left = shape_text(row.reference) + _slice_of(row.recipe_reference)
    right = shape_text(row.candidate) + _slice_of(row.recipe_candidate)
    shapes = f"{left} -> {right}"
    name = row.label
    if row.kind != "pair":  # both sides may have an `input_0` that is not the same thing
        record = row.reference or row.candidate
        name = record.name if record is not None else name
    extra = "; ".join(
        part
        for part in (
            partial_text(row, result),
            verdict.reason if _worth_a_reason(row, verdict) else "",
        )
        if part
    )
    line = f"{row.index:5d} {mark} {word:10} {columns}  {step}{name}: {shapes}"
    return f"{line}  ({extra})" if extra else line


def _slice_of(recipe: str) -> str:
    """The slice that a row has of a larger record: `[:, 0:64]`."""
    first = recipe.partition(" | ")[0]
    return first if first.startswith("[") else ""


def _worth_a_reason(row: Row, verdict: Verdict) -> bool:
    """What is not simply good, and pairs of which no element could be compared."""
    if verdict.level == "missing":
        return row.kind == "pair"
    return verdict.fails or verdict.level in ("unreadable", "drift")


def _cell(result: Measurement | Failure | None, name: str) -> str:
    """A metric in the table; the cosine with the digits that tell it from 1."""
    value = result.metric(name) if isinstance(result, Measurement) else None
    return f"{value:.7f}" if name == "cosine" and value is not None else number(value)


def _gap_lines(comparison: Comparison, kind: str) -> list[str]:
    rows = [row for row in comparison.rows if row.kind == kind]
    if not rows:
        return ["none"]
    lines: list[str] = []
    for row in rows:
        record = row.reference or row.candidate
        assert record is not None
        why = f"  UNREADABLE: {row.problem}" if row.problem else ""
        step = f"step {row.step} " if row.step else ""
        about = f"{shape_text(record)} {record.dtype or '?'}"
        lines.append(f"{row.index:5d} {step}{record.name} {about}{why}")
    return lines


# One row


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


__all__ = [
    "csv_report", "json_report", "metric_lines", "number", "partial_text", "plain_json",
    "row_text", "shape_text", "side_line", "summary_line", "summary_lines", "symptom_line",
    "symptom_lines", "text_report",
]  # fmt: skip
