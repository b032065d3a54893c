"""Parts that searches for other masks share: the mask as a bias, a trial with an edited one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ..law import Hypothesis
from .fit import mask_words
from .form import Material, uses_bias
from .trial import Trials

LEAST_GAIN = 9.0  # squared units of rounding that a changed element must explain
ALONE = 1e-6  # share of all other keys below which a key is a query's only one


def mask_as_bias(trials: Trials) -> Array:
    """What the mask of the form, and the recorded one, add to scores `[rows, keys]`."""
    material, open_ = trials.material, trials.open()
    assert material is not None
    if material.bias is not None and uses_bias(trials.form, material):
        return np.where(open_, material.bias, -np.inf)
    return np.where(open_, 0.0, -np.inf)


def edited_mask(trials: Trials, bias: Array, text: str, fitted: int = 0) -> Hypothesis:
    assert trials.material is not None
    return trials.made(
        "attention-mask", text, replace(trials.form, mask="recorded", window=None),
        replace(trials.material, bias=bias), "mask", mask_words(trials.form), text, "", fitted,
    )  # fmt: skip


def token_words(material: Material, key: int) -> str:
    several = len(np.unique(material.sequence_k)) > 1
    which = f" of sequence {int(material.sequence_k[key])}" if several else ""
    return f"{int(material.place_k[key])}{which}"
