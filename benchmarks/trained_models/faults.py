"""Every fault that is planted in trained models, by family; each cause that there is has one."""

from __future__ import annotations

from .planted_attention import ATTENTION_FAULTS
from .planted_values import VALUE_FAULTS
from .planted_variants import VARIANT_FAULTS
from .planted_weights import WEIGHT_FAULTS
from .planting import TrainedFault

# What a cause may be called; see "Laws and causes" of the JSON's description.
CAUSES = (
    "eps", "norm-kind", "norm-missing", "weight-offset", "weight-ignored", "scale", "bias",
    "transposed", "row-order", "column-order", "head-order", "swapped", "other-weights",
    "other-layer", "quantised", "low-rank", "activation", "rope-base", "rope-scaling", "rope-style",
    "rope-direction", "positions", "attention-scale", "attention-mask", "sinks", "alibi",
    "head-repetition", "softcap", "kv-cache", "precision", "residual", "embedding", "token-shift",
    "routing", "cast", "clamp", "stale", "logits-scale",
)  # fmt: skip

FAULTS: tuple[TrainedFault, ...] = (
    *WEIGHT_FAULTS, *ATTENTION_FAULTS, *VALUE_FAULTS, *VARIANT_FAULTS,
)  # fmt: skip


def fault(name: str) -> TrainedFault:
    """The fault of that name. Raises `KeyError`."""
    return {each.name: each for each in FAULTS}[name]
