"""What the modules and quantities of an engine are called."""

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
    feed-forward network, or at the top only.
    """

    name: str
    quantities: tuple[Quantity, ...] = ()
    paths: tuple[tuple[str, str], ...] = ()
    anywhere: Mapping[str, str] = field(default_factory=dict)
    in_attention: Mapping[str, str] = field(default_factory=dict)
    in_mlp: Mapping[str, str] = field(default_factory=dict)
    at_top: Mapping[str, str] = field(default_factory=dict)
