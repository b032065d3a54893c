"""The laws there are. A new operator family is a module of its own and a line here."""

from __future__ import annotations

from .activation import ActivationLaw
from .gated import GatedLaw
from .law import Law
from .linear import LinearLaw
from .norm import NormLaw

LAWS: tuple[Law, ...] = (NormLaw(), LinearLaw(), ActivationLaw(), GatedLaw())


def law_named(name: str) -> Law:
    """The law that a `Site` names. Raises `KeyError`."""
    return {law.name: law for law in LAWS}[name]
