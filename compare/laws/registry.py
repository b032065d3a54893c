"""The laws there are. A new operator family is a module of its own and a line here."""

from __future__ import annotations

from .activation import ActivationLaw
from .attention import AttentionLaw
from .convolution import ConvolutionLaw
from .embedding import EmbeddingLaw
from .embedding_sum import EmbeddingSumLaw
from .experts import ExpertsLaw
from .gated import GatedLaw
from .gated_mlp import GatedMlpLaw
from .law import Law
from .layer_scale import LayerScaleLaw
from .linear import LinearLaw
from .logits import LogitsLaw
from .norm import NormLaw
from .pooling import PoolingLaw
from .residual import ResidualLaw
from .rotary_tables import RotaryTablesLaw
from .routing import RoutingLaw
from .shared_experts import SharedExpertsLaw

LAWS: tuple[Law, ...] = (
    EmbeddingLaw(), EmbeddingSumLaw(), RotaryTablesLaw(), NormLaw(), LinearLaw(), AttentionLaw(),
    ActivationLaw(), GatedLaw(), GatedMlpLaw(), ResidualLaw(), LogitsLaw(), RoutingLaw(),
    ExpertsLaw(), SharedExpertsLaw(), ConvolutionLaw(), PoolingLaw(), LayerScaleLaw(),
)  # fmt: skip


def law_named(name: str) -> Law:
    """The law that a `Site` names. Raises `KeyError`."""
    return {law.name: law for law in LAWS}[name]
