"""The words of a comparison: kinds of rows, ways of matching, levels. No classes, so that a screen
can have them before it has anything to show.
"""

from __future__ import annotations

from typing import Literal

RowKind = Literal["pair", "gap_reference", "gap_candidate"]
MatchedBy = Literal["name", "rule", "fused", "order", "content", "hand"]
Level = Literal[
    "pending", "identical", "ok", "noise", "drift", "diverged", "nan", "shape", "unreadable",
    "missing",
]  # fmt: skip
Origin = Literal["made", "inherited", "none"]
# A layer against its law. Of several laws of one record the first of these counts: one that is kept
# to says that the record's own module is fine, one that the reference does not keep to says
# nothing.
LawState = Literal["keeps", "breaks", "unknown"]
LAW_STATES: tuple[LawState, ...] = ("keeps", "breaks", "unknown")

# Ways to make verdicts, by name, and where each is defined below `judging`; the first is used where
# none is asked for. `default` is that one, or what limits ask for.
POLICY_CLASSES: dict[str, str] = {
    "noise": ".policies.noise:NoisePolicy",
    "dtype": ".policies.dtype:DtypePolicy",
    "fixed": ".policies.fixed:FixedPolicy",
}
POLICIES: tuple[str, ...] = (*POLICY_CLASSES, "default")

# What a difference may look like; of two that explain it alike, the first is said first.
SYMPTOMS: tuple[str, ...] = (
    "nan", "constant", "sign", "scale", "missing-term", "stale", "swapped", "shifted", "permuted",
    "cast", "clamp", "region", "offset", "other-weights", "noise-like", "none",
)  # fmt: skip

# What may be the cause of a layer's local error; of two that explain it alike, the first is said
# first.
CAUSES: tuple[str, ...] = (
    "eps", "norm-kind", "norm-missing", "weight-offset", "weight-ignored", "transposed",
    "other-weights", "other-layer", "swapped", "head-order", "row-order", "column-order",
    "quantised", "activation", "rope-style", "rope-direction", "rope-base", "rope-scaling",
    "positions", "attention-scale", "attention-mask", "sinks", "alibi", "head-repetition",
    "softcap", "kv-cache", "routing", "residual", "embedding", "token-shift", "stale", "precision",
    "logits-scale", "scale", "bias", "cast", "clamp", "low-rank",
)  # fmt: skip

# From harmless to worst; `missing` (a gap) and `pending` are no judgement.
LEVELS: tuple[Level, ...] = (
    "pending", "missing", "identical", "ok", "noise", "drift", "diverged", "shape", "nan",
    "unreadable",
)  # fmt: skip
# Level -> mark and word; marks alone tell the levels apart, and what fails is in capitals.
MARKS: dict[Level, tuple[str, str]] = {
    "pending": (":", "pending"),
    "missing": ("-", "gap"),
    "identical": ("=", "identical"),
    "ok": (".", "ok"),
    "noise": ("~", "noise"),
    "drift": ("!", "drift"),
    "diverged": ("X", "DIVERGED"),
    "shape": ("#", "SHAPE"),
    "nan": ("N", "NAN"),
    "unreadable": ("?", "UNREADABLE"),
}
FAILING: frozenset[Level] = frozenset({"diverged", "nan", "shape"})
NOT_PASSED: frozenset[Level] = frozenset({*FAILING, "unreadable", "pending"})

_ORIGINS: dict[tuple[bool, Origin], str] = {
    (False, "made"): "introduced here", (False, "inherited"): "inherited",
    (True, "made"): "first appears here", (True, "inherited"): "propagated",
}  # fmt: skip

# Ends what is said of the records without a partner before the first pair that differs.
MAY_BE_THEIRS = "and may have introduced the error"


def origin_words(level: Level, origin: Origin | None) -> str:
    """`introduced here` or `inherited`; of NaN and Inf `first appears here` or `propagated`; else
    nothing.
    """
    return "" if origin is None else _ORIGINS.get((level == "nan", origin), "")
