"""The report in the field names of the Qwen3 layer tests:

    {"model_path", "test_input", "overall_success", "total_layers_tested", "layers_passed",
     "layers_failed", "layer_results": [{"layer_index", "layer_name", "input_shape",
     "output_shape", "mse", "cosine_similarity", "relative_error", "pass_threshold",
     "sublayers": [{"name", "mse", "cosine_similarity", "relative_error", "pass_threshold",
     "reason"}]}]}

What a layer is, `layer_results` says; `relative_error` is the relative L2. A layer passes by the
policy `fixed` when all its sublayers do. Null is what the captures do not know and what could not
be computed; `reason` then says why.
"""

from __future__ import annotations

from typing import Any

from ...comparison import Comparison
from ..form import Settings
from .json_form import json_text, plain_json
from .layer_results import LayerResult, Sublayer, layer_results, layers_pass

Shapes = dict[tuple[int, str, int], list[int]]


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report as text."""
    return json_text(qwen3_report(comparison))


def qwen3_report(comparison: Comparison) -> dict[str, Any]:
    """The report; by the comparison's own policy where that is a fixed one."""
    inputs = input_shapes(comparison)
    layers = layer_results(comparison)
    passed = sum(layer.passed for layer in layers)
    return plain_json(
        {
            "model_path": comparison.reference.model or comparison.candidate.model,
            "test_input": test_input(comparison),
            "overall_success": layers_pass(comparison, layers),
            "total_layers_tested": len(layers),
            "layers_passed": passed,
            "layers_failed": len(layers) - passed,
            "layer_results": [_layer(layer, inputs) for layer in layers],
        }
    )


def test_input(comparison: Comparison) -> Any:
    """The prompt, or the token ids, that the captures were made with; None where unknown."""
    for side in (comparison.reference, comparison.candidate):
        if side.prompt is not None:
            return side.prompt
    return comparison.reference.input_ids or comparison.candidate.input_ids


def input_shapes(comparison: Comparison) -> Shapes:
    """Shapes of what goes into each call: its first input that either capture has."""
    shapes: Shapes = {}
    for row in comparison.rows:
        record = row.reference or row.candidate
        if row.role == "input" and record is not None and record.shape is not None:
            shapes.setdefault((row.step, row.canonical, row.call), list(record.shape))
    return shapes


def shapes_of(part: Sublayer | None, inputs: Shapes) -> tuple[list[int] | None, list[int] | None]:
    """The shapes of what went into a pair's call and of what came out; None where unknown."""
    if part is None:
        return None, None
    row = part.row
    shape = row.reference.shape if row.reference is not None else None
    given = inputs.get((row.step, row.canonical, row.call))
    return given, None if shape is None else list(shape)


def _layer(layer: LayerResult, inputs: Shapes) -> dict[str, Any]:
    given, returned = shapes_of(layer.whole, inputs)
    return {
        "layer_index": layer.index,
        "layer_name": layer.name,
        "input_shape": given,
        "output_shape": returned,
        **_numbers(layer.whole),
        "pass_threshold": layer.passed,
        "sublayers": [
            {
                "name": part.name,
                **_numbers(part),
                "pass_threshold": part.passed,
                "reason": part.verdict.reason,
            }
            for part in layer.sublayers
        ],
    }


def _numbers(part: Sublayer | None) -> dict[str, float | None]:
    numbers = part.numbers if part is not None else None
    return {
        "mse": numbers.mse if numbers else None,
        "cosine_similarity": numbers.cosine if numbers else None,
        "relative_error": numbers.relative_l2 if numbers else None,
    }
