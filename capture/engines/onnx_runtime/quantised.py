"""Nodes that tools which quantise a graph put into it, and in which modules these are.

A quantiser names what it makes by the value that it starts from, and drops what torch's newer
exporter noted. What rounds an activation belongs to those who take it. Of products that lost their
notes only this is known: they are between the modules in front and those behind. Where a module
between which and them the border runs ends cannot be told.
"""

from __future__ import annotations

import re
from typing import Any

from .index import Index

Scope = tuple[str, ...]  # paths of modules, from the root (an empty one) to the innermost

_ROUNDS = ("QuantizeLinear", "DynamicQuantizeLinear")
_RESTORES = "DequantizeLinear"
_PRODUCTS = re.compile(
    r"Integer|^QLinear|^QGemm$|^QAttention$|^MatMulNBits$|^DynamicQuantize(?:MatMul|LSTM)$"
)
# Modules that multiply with no matrix, by the last part of their path.
_NO_PRODUCT = re.compile(r"norm|^ln(?:_|\d|$)|act|rotary|rope|drop|embed|^w[tp]e$", re.IGNORECASE)


def rounds_activations(index: Index, number: int) -> bool:
    """Whether a node only brings a value to coarser numbers, or such a value back."""
    node = index.nodes[number]
    if node.op_type == _RESTORES:
        maker = index.maker.get(node.input[0])
        return maker is not None and index.nodes[maker].op_type == "QuantizeLinear"
    return node.op_type in _ROUNDS


def quantised_words(index: Index) -> str | None:
    """How the graph is quantised, None where it is not: `int8 (15 MatMulInteger)`."""
    import onnx

    counts: dict[str, int] = {}
    types: dict[str, None] = {}
    for node in index.nodes:
        if _PRODUCTS.search(node.op_type) or node.op_type == _RESTORES:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
            if node.op_type == "MatMulNBits":
                bits = next((a.i for a in node.attribute if a.name == "bits"), 4)
                types[f"int{bits}"] = None
            for name in node.input:
                kind = getattr(index.initializers.get(name), "data_type", 0)
                word = onnx.TensorProto.DataType.Name(kind).lower() if kind else ""
                if node.op_type != "MatMulNBits" and re.fullmatch(r"u?int[248]|float8\w*", word):
                    types[word] = None
    if not counts:
        return None
    of = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{', '.join(types) or 'whole numbers'} ({of})"


def settle_quantised(noted: list[Scope], index: Index) -> dict[str, None]:
    """Give a quantiser's nodes the scopes that are sure, in place. Returns the modules whose ends
    cannot be told.
    """
    for number, node in enumerate(index.nodes):
        if rounds_activations(index, number):
            noted[number] = ()
        elif node.op_type == _RESTORES and not noted[number]:
            maker = index.maker.get(node.input[0])
            noted[number] = noted[maker] if maker is not None else ()
    lost: dict[str, None] = {}
    done: set[int] = set()
    for number, node in enumerate(index.nodes):
        if number not in done and not noted[number] and _PRODUCTS.search(node.op_type):
            group = _group(number, noted, index)
            done |= group
            _settle(group, noted, index, lost)
    return lost


def _group(start: int, noted: list[Scope], index: Index) -> set[int]:
    """What hangs together with a node through nodes without scope."""
    found: set[int] = set()
    left = [start]
    while left:
        number = left.pop()
        if number in found or noted[number] or index.is_constant(number):
            continue
        found.add(number)
        left += [index.maker[v] for v in index.inputs[number] if v in index.maker]
        left += [user for v in index.outputs[number] for user in index.users.get(v, ())]
    return found


def _settle(group: set[int], noted: list[Scope], index: Index, lost: dict[str, None]) -> None:
    makers = _around(group, noted, (index.maker.get(v) for n in group for v in index.inputs[n]))
    users = _around(group, noted, (u for n in group for v in index.outputs[n]
                                   for u in index.users.get(v, ())))  # fmt: skip
    ends = any(v in index.results for n in group for v in index.outputs[n])
    around = [*makers, *users, *([("",)] if ends or not users else [])]
    shared = shared_scope(around)
    for scope in (*makers, *users):
        for module in scope[len(shared) :]:
            if not _NO_PRODUCT.search(module.partition("@")[0].rpartition(".")[2]):
                lost[module.partition("@")[0]] = None
    for number in group:
        noted[number] = shared or ("",)


def _around(group: set[int], noted: list[Scope], numbers: Any) -> list[Scope]:
    return [noted[n] for n in numbers if n is not None and n not in group and noted[n]]


def shared_scope(scopes: list[Scope]) -> Scope:
    """The innermost scope that all of these have."""
    shared: list[str] = []
    for names in zip(*scopes) if scopes else ():  # noqa: B905
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return tuple(shared)
