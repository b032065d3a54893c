"""The laws there are. A new operator family is a module of its own and a line here."""

from __future__ import annotations

from .activation import ActivationLaw
from .embedding import EmbeddingLaw
from .embedding_sum import EmbeddingSumLaw
from .gated import GatedLaw
from .gated_mlp import GatedMlpLaw
from .law import Law
from .linear import LinearLaw
from .logits import LogitsLaw
from .norm import NormLaw
from .residual import ResidualLaw

LAWS: tuple[Law, ...] = (
    EmbeddingLaw(), EmbeddingSumLaw(), NormLaw(), LinearLaw(), ActivationLaw(), GatedLaw(),
    GatedMlpLaw(), ResidualLaw(), LogitsLaw(),
)  # fmt: skip


def law_named(name: str) -> Law:
    """The law that a `Site` names. Raises `KeyError`."""
    return {law.name: law for law in LAWS}[name]
