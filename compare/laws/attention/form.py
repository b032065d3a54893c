"""What attention does with queries, keys and values: its form, and what one side gives it.

    scores = q k^T x scale, softly capped, plus a mask or ALiBi's slopes
    output = softmax(scores) v

with q and k rotated by position before. Vaswani et al., 2017; grouped heads: Ainslie et al., 2023;
ALiBi: Press et al., 2022; sinks as in gpt-oss: one more score a head that has no value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ....capture.values import Array
from ..rotary.frequencies import Style

MaskKind = Literal["recorded", "causal", "both", "none"]  # both: causal, and what is recorded
Repetition = Literal["interleaved", "tiled"]


@dataclass(frozen=True)
class Form:
    """The parameters of an attention module. `window` is how many keys a query sees at most, itself
    included; `shift` moves the causal diagonal (1: a query sees one key more). `rotated` channels
    of a head are rotated, from the first one on; 0 for none. `product_unit` is the unit roundoff of
    rotated queries and keys, `softmax_unit` that of scores and probabilities, where they are
    coarser than the records.
    """

    heads: int
    kv_heads: int
    scale: float
    mask: MaskKind = "causal"
    window: int | None = None
    shift: int = 0
    style: Style = "half"
    rotated: int = 0
    direction: int = 1
    repetition: Repetition = "interleaved"
    softcap: float | None = None
    sinks: Array | None = None  # [heads]
    slopes: Array | None = None  # [heads], of ALiBi
    product_unit: float = 0.0
    softmax_unit: float = 0.0

    @property
    def looks_at(self) -> Array:
        """Of each query head the key and value head that it looks at."""
        heads = np.arange(self.heads)
        if self.repetition == "tiled":
            return heads % self.kv_heads
        return heads // (self.heads // self.kv_heads)


@dataclass(frozen=True)
class Angles:
    """Tables of cos and sin for the sampled queries `[rows, width]` and for all keys `[keys,
    width]`; `error` is the standard deviation of the angles' own error, by row and channel or 0.
    """

    cos_q: Array
    sin_q: Array
    cos_k: Array
    sin_k: Array


@dataclass(frozen=True)
class Material:
    """What one side gives to attention: `q` `[rows, heads x width]` of the sampled rows; `k` and
    `v` of all keys `[keys, kv heads x width]`, of earlier steps too. `sequence_q`, `sequence_k`
    number the sequences of a batch; `place_q`, `place_k` count the tokens of each sequence.
    `bias` is the recorded mask, added to the scores: `[rows, keys]` or `[rows, heads, keys]`, None
    where none was recorded. `angles` are None where no tables were. `recorded_scores`: the side
    recorded its probabilities, so that it computes them one after the other and rounds them.
    `padding_only`: the recorded mask is the same for all queries of a sequence. The first `past`
    keys are those of earlier steps. `crossed`: the keys are those of an encoder.
    """

    q: Array
    k: Array
    v: Array
    sequence_q: Array
    sequence_k: Array
    place_q: Array
    place_k: Array
    bias: Array | None = None
    angles: Angles | None = None
    recorded_angles: bool = False
    recorded_scores: bool = False
    padding_only: bool = False
    past: int = 0
    crossed: bool = False

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.place_k.max()) + 1 if self.place_k.size else 0

    def with_angles(self, angles: Angles | None) -> Material:
        return replace(self, angles=angles, recorded_angles=False)


def allowed(form: Form, material: Material) -> Array:
    """Which keys each sampled query may see: `[rows, keys]`, the recorded mask not counted."""
    own = material.sequence_q[:, None] == material.sequence_k[None, :]
    causal = form.mask in ("causal", "both")
    if not causal and (form.mask == "none" or form.window is None):
        return own
    behind = material.place_q[:, None] - material.place_k[None, :]
    if causal:
        own = own & (behind >= -form.shift)
    return own if form.window is None else own & (behind < form.window)


def uses_bias(form: Form, material: Material) -> bool:
    """Whether the recorded mask counts."""
    return form.mask in ("recorded", "both") and material.bias is not None


def bias_fits(form: Form, material: Material) -> bool:
    """Whether a bias by head is one of the form's heads."""
    bias = material.bias
    return bias is None or bias.ndim == 2 or bias.shape[1] == form.heads


def alibi_slopes(heads: int) -> Array:
    """The slopes of ALiBi for a number of heads (Press et al., 2022, and their code for heads that
    are no power of two).
    """
    near = 2 ** int(np.floor(np.log2(heads)))
    slopes = [2.0 ** (-8.0 * (i + 1) / near) for i in range(near)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / near) for i in range(heads - near)]
    return np.array(slopes)
