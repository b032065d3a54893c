"""The laws there are. A new operator family is a module of its own and a line here."""

from __future__ import annotations

from .attention.law import AttentionLaw
from .attention.probabilities import ProbabilitiesLaw, WeightedValuesLaw
from .embedding.law import EmbeddingLaw
from .embedding.sum import EmbeddingSumLaw
from .feed_forward.activation import ActivationLaw
from .feed_forward.gated import GatedLaw
from .feed_forward.gated_mlp import GatedMlpLaw
from .law import Law
from .linear.law import LinearLaw
from .logits import LogitsLaw
from .mixture.experts import ExpertsLaw
from .mixture.routing import RoutingLaw
from .mixture.shared_experts import SharedExpertsLaw
from .norm.law import NormLaw
from .residual.law import ResidualLaw
from .rotary.tables import RotaryTablesLaw
from .vision.convolution import ConvolutionLaw
from .vision.layer_scale import LayerScaleLaw
from .vision.pooling import PoolingLaw

LAWS: tuple[Law, ...] = (
    EmbeddingLaw(), EmbeddingSumLaw(), RotaryTablesLaw(), NormLaw(), LinearLaw(), AttentionLaw(),
    ActivationLaw(), GatedLaw(), GatedMlpLaw(), ResidualLaw(), LogitsLaw(), RoutingLaw(),
    ExpertsLaw(), SharedExpertsLaw(), ConvolutionLaw(), PoolingLaw(), LayerScaleLaw(),
    ProbabilitiesLaw(), WeightedValuesLaw(),
)  # fmt: skip


def law_named(name: str) -> Law:
    """The law that a `Site` names. Raises `KeyError`."""
    return {law.name: law for law in LAWS}[name]
