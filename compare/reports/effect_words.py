"""The effect on the logits, in words and as JSON."""

from __future__ import annotations

from math import isnan
from typing import Any

from ..model import Effect


def effect_line(effect: Effect) -> str:
    """`logits: KL 0.0011 nats, top-1 agrees at 53 of 55 tokens; the first to differ is at position
    27 (the reference's margin there: 0.04)`.
    """
    agreeing = _agreeing(effect)
    share = f"{agreeing} of {effect.tokens} tokens"
    if agreeing == effect.tokens:
        share = f"all {effect.tokens} tokens" if effect.tokens > 1 else "the one token"
    return f"logits: KL {_number(effect.logits_kl)} nats, top-1 agrees at {share}{_first(effect)}"


def short_effect_line(effect: Effect) -> str:
    """The same for a line that is small: `logits: KL 1.1e-3, top-1 53/55, token 27 differs (margin
    0.04)`.
    """
    line = f"logits: KL {_number(effect.logits_kl)}, top-1 {_agreeing(effect)}/{effect.tokens}"
    if effect.first_differing_token is None:
        return line
    margin = _number(effect.margin)
    return f"{line}, token {effect.first_differing_token} differs (margin {margin})"


def effect_json(effect: Effect | None) -> dict[str, Any] | None:
    """`{"logits_kl", "top1_agreement", "first_differing_token", "margin"}`; null where there are no
    logits.
    """
    if effect is None:
        return None
    return {
        "logits_kl": effect.logits_kl,
        "top1_agreement": effect.top1_agreement,
        "first_differing_token": effect.first_differing_token,
        "margin": effect.margin,
    }


def _first(effect: Effect) -> str:
    if effect.first_differing_token is None:
        differs = _agreeing(effect) < effect.tokens
        return "; no generated token differs" if effect.generated and differs else ""
    number = effect.first_differing_token
    place = f"generated token {number}" if effect.generated else f"at position {number}"
    margin = _number(effect.margin)
    return f"; the first to differ is {place} (the reference's margin there: {margin})"


def _agreeing(effect: Effect) -> int:
    return round(effect.top1_agreement * effect.tokens)


def _number(value: float | None) -> str:
    if value is None or isnan(value):
        return "NaN"
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")
