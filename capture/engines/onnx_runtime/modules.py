"""Calls of modules in an exported graph: the values that enter and leave each.

A module's output is what leaves its nodes. Exporters also share between modules what they compute
alike (rows of sizes, a table with one more axis); such a by-product depends on less than the
module's output does, and is no output. A module that returns several values is left out, unless it
is a rotary embedding, since their order is not told; so is one whose parts run several times where
its own calls cannot be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .index import Index
from .quantised import Scope, rounds_activations
from .types import is_exact

_CALL = re.compile(r"^(.*)@(\d+)$")
_ROTARY = re.compile(r"rotary|rope", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_CACHE = re.compile(r"present|past|cache", re.IGNORECASE)  # what a model hands to its next step
_MODEL_OUTPUTS = ("logits", "last_hidden_state", "pooler_output", "hidden_states")


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One call of a module. `inputs` and `outputs` are slots with the names of values; `sizes`
    are whole numbers that it takes besides. `last` is the node that makes the last output.
    """

    module: str
    number: int
    kind: str | None
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    sizes: tuple[str, ...]
    last: int


@dataclass(slots=True)
class Found:
    """The calls in the order in which their outputs are made, and modules that are left out."""

    calls: list[ModuleCall] = field(default_factory=list)
    several_values: dict[str, None] = field(default_factory=dict)
    several_calls: dict[str, None] = field(default_factory=dict)
    lost_ends: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Members:
    module: str
    number: int
    nodes: list[int]
    outputs: tuple[str, ...] = ()


def find_calls(
    index: Index,
    scopes: list[Scope],
    classes: Mapping[str, str],
    types: Mapping[str, int],
    lost: Mapping[str, None],
) -> Found:
    """`scopes` by node; `types` are the codes of values' element types, as far as known; `lost`
    modules whose ends are not.
    """  # fmt: skip
    found = Found(lost_ends=dict(lost))
    members = _members(index, scopes, found)
    for one in members:
        one.outputs = _outputs(index, one, types)
    members = [one for one in members if one.outputs]
    for one in members:
        if (
            len(one.outputs) > 1
            and one.module
            and not _ROTARY.search(one.module.rpartition(".")[2])
        ):
            found.several_values[one.module] = None
    given = _Inputs(index, scopes, members, types)
    left_out = {*found.several_values, *found.several_calls, *found.lost_ends}
    for one in members:
        if one.module not in left_out:
            inputs, sizes = given.of(one)
            found.calls.append(ModuleCall(
                one.module, one.number, classes.get(one.module), inputs, _slots(one.outputs, one),
                sizes, max((index.maker[v] for v in one.outputs if v in index.maker), default=0),
            ))  # fmt: skip
    found.calls.sort(key=lambda c: (c.last, c.module == "", -c.module.count("."), -len(c.module)))
    return found


# --- which nodes


def _members(index: Index, scopes: list[Scope], found: Found) -> list[_Members]:
    nodes: dict[str, list[int]] = {}
    for number, scope in enumerate(scopes):
        if not index.is_constant(number):
            for module in scope:
                nodes.setdefault(module, []).append(number)
    made: list[_Members] = []
    counts: dict[str, int] = {}
    for name, inside in nodes.items():
        numbered = _CALL.match(name)
        if numbered is not None:
            made.append(_Members(numbered[1], int(numbered[2]) + 1, inside))
            counts[numbered[1]] = max(counts.get(numbered[1], 1), int(numbered[2]) + 1)
            continue
        runs = [inside] if not name or _is_one(index, inside) else _runs(index, inside)
        counts[name] = max(counts.get(name, 1), len(runs))
        made += [_Members(name, number, run) for number, run in enumerate(runs, 1)]
    repeated = [name for name, count in counts.items() if count > 1]
    for name in counts:
        if name and counts[name] == 1 and any(part.startswith(f"{name}.") for part in repeated):
            found.several_calls[name] = None
    return made


def _is_one(index: Index, nodes: list[int]) -> bool:
    """Whether nothing that leaves the nodes comes back into them."""
    own = set(nodes)
    outside: set[str] = set()
    for number in range(nodes[0], nodes[-1] + 1):
        if number in own:
            if any(value in outside for value in index.inputs[number]):
                return False
        elif any(
            value in outside or index.maker.get(value) in own for value in index.inputs[number]
        ):
            outside.update(index.outputs[number])
    return True


def _runs(index: Index, nodes: list[int]) -> list[list[int]]:
    """Nodes that follow one another; those of weights alone may stand anywhere."""
    runs: list[list[int]] = []
    for number in nodes:
        between = range(runs[-1][-1] + 1, number) if runs else ()
        if runs and all(index.is_constant(other) for other in between):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


# --- what leaves


