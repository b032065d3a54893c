"""The report of a comparison as text to read."""

from __future__ import annotations

from collections.abc import Sequence

from ....capture.plurals import counted, which
from ....capture.records import FILE_ORDER, Capture
from ....capture.sizes import byte_text
from ...aligned import SideName
from ...comparison import Comparison
from ...measuring.metrics import METRICS
from ...model import FirstDivergence
from ...symptoms.thumb import rules_of_thumb
from ...vocabulary import MARKS, origin_words
from ..effect_words import effect_line
from ..escaping import clean
from ..findings import columns_of, does_not_pass, headings, reports_of
from ..form import Part, Settings, is_one
from ..law_words import finding_lines, headline, labelled_causes
from ..nothing_compared import NOTHING, nothing_compared
from ..row_report import RowReport
from ..summary import components, spread
from ..words import number, partial_text, record_shape, sure_text, symptom_lines


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison."""
    return text_report(
        comparison, settings.command, only_diverged=settings.only_diverged,
        metric=settings.metric,
    )  # fmt: skip


def whole(parts: Sequence[Part], settings: Settings) -> str:
    """The report; of several cases a section each."""
    return parts[0].text if is_one(parts) else "\n".join(_case(part) for part in parts)


def _case(part: Part) -> str:
    title = f"case {part.name}: {part.result}"
    body = f"{clean(part.problem)}\n" if part.problem else part.text
    return f"{'=' * len(title)}\n{title}\n{'=' * len(title)}\n{body}"


def text_report(
    comparison: Comparison, command: str, *, only_diverged: bool = False, metric: str = "mse"
) -> str:  # fmt: skip
    """The report to read; `only_diverged` leaves rows that agree, and gaps, out of the table.

    `metric` (one of `METRICS`) stands first in the table, with statistics of its own.
    """
    parts = [
        _header(comparison),
        section("EXECUTION ORDER VERIFICATION", order_lines(comparison)),
        section("OUTCOME", comparison.outcome().lines()),
        section("SUMMARY", summary_lines(comparison)),
        *(
            section(f"{METRICS[name].heading.upper()} STATISTICS", spread_lines(comparison, name))
            for name in dict.fromkeys(("mse", metric))
        ),
        section("PER-COMPONENT STATISTICS", component_lines(comparison)),
        _first_section(comparison),
        section("ALL FINDINGS", found) if (found := finding_lines(comparison)) else "",
        section("NOTES", notes) if (notes := note_lines(comparison)) else "",
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
    order = FILE_ORDER if capture.order_source == FILE_ORDER else order
    size = f"{counted(len(capture.records), 'record')}, {byte_text(capture.nbytes)}"
    state = ", INCOMPLETE" if capture.complete is False else ""
    return ", ".join(part for part in (who, capture.format, size, order) if part) + state


def _header(comparison: Comparison) -> str:
    lines = ["layertui comparison", ""]
    sides: tuple[SideName, ...] = ("reference", "candidate")
    for word in sides:
        capture: Capture = getattr(comparison, word)
        lines += [f"{word}  {capture.path}", f"           {side_line(capture)}"]
        if capture.prompt:
            lines.append(f"           prompt: {capture.prompt}")
        lines += [f"           - {note}" for note in comparison.notes(word)]
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
            f"{word}: {counted(side.total, 'record')} = {side.paired} paired + {side.gap} gap + "
            f"{side.unreadable} unreadable + {side.ignored} ignored"
        )
    coverage = "no outputs to count" if counts.coverage is None else f"{counts.coverage:.1%}"
    lines.append(f"coverage: {coverage} of the outputs of the side with fewer are paired")
    judged = [f"{count} {MARKS[level][1]}" for level, count in levels.items() if level != "missing"]
    lines.append("verdicts: " + (", ".join(judged) or "none, as there are no pairs"))
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
        pairs = counted(apart, "pair")
        lines.append(f"{pairs} could not be compared: the dumps show no element in common")
    if partial:
        pairs = f"{counted(partial, 'pair')} {which(partial, 'is', 'are')} partial"
        lines.append(f"{pairs}: compared on the elements that both dumps show")
    effect = comparison.find_effect()
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
    nothing = nothing_compared(comparison)
    if nothing is not None:
        end = nothing.line
    elif waiting:
        end = f"{counted(waiting, 'pair')} not measured yet, " + end
    elif first is None and (outcome := comparison.outcome()).status:
        end = f"no divergence found, but {'; '.join(outcome.reasons)}"
    pairs, without = counted(counts.pairs, "pair"), counted(gaps, "gap")
    return clean(f"{pairs}, {without}, {counts.unreadable} unreadable; {end}")


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


def _first_section(comparison: Comparison) -> str:
    """The first divergence, or that nothing could be compared and why."""
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return section(NOTHING.upper(), list(nothing.reasons))
    first = comparison.first_divergence()
    if first is None:
        return section("FIRST DIVERGENCE", [f"none: {headline(comparison)}"])
    return section("FIRST DIVERGENCE", _first_lines(comparison, first))


def _first_lines(comparison: Comparison, first: FirstDivergence) -> list[str]:
    return [
        f"{_where(comparison, first)}, row {first.index}: {_verdict(first)}",
        f"reference  {first.reference}",
        f"candidate  {first.candidate}",
        f"reason     {first.reason}",
        *([f"rank       {first.rank}"] if first.rank else []),
        *(
            f"{label:10} {line}"
            for label, line in labelled_causes(first.causes, first.model_difference)
        ),
        *(f"looks like {line}" for line in symptom_lines(first.symptoms)),
        *(f"usually    {line}" for line in rules_of_thumb(comparison.measurements[first.index])),
    ]


def _verdict(first: FirstDivergence) -> str:
    """`diverged, introduced here (97 % sure)`."""
    if first.confidence is None:
        return first.verdict
    words = origin_words(first.verdict, "made")
    return f"{first.verdict}, {words} ({sure_text(first.confidence)})"


def _where(comparison: Comparison, first: FirstDivergence) -> str:
    """The module that diverged, and where that was seen when it was at another one's input."""
    row = comparison.rows[first.index]
    if row.canonical == first.module:
        return f"{first.module} ({first.slot})"
    return f"{first.module}, seen at {row.label}"


