"""How weights and activations are rounded to few bits, and back: [rows, inner] -> the same.

A codec rounds groups `[..., size]` that share a scale; a grouping says which elements do. Sources:
symmetric and affine integers as in torch.ao.quantization, GPTQ and AWQ; `q4_0`, `q4_1` and the
like as in ggml-quants.c; nf4 and fp4 from QLoRA (Dettmers et al., 2023, appendix E) and
bitsandbytes; e2m1 with power-of-two scales from the OCP Microscaling specification 1.0, with e4m3
scales as NVFP4; fp8 as OCP FP8 (Micikevicius et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ....capture.values import Array
from ..numerics.rounding import on_grid

Codec = Callable[[Array], Array]
_LEAST = 1e-30

# Quantiles of a normal distribution, with 0 (QLoRA, appendix E).
_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
_E2M1 = (-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_FP4 = (
    -12.0, -8.0, -6.0, -4.0, -3.0, -2.0, -0.0625, 0.0, 0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0,
)  # bitsandbytes' own e2m1, times 12  # fmt: skip


@dataclass(frozen=True)
class Quantiser:
    """`kind` for a person (`int4`), `grouping` words (`in groups of 64`), `more` the rest (`with
    zero points`). `size` is the length of a group along the inner axis: 0 for a whole row, -1 for
    the whole tensor; `codec` rounds groups.
    """

    kind: str
    size: int
    codec: Codec
    more: str = ""
    bits: float = 8.0

    @property
    def words(self) -> str:
        """`int4 in groups of 64 with zero points`."""
        return " ".join(part for part in (self.kind, grouping_words(self.size), self.more) if part)

    def __call__(
        self, values: Array, span: Array | None = None, nudge: float = 0.0, least: bool = False
    ) -> Array:
        """Values rounded. `span` are the least and the greatest of the whole tensor, for a scale
        by tensor of which `values` is a part. With `nudge` all but the largest of a group, which
        makes its scale, are so much larger (relatively), with `least` only its least, which makes
        its zero point: ties are then rounded the other way.
        """
        if self.size > 0:
            groups = values.reshape(len(values), -1, self.size)
        else:
            groups = values if self.size == 0 else values.reshape(1, -1)
        if self.size < 0 and span is not None:
            groups = np.concatenate([np.asarray(span, float).reshape(1, -1), groups], axis=1)
        if nudge:
            sizes = np.abs(groups)
            moved = sizes != sizes.max(-1, keepdims=True)
            if least:
                moved = groups == groups.min(-1, keepdims=True)
            groups = np.where(moved, groups * (1.0 + nudge), groups)
        done = self.codec(groups)
        return done.reshape(-1)[-values.size :].reshape(values.shape)

    def fits(self, inner: int) -> bool:
        """Whether rows of this length can be parted so."""
        return self.size <= 0 or (inner % self.size == 0 and inner > self.size)


def grouping_words(size: int, what: str = "row") -> str:
    """Which elements share a scale."""
    if size < 0:
        return "by tensor"
    return f"by {what}" if size == 0 else f"in groups of {size}"


# Codecs


@dataclass(frozen=True)
class Symmetric:
    """Integers with the scale max |w| / `levels`; the scale may be rounded itself."""

    bits: int
    levels: float
    scale_unit: float = 0.0

    def __call__(self, groups: Array) -> Array:
        scale = _scale(np.abs(groups).max(-1, keepdims=True) / self.levels, self.scale_unit)
        most = 2 ** (self.bits - 1)
        return np.clip(np.rint(groups / scale), -most, most - 1) * scale


@dataclass(frozen=True)
class SignedExtreme:
    """Integers whose lowest is the value of greatest size, sign and all (q4_0, q5_0)."""

    bits: int
    scale_unit: float = 2.0**-11

    def __call__(self, groups: Array) -> Array:
        low = -(2 ** (self.bits - 1))
        at = np.abs(groups).argmax(-1, keepdims=True)
        scale = np.take_along_axis(groups, at, -1) / low
        scale = np.where(scale == 0, _LEAST, scale)
        codes = np.clip(np.floor(groups / scale - low + 0.5) + low, low, -low - 1)
        return codes * (on_grid(scale, self.scale_unit) if self.scale_unit else scale)


@dataclass(frozen=True)
class Affine:
    """Integers from the least to the greatest value. `whole` zero points are rounded to integers
    (GPTQ, AWQ, torch), others are kept as the least value (q4_1); `zero` has the range include 0.
    """

    bits: int
    whole: bool
    zero: bool
    scale_unit: float = 0.0

    def __call__(self, groups: Array) -> Array:
        most, unit = 2**self.bits - 1, self.scale_unit
        low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
        if self.zero:
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        scale = _scale((high - low) / most, unit)
        if not self.whole:
            least = on_grid(low, unit) if unit else low
            return np.clip(np.rint((groups - low) / scale), 0, most) * scale + least
        point = np.rint(-low / scale)
        return (np.clip(np.rint(groups / scale) + point, 0, most) - point) * scale


@dataclass(frozen=True)
class Steps:
    """Any number of equal steps from 0 to the greatest |w| of a group; codes up to `top`, None for
    all that there are, and down to -`top` or, where it is `lower`, one below.
    """

    steps: float
    top: int | None = None
    lower: bool = False
    scale_unit: float = 0.0

    def __call__(self, groups: Array) -> Array:
        scale = _scale(np.abs(groups).max(-1, keepdims=True) / self.steps, self.scale_unit)
        codes = np.rint(groups / scale)
        if self.top is not None:
            codes = np.clip(codes, -self.top - self.lower, self.top)
        return codes * scale


@dataclass(frozen=True)
class StepsBetween:
    """Any number of equal steps from the least to the greatest value of a group; `whole` zero
    points are rounded to integers.
    """

    steps: int
    whole: bool
    scale_unit: float = 0.0

    def __call__(self, groups: Array) -> Array:
        low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
        scale = _scale((high - low) / self.steps, self.scale_unit)
        if not self.whole:
            least = on_grid(low, self.scale_unit) if self.scale_unit else low
            return np.rint((groups - low) / scale) * scale + least
        point = np.rint(-low / scale)
        return (np.clip(np.rint(groups / scale) + point, 0, self.steps) - point) * scale


def with_scale_unit(codec: Codec, unit: float) -> Codec | None:
    """The same codec with scales rounded to a grid; None where it has no plain ones."""
    if isinstance(codec, Symmetric | SignedExtreme | Affine | Steps | StepsBetween):
        return replace(codec, scale_unit=unit)
    return None


def table(levels: Sequence[float], power_of_two: bool = False, scale_bits: str = "") -> Codec:
    """The nearest of a table of numbers, with the scale max |w| / greatest."""
    codes = np.array(levels)
    edges = (codes[1:] + codes[:-1]) / 2
    greatest = float(codes.max())

    def codec(groups: Array) -> Array:
        peak = np.maximum(np.abs(groups).max(-1, keepdims=True), _LEAST)
        if power_of_two:
            scale = 2.0 ** (np.floor(np.log2(peak)) - np.floor(np.log2(greatest)))
        else:
            scale = peak / greatest
        if scale_bits == "e4m3":
            whole = peak.max() / greatest / 448.0
            scale = np.maximum(float8(scale / whole, "e4m3"), 2.0**-9) * whole
        return codes[np.searchsorted(edges, groups / scale)] * scale

    return codec


def scaled_float8(kind: str, greatest: float | None, power_of_two: bool = False) -> Codec:
    """Eight-bit floats; `greatest` is what the greatest value of a group is scaled to, None for no
    scale at all.
    """

    def codec(groups: Array) -> Array:
        if greatest is None:
            return float8(groups, kind)
        scale = _scale(np.abs(groups).max(-1, keepdims=True) / greatest, 0.0)
        if power_of_two:
            scale = 2.0 ** np.ceil(np.log2(scale))
        return float8(groups / scale, kind) * scale

    return codec


def float8(values: Array, kind: str) -> Array:
    """Rounded to e4m3 (greatest 448) or e5m2 (57344), subnormals included; beyond is cut off."""
    bits, least, most = (3, -6, 448.0) if kind == "e4m3" else (2, -14, 57344.0)
    _, exponent = np.frexp(np.where(values == 0, 1.0, values))
    step = np.ldexp(1.0, np.maximum(exponent - 1, least) - bits)
    return np.clip(np.rint(values / step) * step, -most, most)


def _scale(scale: Array, unit: float) -> Array:
    scale = np.maximum(scale, _LEAST)
    return on_grid(scale, unit) if unit else scale


# What is tried

_ROW, _TENSOR = 0, -1
_GROUPS = (16, 32, 64, 128, 256)


@cache
def weight_quantisers() -> tuple[Quantiser, ...]:
    """Every kind of rounding of weights that is tried, the usual ones first."""
    return (*_integers(), *_floats(), *_tables())


def _integers() -> Iterator[Quantiser]:
    for bits in (8, 4, 3, 2, 5, 6):
        levels = (2 ** (bits - 1) - 1, 2 ** (bits - 1), 2 ** (bits - 1) - 0.5)
        sizes = (_ROW, _TENSOR, *_GROUPS)
        for size in sizes:
            for level in levels:
                more = "" if level == levels[0] else "over the full range"
                yield Quantiser(f"int{bits}", size, Symmetric(bits, level), more, bits)
            for whole, zero in ((True, True), (True, False), (False, False)):
                more = "with zero points" if whole else "with offsets"
                yield Quantiser(f"int{bits}", size, Affine(bits, whole, zero), more, bits)
    for bits in (4, 5):
        yield Quantiser(f"int{bits}", 32, SignedExtreme(bits), f"as q{bits}_0", bits)
        yield Quantiser(
            f"int{bits}", 32, Affine(bits, False, False, 2.0**-11), f"as q{bits}_1", bits
        )
    yield Quantiser("int8", 32, Symmetric(8, 127, 2.0**-11), "as q8_0", 8)


def _floats() -> Iterator[Quantiser]:
    for kind, greatest in (("e4m3", 448.0), ("e5m2", 57344.0)):
        yield Quantiser(f"fp8 {kind}", _ROW, scaled_float8(kind, None), "without a scale", 8)
        for size in (_TENSOR, _ROW, *_GROUPS):
            yield Quantiser(f"fp8 {kind}", size, scaled_float8(kind, greatest), "", 8)
    yield Quantiser("fp8 e4m3", 32, scaled_float8("e4m3", 256.0, True), "with powers of two", 8)


def _tables() -> Iterator[Quantiser]:
    for size in (64, 128, 32, 256, 16, _ROW):
        yield Quantiser("nf4", size, table(_NF4), "", 4)
    for size in (64, 128, 32):
        yield Quantiser("fp4", size, table(_FP4), "", 4)
    yield Quantiser("mxfp4", 32, table(_E2M1, power_of_two=True), "", 4)
    yield Quantiser("nvfp4", 16, table(_E2M1, scale_bits="e4m3"), "", 4)
    for size in (32, 16, 64, 128, _ROW):
        yield Quantiser("fp4 e2m1", size, table(_E2M1), "", 4)


@cache
def activation_quantisers() -> tuple[Quantiser, ...]:
    """Every kind of rounding of activations that is tried: a row is a token."""
    found: list[Quantiser] = []
    for size in (_ROW, _TENSOR, 128, 32, 64):
        found.append(Quantiser("int8", size, Symmetric(8, 127), "", 8))
        found.append(Quantiser("int8", size, Affine(8, True, True), "with zero points", 8))
        found.append(Quantiser("fp8 e4m3", size, scaled_float8("e4m3", 448.0), "", 8))
    found.append(Quantiser("fp8 e4m3", _ROW, scaled_float8("e4m3", None), "without a scale", 8))
    found.append(Quantiser("fp8 e5m2", _ROW, scaled_float8("e5m2", None), "without a scale", 8))
    found += [
        Quantiser("int4", size, Symmetric(4, 7), "", 4) for size in (_ROW, 128, 64, 32)
    ]  # fmt: skip
    found.append(Quantiser("mxfp4", 32, table(_E2M1, power_of_two=True), "", 4))
    return tuple(found)
