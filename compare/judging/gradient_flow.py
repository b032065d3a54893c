"""What the gradient at a module's output was made from. The backward pass goes from the outputs to
the inputs, so that gradients arrive in the reverse order of the forward pass.

The gradient at a module's output is made by the backward pass of whatever takes that output: from
gradients that arrived before, and from what those modules took and returned in the forward pass.
Which modules these are, no record says. Taken are all gradients since that of the nearest module
around it, or, where none has arrived, since that of the module beside it whose gradient came last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..matching.names.canonical import ROOT, parent_of
from ..model import Row

ROLES = frozenset({"grad_output", "grad_input"})
_LAST = 3  # gradients before it that one without any module around or beside it is made of
_Call = tuple[str, int]


@dataclass(slots=True)
class GradientFlow:
    """The gradients of one step that have arrived: row and call of a module, in order."""

    recorded_parent: Callable[[str], str]
    arrived: list[tuple[int, _Call]] = field(default_factory=list)
    first: dict[_Call, int] = field(default_factory=dict)  # its place in `arrived`

    def add(self, row: Row) -> None:
        """A gradient has arrived."""
        call = row.canonical, row.call
        self.first.setdefault(call, len(self.arrived))
        self.arrived.append((row.index, call))

    def sources(
        self, row: Row, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]],
        children: Mapping[str, Sequence[str]],
    ) -> tuple[int, ...]:  # fmt: skip
        """Rows that the gradient at `row` can have been made of; `inputs`, `outputs` and `children`
        are those of modules in the forward pass.
        """
        before = self.arrived[self._begin(row.canonical) :]
        parent = self.recorded_parent(row.canonical)
        around = [] if parent == ROOT else [parent, *children.get(parent, ())]
        modules = dict.fromkeys([row.canonical, *(module for _, (module, _) in before), *around])
        found = [index for index, _ in before]
        for module in modules:
            found += [*inputs.get(module, ()), *outputs.get(module, ())]
        return tuple(dict.fromkeys(index for index in found if index != row.index))

    def _begin(self, module: str) -> int:
        """Where in `arrived` the gradients begin that one at `module` can be made of."""
        around, beside = _around(module), self.recorded_parent(module)
        modules = {name for name, _ in self.first}
        for name in around:
            if name in modules:
                return max(at for (other, _), at in self.first.items() if other == name)
        for _, call in reversed(self.arrived):
            if call[0] != module and self.recorded_parent(call[0]) == beside:
                return self.first[call]
        return max(0, len(self.arrived) - _LAST)


def _around(module: str) -> list[str]:
    """The modules around `module`, the nearest first, without the root."""
    found: list[str] = []
    while (module := parent_of(module)) != ROOT:
        found.append(module)
    return found