def _row_lines(comparison: Comparison, only_diverged: bool, metric: str) -> list[str]:
    names = columns_of(metric)
    heads = " ".join(f"{heading:>10}" for heading in headings(names))
    lines = [f"{'row':>5} {'verdict':12} {heads}  module-slot: reference shape -> candidate shape"]
    for report in reports_of(comparison):
        if only_diverged and not (does_not_pass(report) or report.verdict.doubtful):
            continue
        lines.append(_row_line(report, names))
    return lines


def _row_line(report: RowReport, names: tuple[str, ...]) -> str:
    row, mark = report.row, MARKS[report.level][0]
    columns = " ".join(f"{report.metric(name):>10}" for name in names)
    left = record_shape(row.reference) + _slice_of(row.recipe_reference)
    right = record_shape(row.candidate) + _slice_of(row.recipe_candidate)
    parts = (report.partial, report.verdict.reason if _worth_a_reason(report) else "")
    extra = "; ".join(part for part in parts if part)
    line = f"{row.index:5d} {mark} {report.word:10} {columns}  {report.name}: {left} -> {right}"
    return f"{line}  ({extra})" if extra else line


def _slice_of(recipe: str) -> str:
    """The slice that a row has of a larger record: `[:, 0:64]`."""
    first = recipe.partition(" | ")[0]
    return first if first.startswith("[") else ""


def _worth_a_reason(report: RowReport) -> bool:
    """What is not simply good, what is good in another order, whose numbers are large, and pairs of
    which no element could be compared.
    """
    if report.level == "missing":
        return report.row.kind == "pair"
    verdict = report.verdict
    return verdict.fails or verdict.permuted or report.level in ("unreadable", "drift")


def note_lines(comparison: Comparison) -> list[str]:
    """What people wrote on rows, with the row's number, verdict and name."""
    if not comparison.row_notes.texts:
        return []
    return [
        f"{report.row.index:5d} {report.word:10} {report.name}: {report.note}"
        for report in reports_of(comparison) if report.note
    ]  # fmt: skip


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
        about = f"{record_shape(record)} {record.dtype or '?'}"
        lines.append(f"{row.index:5d} {step}{record.name} {about}{why}")
    return lines