def _outputs(index: Index, one: _Members, types: Mapping[str, int]) -> tuple[str, ...]:
    if not one.module:
        kept = [name for name in index.results if not _CACHE.search(name)]
        return tuple(kept or index.results)
    own = set(one.nodes)
    made = [value for number in one.nodes for value in index.outputs[number]]
    leaving = [v for v in made if any(user not in own for user in index.users.get(v, ()))]
    leaving = leaving or [v for v in made if v in index.results and not _CACHE.search(v)]
    leaving = [v for v in leaving if not _is_plumbing(v, index, types)]
    if len(leaving) < 2:
        return tuple(leaving)
    leaving = [v for v in leaving if not _is_renamed(index, v, own)] or leaving
    needs = _dependencies(index, one.nodes, leaving)
    most = max(leaving, key=lambda v: (len(needs[v]), index.maker[v]))
    return tuple(v for v in leaving if not needs[v] < needs[most])


def _is_renamed(index: Index, value: str, own: set[int]) -> bool:
    """Whether a value is only what enters the nodes, under another name or in another type."""
    while True:
        maker = index.maker.get(value)
        if maker is None or maker not in own:
            return True
        if index.nodes[maker].op_type not in ("Cast", "Identity"):
            return False
        value = index.inputs[maker][0]


def _is_plumbing(value: str, index: Index, types: Mapping[str, int]) -> bool:
    return value in index.sizes and is_exact(types.get(value))


def _dependencies(
    index: Index, nodes: Iterable[int], values: list[str]
) -> dict[str, frozenset[str]]:  # fmt: skip
    """Which values from outside of the nodes each value is computed from."""
    known: dict[str, frozenset[str]] = {}
    for number in nodes:
        taken: set[str] = set()
        for value in index.inputs[number]:
            if value in known:
                taken |= known[value]
            elif value not in index.constants and value not in index.sizes:
                taken.add(value)
        for value in index.outputs[number]:
            known[value] = frozenset(taken)
    return {value: known[value] for value in values}


def _slots(outputs: tuple[str, ...], one: _Members) -> tuple[tuple[str, str], ...]:
    if not one.module:
        if len(outputs) == 1 and outputs[0] not in _MODEL_OUTPUTS:
            return (("output", outputs[0]),)
        return tuple((f"output_{value}", value) for value in outputs)
    if len(outputs) == 1:
        return (("output", outputs[0]),)
    return tuple((f"output_{number}", value) for number, value in enumerate(outputs))


# --- what enters


def _as_called(module: str, slots: dict[str, str]) -> dict[str, str]:
    """Transformers hands hidden states to attention with rotary embeddings by keyword."""
    attends = _ATTENTION.search(module.rpartition(".")[2])
    if not attends or "input_position_embeddings_0" not in slots:
        return slots
    return {"input_hidden_states" if s == "input_0" else s: v for s, v in slots.items()}


@dataclass(slots=True)
class _Inputs:
    """Finds what calls take. By-products of other modules are computed anew from what these are
    made of, so that a module's inputs are the model's inputs, outputs of modules, and what the
    modules around it compute.
    """

    index: Index
    scopes: list[Scope]
    members: list[_Members]
    types: Mapping[str, int]
    _returned: dict[str, list[tuple[str, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self._returned = {}
        for one in self.members:
            for number, value in enumerate(one.outputs):
                self._returned.setdefault(value, []).append((one.module, number))

    def of(self, one: _Members) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        taken = list(self._taken(one))
        sizes = tuple(value for value in taken if _is_plumbing(value, self.index, self.types))
        data = [value for value in taken if value not in sizes]
        slots: dict[str, str] = {}
        for value in data:
            slots.setdefault(self._slot(value, one, len(data), slots), value)
        return tuple(_as_called(one.module, slots).items()), sizes

    def _taken(self, one: _Members) -> Iterator[str]:
        if not one.module:
            yield from self.index.given
            return
        own = set(one.nodes)
        seen: set[str] = set()
        left = [value for number in one.nodes for value in self.index.inputs[number]]
        left.reverse()
        while left:
            value = left.pop()
            if value in seen or value in self.index.constants:
                continue
            seen.add(value)
            maker = self.index.maker.get(value)
            if maker is None:
                yield value
            elif maker not in own:
                if self._is_input(value, maker, one):
                    yield value
                else:
                    left.extend(reversed(self.index.inputs[maker]))

    def _is_input(self, value: str, maker: int, one: _Members) -> bool:
        """Whether a value from outside comes from a module's output or from around the module."""
        if rounds_activations(self.index, maker):
            return False
        scope = self.scopes[maker]
        inner = scope[-1] if scope else ""
        around = not inner or one.module == inner or one.module.startswith(f"{inner}.")
        return around or value in self._returned or _is_plumbing(value, self.index, self.types)

    def _slot(self, value: str, one: _Members, count: int, slots: Mapping[str, str]) -> str:
        if value in self.index.given and (count > 1 or not one.module):
            return f"input_{value}"
        for module, number in self._returned.get(value, ()):
            name = module.rpartition(".")[2]
            if _ROTARY.search(name) and not _ROTARY.search(one.module.rpartition(".")[2]):
                return f"input_position_embeddings_{number}"
        if count > 1 and is_exact(self.types.get(value)):
            bare = self.types.get(value) == 9  # truth values: a mask
            word = "attention_mask" if bare else "position_ids"
            if f"input_{word}" not in slots:
                return f"input_{word}"
        number = 0
        while f"input_{number}" in slots:
            number += 1
        return f"input_{number}"
