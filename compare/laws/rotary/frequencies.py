"""Rotary positions: frequencies by scheme, tables of cos and sin, and their application to heads.

Su et al., 2021. The schemes are those of transformers/modeling_rope_utils.py: `linear`, `dynamic`
(NTK), `yarn` (Peng et al., 2023), `llama3`, `longrope`; with the attention factor that `yarn` and
`longrope` multiply cos and sin by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ....capture.values import Array
from ...weights.fused_weights import text_config

Style = Literal["half", "interleaved", "none"]
SCHEMES = ("default", "linear", "dynamic", "yarn", "llama3", "longrope", "proportional")
USUAL_BASES = (10000.0, 500000.0, 1000000.0, 100000.0, 10000000.0, 50000.0, 5000000.0, 1000.0)


@dataclass(frozen=True)
class Rotary:
    """How positions turn into angles: `width` channels of a head are rotated, by a base and a
    scheme with its numbers (`scaling`, as a config has them). `longest` is the config's
    `max_position_embeddings`. `fitted` are frequencies that were taken from tables instead.
    """

    width: int
    base: float = 10000.0
    scheme: str = "default"
    scaling: Mapping[str, Any] | None = None
    longest: int = 0
    fitted: Array | None = None
    factor_fitted: float = 1.0
    head: int = 0  # channels of a head, for `proportional`

    def frequencies(self, length: int = 0) -> Array:
        """Radians per position `[width / 2]`; `length` is that of the sequence."""
        if self.fitted is not None:
            return self.fitted
        return _frequencies(self, length)

    def factor(self) -> float:
        """What cos and sin are multiplied by."""
        return self.factor_fitted if self.fitted is not None else _attention_factor(self)

    def angles(self, positions: Array, length: int = 0) -> Array:
        """`[positions, width / 2]`."""
        return positions[:, None].astype(np.float64) * self.frequencies(length)[None, :]

    def words(self) -> str:
        if self.fitted is not None:
            return "fitted"
        plain = f"base {self.base:g}"
        return plain if self.scheme == "default" else f"{plain}, {self.scheme} scaling"


def tables(
    rotary: Rotary, positions: Array, style: Style = "half", length: int = 0
) -> tuple[Array, Array]:
    """cos and sin `[positions, width]` laid out for a style: the frequencies twice over for `half`,
    each twice in a row for `interleaved`.
    """
    angles = rotary.angles(positions, length)
    factor = rotary.factor()
    cos, sin = np.cos(angles) * factor, np.sin(angles) * factor
    if style == "interleaved":
        return np.repeat(cos, 2, axis=1), np.repeat(sin, 2, axis=1)
    return np.concatenate([cos, cos], axis=1), np.concatenate([sin, sin], axis=1)


def crossed(x: Array, sin: Array, style: Style) -> Array:
    """What a channel is mixed with, times `sin`: (-x2, x1) of the halves, or of neighbouring
    channels.
    """
    found, half = np.empty(x.shape, np.result_type(x, sin)), x.shape[-1] // 2
    interleaved = style == "interleaved"
    first, second = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (
        slice(0, half), slice(half, None),
    )  # fmt: skip
    np.multiply(x[..., second], -sin[..., first], out=found[..., first])
    np.multiply(x[..., first], sin[..., second], out=found[..., second])
    return found


def relaid(table: Array, style: Style, into: Style) -> Array:
    """A table of one style laid out for the other."""
    if style == into or "none" in (style, into):
        return table
    half = table.shape[-1] // 2
    if into == "interleaved":
        return np.repeat(table[..., :half], 2, axis=-1)
    return np.concatenate([table[..., ::2], table[..., ::2]], axis=-1)


def rotary_of(config: Mapping[str, Any], width: int, head: int = 0) -> list[Rotary]:
    """What a config says of rotary positions, for tables of `width` channels; of a config that has
    several (by type of layer) all of them.
    """
    config = text_config(config)
    longest = _number(config.get("max_position_embeddings")) or 0
    sets = _parameter_sets(config)
    found: list[Rotary] = []
    for given in sets:
        base = next(
            (b for b in (_number(given.get("rope_theta")), _number(config.get("rope_theta")),
                         _number(config.get("rotary_emb_base"))) if b),
            10000.0,
        )  # fmt: skip
        scheme = given.get("rope_type") or given.get("type") or "default"
        if scheme == "su":
            scheme = "longrope"
        if scheme == "mrope":
            scheme = "default"
        if scheme not in SCHEMES:
            continue
        merged = {**given}
        original = _number(config.get("original_max_position_embeddings"))
        if original:
            merged.setdefault("original_max_position_embeddings", original)
        found.append(Rotary(width, base, scheme, merged, int(longest), head=head))
    local = _number(config.get("rope_local_base_freq"))
    if local:
        found.append(Rotary(width, local))
    return found


def _parameter_sets(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The dictionaries of rotary parameters: transformers 5 has one, or one a type of layer;
    before, `rope_scaling` stood beside `rope_theta`.
    """
    new = config.get("rope_parameters")
    if isinstance(new, Mapping):
        nested = [value for value in new.values() if isinstance(value, Mapping)]
        return nested or [new]
    old = config.get("rope_scaling")
    if isinstance(old, Mapping):
        return [old]
    known = any(_number(config.get(name)) for name in ("rope_theta", "rotary_emb_base"))
    return [{}] if known else []


