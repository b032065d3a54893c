"""The reports of a verification: one for each scenario, and what the two say side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import Measurement, Row
from ..reports.escaping import clean
from ..reports.forms.text_form import order_lines, section, side_line, summary_lines
from ..reports.summary import components, spread
from ..reports.words import metric_text, number
from .judge import wrong_layers_sentence
from .verification import BY_LAWS, Verification

if TYPE_CHECKING:
    from ...capture.records import Capture
    from ..comparison import Comparison


def scenario_report(comparison: Comparison, verification: Verification, *, injected: bool) -> str:
    """The report of one scenario, the comparison of the two at its end."""
    how = "every layer fed the reference's inputs" if injected else "as captured"
    layers = layers_of(comparison)
    outputs = [row for layer in layers for row in layer.outputs]
    summary = [f"Total Layers: {len(layers)}", *summary_lines(comparison)]
    detailed = list(_detailed(comparison, layers))
    return laid_out(comparison, comparison, outputs, verification, how, summary, detailed)


def laid_out(
    comparison: Comparison, measured: Comparison, rows: Sequence[Row], verification: Verification,
    how: str, summary: list[str], detailed: list[str], *more: str,
) -> str:  # fmt: skip
    """The parts of a scenario's report in their order: `measured` has the numbers of its tables,
    which are about `rows`; `how` says what they are of, `more` are further lines of the heading.
    """
    head = [f"layer verification: {verification.model} {verification.encoding}, {how}", ""]
    head += [part for line in more for part in (line, "")]
    head += [f"reference  {side_line(comparison.reference)}",
             f"candidate  {side_line(comparison.candidate)}", ""]  # fmt: skip
    parts = [
        "\n".join(clean(line) for line in head),
        section("EXECUTION ORDER VERIFICATION:", order_check_lines(comparison)),
        section("SUMMARY:", summary),
        section("MSE STATISTICS:", _statistics(measured, rows)),
        section("PER-COMPONENT STATISTICS:", _component_statistics(measured, rows)),
        section("DETAILED LAYER RESULTS (Execution Order):", detailed),
        section("COMPARISON OF THE SCENARIOS:", scenario_lines(verification)),
        section("REPRODUCE:", [verification.command]),
    ]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class ReportedLayer:
    """One call of a module in one step that has outputs on both sides."""

    name: str
    inputs: tuple[Row, ...]
    outputs: tuple[Row, ...]


def layers_of(comparison: Comparison) -> list[ReportedLayer]:
    """The layers of a comparison in execution order."""
    inputs: dict[tuple[str, int, int], list[Row]] = {}
    outputs: dict[tuple[str, int, int], list[Row]] = {}
    for row in comparison.rows:
        key = (row.canonical, row.call, row.step)
        if row.role == "input":
            inputs.setdefault(key, []).append(row)
        elif row.kind == "pair" and row.role in ("output", "value"):
            outputs.setdefault(key, []).append(row)
    return [
        ReportedLayer(_layer_name(*key), tuple(inputs.get(key, ())), tuple(rows))
        for key, rows in outputs.items()
    ]


def _layer_name(module: str, call: int, step: int) -> str:
    return module + (f"({call})" if call > 1 else "") + (f"  step {step}" if step else "")


def order_check_lines(comparison: Comparison) -> list[str]:
    """Whether both sides ran their layers in the same order, and which stand elsewhere.

    A record that takes part in several pairs (a fused projection) says nothing about order.
    """
    order = comparison.order
    if order.same is None:
        return [f"Execution order check NOT POSSIBLE: {order.reason}"]
    pairs = [row for row in comparison.rows
             if row.kind == "pair" and row.role in ("output", "value")]  # fmt: skip
    if order.same:
        parts = sum(1 for row in pairs if row.matched_by == "fused")
        more = [f"  {parts} of them are parts of fused modules, which run once"] if parts else []
        total = len({(row.canonical, row.call, row.step) for row in pairs})
        return [f"Execution order check PASSED: {total} layers in identical order", *more]
    return [f"Execution order check FAILED: {order.reason}", *order_lines(comparison)[1:]]


def _statistics(measured: Comparison, rows: Sequence[Row]) -> list[str]:
    found = spread(measured, "mse", rows)
    named = (("Min", found.min), ("Max", found.max), ("Mean", found.mean), ("Median", found.median))
    lines = [f"{name + ':':8}{scientific(value)}" for name, value in named]
    if found.finite < found.total:
        lines.append(f"({found.total - found.finite} of {found.total} outputs have no finite MSE)")
    return lines


def _component_statistics(measured: Comparison, rows: Sequence[Row]) -> list[str]:
    found = components(measured, rows)
    width = max((len(name) for name in found), default=0) + 1
    lines = []
    for name, part in found.items():
        numbers = (("Min", part.mse.min), ("Max", part.mse.max), ("Mean", part.mse.mean))
        said = ", ".join(f"{word}: {scientific(value)}" for word, value in numbers)
        lines.append(f"{name + ':':{width}} Layers: {part.layers}, MSE {said}")
    return lines


def scientific(value: float | None) -> str:
    """`1.695000e-15`; `-` where there is none."""
    return "-" if value is None else f"{value:e}"


def _detailed(comparison: Comparison, layers: Sequence[ReportedLayer]) -> Iterator[str]:
    """Every layer's errors, with the shapes of what went in and out."""
    for count, layer in enumerate(layers):
        yield f"[{count:3d}] {layer.name}"
        for row in layer.outputs:
            slot = f"  ({row.slot})" if len(layer.outputs) > 1 else ""
            yield f"      {_errors(comparison, row)}{slot}"
        yield f"      Input shapes: {_shapes(layer.inputs)}"
        yield f"      Output shapes: {_shapes(layer.outputs)}"


def _shapes(rows: Sequence[Row]) -> str:
    """`[[1, 9, 5120]]`, the reference's; the candidate's behind it where they are others."""
    sides = [
        [list(record.shape) if record.shape is not None else None
         for record in records if record is not None]
        for records in ([row.reference for row in rows], [row.candidate for row in rows])
    ]  # fmt: skip
    reference, candidate = (str(shapes).replace("None", "unknown") for shapes in sides)
    return reference if reference == candidate else f"{reference}, candidate {candidate}"


def _errors(comparison: Comparison, row: Row) -> str:
    result, verdict = comparison.measurements[row.index], comparison.verdicts[row.index]
    if not isinstance(result, Measurement):
        return f"MSE: -  {verdict.level}: {verdict.reason}"
    mse = "nan" if result.nonfinite_mismatch else scientific(result.mse)
    reason = f": {verdict.reason}" if verdict.fails else ""
    return (
        f"MSE: {mse}  max abs {number(result.max_abs)}  cosine "
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
