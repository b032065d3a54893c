"""Operators' records that are quantities of their own: rotated queries and keys, scores, residuals.

Captures with `--level op` have the outputs of all operators inside a module, in their order. What a
torch model rotates, weighs and adds outside of modules is found among them by what it is made of.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from ....capture.records import Capture, Record

_OPERATOR = re.compile(r"^(?P<module>.*)/(?P<op>(?:aten|prims|torchvision)\.[\w.]+)$")
_ATTENTION = "aten._scaled_dot_product", "aten.scaled_dot_product"
# Operators that hand on the elements that they are given, all or some.
_VIEWS = re.compile(
    r"^/aten\.(?:alias|clone|contiguous|detach|expand|narrow|permute|reshape|select|slice|squeeze|t|"
    r"transpose|unsqueeze|view|_to_copy|_unsafe_view)(?:\.|$)"
)
_SOFTMAX = "aten._softmax", "aten.softmax", "aten._safe_softmax"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Below `parent` (a module as dumped): the module of the quantity there, its slot."""

    parent: str
    child: str
    slot: str


def split_operator(module: str) -> tuple[str, str]:
    """`layers.0.mlp`, `/aten.mul.Tensor`; the second is empty for what is no operator's record."""
    found = _OPERATOR.match(module) if "/" in module else None
    return (found["module"], f"/{found['op']}") if found else (module, "")


def is_view(module: str) -> bool:
    """True for operators that compute nothing: `layers.0.self_attn/aten.unsqueeze.default`."""
    return bool(_VIEWS.match(split_operator(module)[1]))


def has_operators(capture: Capture) -> bool:
    """True for captures with records of operators."""
    return any(split_operator(record.module)[1] for record in capture.records)


def quantities(capture: Capture) -> dict[int, Quantity]:
    """The records that are a quantity of their own, by their id. Needs the order of the run."""
    if not capture.order_known:
        return {}
    inside: dict[tuple[int, str], list[tuple[str, Record]]] = defaultdict(list)
    for record in capture.records:
        module, op = split_operator(record.module)
        if op:
            inside[record.step, module].append((op[1:], record))
    found: dict[int, Quantity] = {}
    for (_, module), ops in inside.items():
        last = module.rpartition(".")[2]
        if last in ("self_attn", "attn", "attention", "self_attention"):
            _of_attention(module, ops, found)
        elif last.isdecimal():
            _of_layer(module, ops, found)
    return found


def _of_attention(
    module: str, ops: list[tuple[str, Record]], found: dict[int, Quantity]
) -> None:  # fmt: skip
    rotated: list[Record] = []
    since: set[str] = set()
    weights: list[int] = []
    for index, (op, record) in enumerate(ops):
        if op.startswith("aten.add") and {"aten.neg", "aten.cat"} <= since:
            rotated.append(record)
            since = set()
            continue
        since.add(".".join(op.split(".")[:2]))
        if op.startswith(_SOFTMAX):
            weights.append(index)
        if op.startswith(_ATTENTION) and record.slot in ("output", "output_0"):
            found[id(record)] = Quantity(module, "sdpa", "output")
    if len(rotated) == 2:
        for record, child in zip(rotated, ("q_rope", "k_rope"), strict=True):
            found[id(record)] = Quantity(module, child, "output")
    if len(weights) == 1:
        _, softmax = ops[weights[0]]
        found[id(softmax)] = Quantity(module, "softmax", "output")
        before = [record for _, record in ops[: weights[0]] if record.shape == softmax.shape]
        if before:
            found[id(before[-1])] = Quantity(module, "scores", "output")


def _of_layer(
    module: str, ops: list[tuple[str, Record]], found: dict[int, Quantity]
) -> None:  # fmt: skip
    """A layer adds twice: what attention gives, and what the feed-forward network gives."""
    added = [record for op, record in ops if op.startswith("aten.add")]
    if len(added) == 2 and added[0].shape == added[1].shape:
        found[id(added[0])] = Quantity(module, "post_attention_layernorm", "input_0")
        found[id(added[1])] = Quantity(module, "", "output")
