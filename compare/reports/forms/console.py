"""The console report of a layer test: PASS or FAIL, how many layers, then a block a layer."""

from __future__ import annotations

from ...comparison import Comparison
from ..escaping import clean
from ..form import Settings
from ..nothing_compared import nothing_compared
from ..words import metric_text, shape_text
from .layer_results import LayerResult, Sublayer, fixed_policy, layer_results, layers_pass
from .text_form import whole
from .verdict_json import Shapes, input_shapes, shapes_of, test_input

__all__ = ["part", "whole"]

_MOST_INPUT = 60  # characters of the prompt
_NAME = 20  # characters that a layer's name has before it pushes what follows


def part(comparison: Comparison, settings: Settings, name: str) -> str:
    """The report of one comparison."""
    layers = layer_results(comparison)
    inputs = input_shapes(comparison)
    lines = [*_head(comparison, layers), ""]
    for layer in layers:
        lines += _block(layer, inputs)
    lines += ["", settings.command]
    return "\n".join(clean(line) for line in lines) + "\n"


def _head(comparison: Comparison, layers: list[LayerResult]) -> list[str]:
    success = layers_pass(comparison, layers)
    failed = [layer for layer in layers if not layer.passed]
    given = str(test_input(comparison) or "not recorded")
    given = given if len(given) <= _MOST_INPUT else f"{given[: _MOST_INPUT - 3]}..."
    lines = [
        f"LAYER VERIFICATION: {'PASS' if success else 'FAIL'}",
        f"layers tested: {len(layers)}, passed: {len(layers) - len(failed)}, failed: {len(failed)}",
        "",
        f"reference   {comparison.reference.path}",
        f"candidate   {comparison.candidate.path}",
        f"test input  {given}",
        f"thresholds  {fixed_policy(comparison).describe().removeprefix('fixed: ')}",
    ]
    nothing = nothing_compared(comparison)
    if nothing is not None:
        lines.insert(1, nothing.line)
    elif failed:
        lines.insert(2, f"first that fails: {failed[0].name}{_where(failed[0])}")
    if not success:
        lines += [f"- {reason}" for reason in comparison.outcome().reasons]
    return lines


def _where(layer: LayerResult) -> str:
    """` (q_norm)`: the first part that fails, where that is not the whole."""
    first = next(part for part in layer.parts if not part.passed)
    return f" ({first.name})" if first.name else ""


def _block(layer: LayerResult, inputs: Shapes) -> list[str]:
    whole = layer.whole
    given, returned = shapes_of(whole, inputs)
    shapes = "" if returned is None else shape_text(returned)
    if given and returned:
        shapes = f"{shape_text(given)} -> {shapes}"
    return [
        f"[{_word(layer.passed)}] {layer.name:{_NAME}}  {shapes}".rstrip(),
        f"       {_numbers(whole)}",
        *(
            f"    {'    ' if part.passed else 'FAIL'} {part.name:{_NAME}} {_columns(part)}"
            for part in layer.sublayers
        ),
    ]


def _word(passed: bool) -> str:
    return "PASS" if passed else "FAIL"


def _numbers(part: Sublayer | None) -> str:
    """The three numbers with their names; why there are none."""
    if part is None:
        return "its output was not paired; inside it:"
    mse, cosine, relative = _texts(part)
    if part.numbers is None:
        return part.verdict.reason
    return f"MSE {mse}  cosine similarity {cosine}  relative error {relative}"


def _columns(part: Sublayer) -> str:
    if part.numbers is None:
        return part.verdict.reason
    return "  ".join(f"{text:>10}" for text in _texts(part))


def _texts(part: Sublayer) -> list[str]:
    numbers = part.numbers
    return [
        metric_text(name, numbers.metric(name) if numbers else None)
        for name in ("mse", "cosine", "relative_l2")
    ]
