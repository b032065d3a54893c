"""Values of a graph, named by the scope of the module that computes them.

A module's result is the last value of its scope, or of a scope inside it, in the order of the
graph. Where that order is not known, only what the operators' kinds tell is taken.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from ....capture.names import natural_key
from ....capture.records import Capture, Record
from ..engines.names import EngineNames
from .canonical import NameRules, canonical_name
from .roles import Role, role_of

_FEW = 8  # values that may stand in the order of their names by chance


@dataclass(slots=True)
class ScopeNames:
    """`result` has the scopes whose result a record is, the innermost first; `inside` the scope and
    the operator of every other value; `plumbing` the records that no module computes.
    """

    result: dict[int, list[str]] = field(default_factory=dict)
    inside: dict[int, tuple[str, str]] = field(default_factory=dict)
    plumbing: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Value:
    record: Record
    position: int
    scope: str
    op: str
    count: int


# The operator that ends a module, for graphs without order; the first that is there counts.
_LAST_OPS = (
    "Add", "Gemm", "MatMul", "LayerNormalization", "SimplifiedLayerNormalization", "Mul", "Gather",
    "Sigmoid", "Relu", "Gelu", "Tanh",
)  # fmt: skip
_MOVING = frozenset({"Cast", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Slice", "Expand"})


def scope_names(capture: Capture, engine: EngineNames) -> ScopeNames:
    """What the values of a graph are the results of; empty for engines without scopes."""
    found = ScopeNames()
    if not engine.scope:
        return found
    pattern = re.compile(engine.scope)
    plumbing = re.compile("|".join(engine.plumbing) or r"(?!)")
    values: dict[int, list[_Value]] = defaultdict(list)
    for position, record in enumerate(capture.records):
        match = pattern.match(record.module)
        if plumbing.search(record.module) or (match and _is_plumbing(record)):
            found.plumbing.add(id(record))
        elif match:
            scope = match["scope"].replace("/", ".")
            count = int(match["count"] or 0)
            values[record.step].append(_Value(record, position, scope, match["op"], count))
            op = match["op"] + (f"_{match['count']}" if match["count"] else "")
            found.inside[id(record)] = (scope, op)
    for some in values.values():
        if _is_a_suffix(some):
            for value in some:
                found.result[id(value.record)] = [value.scope]
            continue
        ordered = capture.order_known and not _by_name(some)
        ends = _ends_in_order(some) if ordered else _ends_by_kind(some)
        for scope in sorted(ends, key=lambda scope: -scope.count(".")):
            if may_be_result(scope, ends[scope].scope, ends[scope].op, ends[scope].count):
                found.result.setdefault(id(ends[scope].record), []).append(scope)
    return found


def may_be_result(scope: str, inner: str, op: str, count: int) -> bool:
    """Whether the last value that a dump has of a scope can be its module's result. A dump may have
    some of the values only, so that the operator, or the module inside, must be one that ends such
    a module.
    """
    module = canonical_name(scope, "", NameRules()).module
    role = role_of(module)
    if role in _LAST_INSIDE:
        last = role_of(canonical_name(inner, "", NameRules()).module)
        return inner != scope and last == _LAST_INSIDE[role]
    if role == "layer":  # the second addition: the first gives what attention adds to
        return inner == scope and op == "Add" and count > 0
    if role == "root":
        return canonical_name(inner, "", NameRules()).module == "norm"
    if role == "norm":
        return op.endswith(("Normalization", "Norm")) or (op in ("Mul", "Add") and count > 0)
    if role == "activation":
        return op != "Sigmoid"
    return role not in ("rotary", "positions")


_LAST_INSIDE: dict[Role, Role] = {"attention": "attention_output", "mlp": "down"}


def _is_a_suffix(values: list[_Value]) -> bool:
    """Whether one and the same operator stands behind every module: then it says nothing."""
    scopes = {value.scope for value in values}
    alike = len({(value.op, value.count) for value in values}) == 1
    return alike and len(scopes) == len(values) > _FEW


def _by_name(values: list[_Value]) -> bool:
    """Whether values stand in the order of their names: nobody's graph does."""
    names = [value.record.module for value in values]
    return len(names) > _FEW and (names == sorted(names) or names == sorted(names, key=natural_key))


def _is_plumbing(record: Record) -> bool:
    """Shapes, indices and lone numbers: no activations."""
    whole = record.dtype is not None and not record.dtype.startswith(("float", "bfloat"))
    return whole or record.shape == ()


def _ends_in_order(values: list[_Value]) -> dict[str, _Value]:
    ends: dict[str, _Value] = {}
    for value in values:
        scope = value.scope
        while scope:
            ends[scope] = value
            scope = _outer(scope)
    return ends


def _outer(scope: str) -> str:
    """The scope around one; `layers.0` is one component, in whichever way it was written."""
    head, _, last = scope.rpartition(".")
    return head.rpartition(".")[0] if last.isdecimal() else head


def _ends_by_kind(values: list[_Value]) -> dict[str, _Value]:
    """The results of scopes that have no others inside, and of layers, which end in an addition."""
    own: dict[str, list[_Value]] = defaultdict(list)
    for value in values:
        own[value.scope].append(value)
    ends: dict[str, _Value] = {}
    for scope, some in own.items():
        computing = [value for value in some if value.op not in _MOVING]
        ops = {value.op for value in computing}
        around = any(other.startswith(scope + ".") for other in own)
        last = next((op for op in _LAST_OPS if op in ops), None)
        if around and not (last == "Add" and scope.rpartition(".")[2].isdecimal()):
            continue
        if len(computing) == 1:
            ends[scope] = computing[0]
        elif last is not None:
            if _is_norm(ops):
                last = "Mul" if "Mul" in ops else last
            ends[scope] = max((v for v in computing if v.op == last), key=lambda v: v.count)
    return ends


def _is_norm(ops: set[str]) -> bool:
    """An RMS norm written out: its last operator is the product with its weight."""
    return "ReduceMean" in ops and "Sub" not in ops
