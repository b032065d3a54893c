"""The reports of a verification: one for each scenario, and what the two say side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..model import Measurement, Row
from ..reports.escaping import clean
from ..reports.text_form import (
    component_lines,
    order_lines,
    section,
    side_line,
    spread_lines,
    summary_lines,
)
from ..reports.words import metric_text, number, record_shape
from .judge import wrong_layers_sentence
from .verification import BY_LAWS, Verification

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ..comparison import Comparison


def scenario_report(comparison: Comparison, verification: Verification, *, injected: bool) -> str:
    """The report of one scenario, the comparison of the two at its end."""
    how = "every layer fed the reference's inputs" if injected else "as captured"
    detailed = list(_detailed(comparison))
    return laid_out(comparison, comparison, verification, how, summary_lines(comparison), detailed)


def laid_out(
    comparison: Comparison, measured: Comparison, verification: Verification, how: str,
    summary: list[str], detailed: list[str], *more: str,
) -> str:  # fmt: skip
    """The parts of a scenario's report in their order: `measured` has the numbers of its tables,
    `how` says what they are of, `more` are further lines of the heading.
    """
    head = [f"layer verification: {verification.model} {verification.encoding}, {how}", ""]
    head += [part for line in more for part in (line, "")]
    head += [f"reference  {side_line(comparison.reference)}",
             f"candidate  {side_line(comparison.candidate)}", ""]  # fmt: skip
    parts = [
        "\n".join(clean(line) for line in head),
        section("EXECUTION ORDER VERIFICATION", order_lines(comparison)),
        section("SUMMARY", summary),
        section("MSE STATISTICS", spread_lines(measured, "mse")),
        section("PER-COMPONENT STATISTICS", component_lines(measured)),
        section("DETAILED LAYER RESULTS", detailed),
        section("COMPARISON OF THE SCENARIOS", scenario_lines(verification)),
        section("REPRODUCE", [verification.command]),
    ]
    return "\n".join(parts)


def _detailed(comparison: Comparison) -> Iterator[str]:
    """Every module that has an output on both sides, with the shapes of what went in and out."""
    inputs: dict[tuple[str, int, int], list[Row]] = {}
    for row in comparison.rows:
        if row.role == "input":
            inputs.setdefault((row.canonical, row.call, row.step), []).append(row)
    count = 0
    for row in comparison.rows:
        if row.kind != "pair" or row.role not in ("output", "value"):
            continue
        count += 1
        call = f"({row.call})" if row.call > 1 else ""
        step = f"  step {row.step}" if row.step else ""
        yield f"{count:4d}. {row.canonical}{call}{step}"
        for given in inputs.get((row.canonical, row.call, row.step), ()):
            yield f"      {given.slot}: {_shapes(given)}"
        yield f"      {row.slot}: {_shapes(row)}"
        yield f"      {_verdict(comparison, row)}"


def _shapes(row: Row) -> str:
    sides = [
        f"{word} {record_shape(record)}"
        for word, record in (("reference", row.reference), ("candidate", row.candidate))
        if record is not None
    ]
    return ", ".join(sides)


def _verdict(comparison: Comparison, row: Row) -> str:
    result, verdict = comparison.measurements[row.index], comparison.verdicts[row.index]
    if not isinstance(result, Measurement):
        return f"{verdict.level}: {verdict.reason}"
    reason = f": {verdict.reason}" if verdict.fails else ""
    return (
        f"MSE {number(result.mse)}  max abs {number(result.max_abs)}  cosine "
        f"{metric_text('cosine', result.cosine)}  {verdict.level}{reason}"
    )


def scenario_lines(verification: Verification) -> list[str]:
    """MSE as captured and with injection, and what that says of each layer."""
    lines = [f"{'entire':>10} {'single':>10}  layer"]
    if verification.offline is not None:
        lines.insert(0, f"{BY_LAWS}: {verification.offline}")
    for row in verification.rows:
        slot = "" if row.slot == "output" else f" {row.slot}"
        step = f" step {row.step}" if row.step else ""
        errors = f"{_mse(row.entire):>10} {_mse(row.single):>10}"
        lines.append(f"{errors}  {row.canonical}{slot}{step}: {row.words}")
    return [*lines, wrong_layers_sentence(verification.wrong_layers)]


def _mse(result: Measurement | None) -> str:
    if result is None:
        return "-"
    return "nan" if result.nonfinite_mismatch else number(result.mse)


def module_names(capture: Capture) -> str:
    """The modules of a capture in execution order, one a line, calls and steps told once;
    the outermost is `(root)` where the capture does not name it.
    """
    names = dict.fromkeys(record.module or "(root)" for record in capture.records
                          if not record.slot.startswith("input"))  # fmt: skip
    return "".join(f"{clean(name)}\n" for name in names)


def report_name(model: str, encoding: str) -> str:
    """`layer_verification_report_llama_float32.txt`."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(os.path.normpath(model))) or "model"
    return f"layer_verification_report_{plain}_{encoding}.txt"