def is_rotary_config(config: Mapping[str, Any]) -> bool:
    """Whether a config speaks of rotary positions at all."""
    return bool(_parameter_sets(text_config(config)))


def partial_factor(config: Mapping[str, Any]) -> float:
    """The part of a head that is rotated, by a config; 1 where it says nothing."""
    config = text_config(config)
    sets = [config, *_parameter_sets(config)]
    for given in sets:
        for name in ("partial_rotary_factor", "rotary_pct", "rope_pct"):
            value = _number(given.get(name))
            if value is not None and 0 < value <= 1:
                return value
    return 1.0


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _get(rotary: Rotary, name: str, default: float) -> float:
    value = _number((rotary.scaling or {}).get(name))
    return default if value is None else value


def _frequencies(rotary: Rotary, length: int) -> Array:
    width = rotary.width
    exponents = np.arange(0, width, 2) / width
    base, scheme = rotary.base, rotary.scheme
    factor = _get(rotary, "factor", 1.0)
    if scheme == "dynamic":
        # Beyond the longest length the base grows; before, the scheme changes nothing.
        longest = rotary.longest or length or 1
        grown = factor * max(length, longest) / longest - (factor - 1)
        base = base * grown ** (width / max(width - 2, 1))
    if scheme == "proportional":
        return _proportional(rotary, factor)
    plain = base**-exponents
    if scheme == "linear":
        return plain / factor
    if scheme == "llama3":
        return _llama3(rotary, plain, factor)
    if scheme == "yarn":
        return _yarn(rotary, plain)
    if scheme == "longrope":
        return plain / _long_factors(rotary, length)
    return plain


def _proportional(rotary: Rotary, factor: float) -> Array:
    head = rotary.head or rotary.width
    part = _get(rotary, "partial_rotary_factor", 1.0)
    count = int(part * head // 2)
    rotated = rotary.base ** -(np.arange(0, 2 * count, 2) / head)
    return np.concatenate([rotated, np.zeros(head // 2 - count)]) / factor


def _llama3(rotary: Rotary, plain: Array, factor: float) -> Array:
    low = _get(rotary, "low_freq_factor", 1.0)
    high = _get(rotary, "high_freq_factor", 4.0)
    original = _get(rotary, "original_max_position_embeddings", 8192.0)
    waves = 2 * math.pi / plain
    scaled = np.where(waves > original / low, plain / factor, plain)
    smooth = (original / waves - low) / (high - low)
    between = (waves <= original / low) & (waves >= original / high)
    return np.where(between, (1 - smooth) * plain / factor + smooth * plain, scaled)


def _yarn(rotary: Rotary, plain: Array) -> Array:
    width, base = rotary.width, rotary.base
    original = _original(rotary)
    factor = _yarn_factor(rotary)
    fast = _get(rotary, "beta_fast", 32.0) or 32.0
    slow = _get(rotary, "beta_slow", 1.0) or 1.0

    def dimension(rotations: float) -> float:
        return width * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(fast), dimension(slow)
    if (rotary.scaling or {}).get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    ramp = np.clip((np.arange(width // 2) - low) / max(high - low, 0.001), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp)


def _original(rotary: Rotary) -> float:
    return _get(rotary, "original_max_position_embeddings", float(rotary.longest or 4096))


def _yarn_factor(rotary: Rotary) -> float:
    return _get(rotary, "factor", (rotary.longest or 1) / max(_original(rotary), 1))


def _long_factors(rotary: Rotary, length: int) -> Array:
    name = "long_factor" if length > _original(rotary) else "short_factor"
    given = (rotary.scaling or {}).get(name)
    ones = np.ones(rotary.width // 2)
    if not isinstance(given, Sequence) or len(given) != rotary.width // 2:
        return ones
    factors = np.array([_number(f) or 1.0 for f in given])
    return np.where(factors > 0, factors, 1.0)


def _attention_factor(rotary: Rotary) -> float:
    if rotary.scheme not in ("yarn", "longrope"):
        return 1.0
    given = _number((rotary.scaling or {}).get("attention_factor"))
    if given is not None:
        return given
    factor = _yarn_factor(rotary)
    if factor <= 1:
        return 1.0
    if rotary.scheme == "longrope":
        return math.sqrt(1 + math.log(factor) / math.log(max(_original(rotary), 2.0)))
    scale, scale_all = _get(rotary, "mscale", 0.0), _get(rotary, "mscale_all_dim", 0.0)
    if scale and scale_all:
        return _mscale(factor, scale) / _mscale(factor, scale_all)
    return _mscale(factor, 1.0)


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def with_base(rotary: Rotary, base: float) -> Rotary:
    """The same with another base."""
    return replace(rotary, base=base, fitted=None)


def unscaled(rotary: Rotary) -> Rotary:
    """The same without its scaling."""
    return replace(rotary, scheme="default", scaling=None, fitted=None)
