"""Words and numbers that laws share."""

from __future__ import annotations

import math
import re

from .numerics.quantities import Key

_NUMBER = re.compile(r"\.\d+(?=\.|$)")


def kind_name(key: Key) -> str:
    """What the same quantity of all layers is called: `layers.N.mlp.down_proj-output`."""
    module = _NUMBER.sub(".N", "." + key.module)[1:]
    later = " of later steps" if key.step else ""
    return f"{module}-{key.slot}{later}"


def number_words(value: float) -> str:
    """A number with three significant digits, `1e-6` rather than `1e-06`."""
    text = f"{value:.3g}"
    return re.sub(r"e([+-])0+(\d)", r"e\1\2", text).replace("e+", "e")


def factor_words(value: float) -> str:
    """A factor with three significant digits, and two of what it is off 1: `1.003`, not `1`."""
    off = abs(value - 1)
    if not 0 < off < 0.1:
        return number_words(value)
    return f"{value:.{max(2, 1 - math.floor(math.log10(off)))}f}".rstrip("0")


def measured_words(value: float, error: float) -> str:
    """A number with as many digits as its standard error leaves, one of them uncertain; three at
    least, twelve at most.
    """
    if not 0 < error < math.inf or not value:
        return number_words(value)
    known = math.ceil(math.log10(abs(value) / error)) + 1
    text = f"{value:.{min(max(known, 3), 12)}g}"
    return re.sub(r"e([+-])0+(\d)", r"e\1\2", text).replace("e+", "e")
