"""What a rerun says of a layer: the layer itself, or what came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..judging.row_verdicts import nonfinite_words
from ..measuring.pair_dtypes import coarser_dtype
from ..model import Failure, Measurement, Row

if TYPE_CHECKING:
    from ..judging.policy import Policy

JudgementKind = Literal["fine", "inherited", "wrong", "inside", "unlike", "unknown"]
"""`fine`: right alone and as captured; `inherited`: right alone, wrong as captured; `wrong`: wrong
alone; `inside`: wrong alone, by a layer inside it; `unlike`: right alone, wrong as captured though
nothing wrong came in; `unknown`: not rerun, or not to be measured."""

# What rounding in one layer may cost, as relative L2. Tighter than the limits of the default
# policy, which allow for what many layers add up: one layer of the real captures is off by 5e-7
# in float32 (MAX against PyTorch) and by up to 1.2e-2 in bfloat16.
ROUNDING: dict[str, float] = {
    "float64": 1e-10, "complex128": 1e-10, "float32": 3e-5, "complex64": 3e-5, "float16": 4e-3,
    "bfloat16": 2e-2,
}  # fmt: skip
_FLOAT8 = 0.12
_AMPLIFIED = 1e3  # a layer that makes more than this of its inputs' error does not pass it on
_GOOD = ("identical", "ok", "noise")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rerun says of a layer, and the sentence for a person."""

    kind: JudgementKind
    sentence: str

    @property
    def fails(self) -> bool:
        return self.kind in ("wrong", "inside", "unlike")


def allowed(row: Row) -> float:
    """The relative L2 that rounding in one layer explains; 0 for whole numbers."""
    dtype = coarser_dtype(row) or "float32"
    if dtype.startswith(("float8_", "float6_", "float4_")):
        return _FLOAT8
    return ROUNDING.get(dtype, 0.0)


def is_wrong(policy: Policy, row: Row, single: Measurement | Failure) -> bool:
    """True when a layer's own error is more than rounding, or fails the policy."""
    if isinstance(single, Failure) or single.nonfinite_mismatch:
        return True
    if single.identical:
        return False
    error = single.relative_l2
    beyond = error is None or error > allowed(row)
    return beyond or policy.judge(row, single).fails


def judge(
    policy: Policy, row: Row, entire: Measurement | Failure | None,
    inputs: Measurement | Failure | None, single: Measurement | Failure | None,
    problem: str | None = None,
) -> Judgement:  # fmt: skip
    """The judgement of one row by its three errors."""
    if problem is not None or single is None:
        return Judgement("unknown", problem or "not rerun")
    if isinstance(single, Failure):
        return Judgement("wrong", f"this layer is wrong on its own: {single.reason}")
    if single.nonfinite_mismatch:
        return Judgement("wrong", f"this layer is wrong on its own: {nonfinite_words(single)}")
    if is_wrong(policy, row, single):
        return Judgement("wrong", f"this layer is wrong on its own ({_error(single)})")
    if entire is None or policy.judge(row, entire).level in _GOOD:
        return Judgement("fine", f"the layer itself is fine ({_error(single)})")
    if _explains(inputs, entire):
        came = _error(inputs) if isinstance(inputs, Measurement) else "cannot be compared"
        return Judgement(
            "inherited",
            f"the layer itself is fine: it only passes on an error in its inputs (inputs differ by "
            f"{came})",
        )
    return Judgement(
        "unlike",
        "the layer run alone is fine, yet its captured output differs and its inputs do not: the "
        "runner's model is not the one that was captured, or it had other inputs",
    )


def within(outer: Judgement, parts: list[str]) -> Judgement:
    """The judgement of a module that is wrong when `parts` inside it are."""
    if outer.kind != "wrong" or not parts:
        return outer
    if len(parts) == 1:
        return Judgement("inside", f"wrong inside: {parts[0]} is wrong on its own")
    more = f"{parts[0]} and {len(parts) - 1} more are wrong on their own"
    return Judgement("inside", f"wrong inside: {more}")


def wrong_layers_sentence(names: Sequence[str]) -> str:
    """Which layers are wrong on their own, for the end of a report."""
    return f"wrong on its own: {', '.join(names)}" if names else "no layer is wrong on its own"


def _explains(inputs: Measurement | Failure | None, entire: Measurement | Failure) -> bool:
    """Whether what came in may be why the captured output is wrong."""
    if inputs is None or isinstance(inputs, Failure) or inputs.nonfinite_mismatch:
        return True  # not known: nothing speaks against it
    if inputs.identical:
        return False
    came = inputs.relative_l2
    if isinstance(entire, Failure) or entire.relative_l2 is None or came is None:
        return True
    return entire.relative_l2 <= _AMPLIFIED * came


def _error(result: Measurement) -> str:
    """The relative error, or where there is none the greatest difference."""
    if result.identical:
        return "every element equal"
    if result.relative_l2 is not None:
        return f"{result.relative_l2:.1e}"
    return f"up to {result.max_abs:.1e}" if result.max_abs is not None else "not finite"


def worst(results: list[tuple[int, Measurement | Failure]]) -> tuple[int, Measurement | Failure]:
    """The input that differs most, with its row; at least one must be given."""

    def size(entry: tuple[int, Measurement | Failure]) -> float:
        result = entry[1]
        if isinstance(result, Failure) or result.nonfinite_mismatch:
            return float("inf")
        if result.identical:
            return -1.0
        return result.relative_l2 if result.relative_l2 is not None else float("inf")

    return max(results, key=size)
