"""Whether a mean and a deviation by name are of tensors, or times of a benchmark, or scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from ...errors import RecordError
from .statistic_words import Described, text_of
from .tensor_print import number

_OF_TENSORS = frozenset({"shape", "dtype", "nan", "inf", "zeros", "l2", "absmax"})
_LAYER = r"(?:^|[^a-z])(?:layers?|blocks?|blk|h|l)[-_./: ]?\d"
_MODULE = re.compile(
    rf"{_LAYER}|attn|attention|mlp|ffn|embed|lm_?head"
    r"|logits|(?:^|[._/])(?:norm|ln|conv|proj|linear|fc|gate|up|down|hidden_states?)|_proj\b|norm\d*$"
    r"|\.(?:weight|bias)$|^(?:encoder|decoder|model|transformer|module)[./]",
    re.IGNORECASE,
)  # what names of modules have
_PATH = re.compile(rf"{_LAYER}|[A-Za-z_]\w*[./]\w", re.IGNORECASE)


def are_of_tensors(described: Sequence[Described], measures: bool) -> bool:
    """Whether statistics are of tensors. A shape, a dtype or a count of NaN shows that they are;
    without one, names of modules with their place in a model, or numbers that times and scores
    have not: negative ones, or deviations larger than most means. `measures`: a unit, rounds and
    the like stand beside them, as in the reports of a benchmark.
    """
    if any(each.said.keys() & _OF_TENSORS and len(each.said) > 1 for each in described):
        return True
    if measures:
        return False
    of_modules = [each for each in described if any(map(_MODULE.search, each.keys))]
    placed = any(_PATH.search(key) for each in of_modules for key in each.keys)
    if all(len(each.said) < 2 for each in described):  # means alone may be of anything
        return len(described) > 2 and bool(of_modules)
    return placed or _spread_around_zero(described)


def _spread_around_zero(described: Sequence[Described]) -> bool:
    """Whether a mean or an extreme is negative, or at least half of the deviations are larger than
    their means, or zero, as times never are.
    """
    wide = known = 0
    for each in described:
        said: dict[str, float] = {}
        for word in ("mean", "min", "max", "std"):
            with suppress(RecordError):
                text = text_of(each.said.get(word, ""))
                said |= {word: number(text)} if text else {}
        if any(value < 0 for value in said.values()):
            return True
        if "mean" in said and "std" in said:
            known += 1
            wide += said["std"] > said["mean"] or said["std"] == 0
    return known > 0 and 2 * wide >= known
