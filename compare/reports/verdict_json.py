"""The report in the field names of the Qwen3 layer tests:

    {"model_path", "test_input", "overall_success", "total_layers_tested", "layers_passed",
     "layers_failed", "layer_results": [{"layer_index", "layer_name", "input_shape",
     "output_shape", "mse", "cosine_similarity", "relative_error", "pass_threshold"}]}

A layer is a pair of outputs, `relative_error` its relative L2; it passes by the policy `fixed`.
Null is what the captures do not know and what could not be computed.
"""

from __future__ import annotations

from typing import Any

from ..comparison import Comparison
from ..judging.policy import Policy, policy_named, with_overrides
from ..model import Measurement, Row
from .form import Settings
from .json_form import json_text, plain_json

_PASSED = ("identical", "ok")


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report as text."""
    return json_text(qwen3_report(comparison))


def qwen3_report(comparison: Comparison) -> dict[str, Any]:
    """The report; by the comparison's own policy where that is a fixed one."""
    policy = comparison.policy
    if policy.name != "fixed":
        policy = with_overrides(policy_named("fixed"), comparison.rules.thresholds)
    inputs = _input_shapes(comparison)
    tested = [
        row for row in comparison.rows if row.kind == "pair" and row.role in ("output", "value")
    ]
    layers = [
        {"layer_index": number, **_layer(comparison, row, policy, inputs)}
        for number, row in enumerate(tested)
    ]
    passed = sum(layer["pass_threshold"] for layer in layers)
    coverage = comparison.counts.coverage
    covered = coverage is None or coverage >= comparison.demands.min_coverage
    whole = comparison.counts.unreadable == 0 and covered and bool(layers)
    return plain_json(
        {
            "model_path": comparison.reference.model or comparison.candidate.model,
            "test_input": _test_input(comparison),
            "overall_success": whole and passed == len(layers),
            "total_layers_tested": len(layers),
            "layers_passed": passed,
            "layers_failed": len(layers) - passed,
            "layer_results": layers,
        }
    )


def _test_input(comparison: Comparison) -> Any:
    for side in (comparison.reference, comparison.candidate):
        if side.prompt is not None:
            return side.prompt
    return comparison.reference.input_ids or comparison.candidate.input_ids


def _input_shapes(comparison: Comparison) -> dict[tuple[int, str, int], list[int]]:
    """Shapes of what goes into each call: its first input that either capture has."""
    shapes: dict[tuple[int, str, int], list[int]] = {}
    for row in comparison.rows:
        record = row.reference or row.candidate
        if row.role == "input" and record is not None and record.shape is not None:
            shapes.setdefault((row.step, row.canonical, row.call), list(record.shape))
    return shapes


def _layer(
    comparison: Comparison, row: Row, policy: Policy,
    inputs: dict[tuple[int, str, int], list[int]],
) -> dict[str, Any]:  # fmt: skip
    result = comparison.measurements[row.index]
    verdict = policy.judge(row, result)
    numbers = result if isinstance(result, Measurement) else None
    shape = row.reference.shape if row.reference is not None else None
    return {
        "layer_name": row.reference.name if row.reference is not None else row.label,
        "input_shape": inputs.get((row.step, row.canonical, row.call)),
        "output_shape": None if shape is None else list(shape),
        "mse": numbers.mse if numbers else None,
        "cosine_similarity": numbers.cosine if numbers else None,
        "relative_error": numbers.relative_l2 if numbers else None,
        "pass_threshold": verdict.level in _PASSED,
    }
