"""What the modules and quantities of an engine are called, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Quantity = tuple[str, str, str | None]  # pattern of a whole name, module, slot (None: keep it)


@dataclass(frozen=True, slots=True)
class EngineNames:
    """Names of one engine, or of a family of models, and the standard names that they stand for.

    `quantities` are for engines that name tensors, not modules: a pattern of the whole name, the
    module it belongs to and the slot. `paths` rewrite parts of a path that are more than one
    component. The other tables rename single components: anywhere, or below attention, below a
    feed-forward network, directly in a layer (where the module around it is left out:
    `layers.0.q`), or at the top only.

    `signs` are what the engine is recognised by: patterns of records' names (`module` or
    `module-slot`), of which all of one line must be there. Its tables then come before all
    others. An engine without signs is a family of names that no other contradicts: these tables
    always apply.

    `meanings` say what else a module's result is: a pattern of a standard `module-slot`, and the
    module and slot that hold the same quantity elsewhere. `sums` are patterns of modules that
    return, or take, a tensor in one slot and the residual beside it in another: others return and
    take the sum. `scope` finds the
    module in the name of an operator's value (a group `scope`, and `op`); `plumbing` are values
    that no module computes. `grouped_attention` says that queries, keys and values are fused head
    by head (or group by group) instead of one behind the other. `results` are operators: of several
    values that go by one name, the last one that such an operator made is the module's result.
    `ends_early` says that the last layer may go on with the last token alone.
    """

    name: str
    quantities: tuple[Quantity, ...] = ()
    paths: tuple[tuple[str, str], ...] = ()
    anywhere: Mapping[str, str] = field(default_factory=dict)
    in_attention: Mapping[str, str] = field(default_factory=dict)
    in_mlp: Mapping[str, str] = field(default_factory=dict)
    in_layer: Mapping[str, str] = field(default_factory=dict)
    at_top: Mapping[str, str] = field(default_factory=dict)
    signs: tuple[tuple[str, ...], ...] = ()
    meanings: tuple[tuple[str, str, str], ...] = ()
    sums: tuple[tuple[str, str, str], ...] = ()
    scope: str = ""
    plumbing: tuple[str, ...] = ()
    grouped_attention: bool = False
    results: tuple[str, ...] = ()
    ends_early: bool = False
