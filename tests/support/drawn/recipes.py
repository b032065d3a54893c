"""Steps of recipes and shapes, for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from layertui.compare.recipes.ranges import Ranges
from layertui.compare.recipes.rearrange import Rearrange
from layertui.compare.recipes.steps import (
    Cast,
    Concat,
    Flip,
    IndexSelect,
    Permute,
    Reshape,
    Roll,
    Select,
    Shift,
    Slice,
    Squeeze,
    Step,
    Transpose,
    Unsqueeze,
)

NUMBERS = st.integers(-3, 5)
PART = st.none() | st.integers(-6, 6)
SLICE = st.tuples(PART, PART, PART.filter(lambda step: step != 0))
PATTERNS = st.sampled_from(
    [
        ("t (h d) -> h t d", (("h", 2),)),
        ("a b -> b a", ()),
        ("a b c -> (a b) c", ()),
        ("a b c -> c (b a)", ()),
        ("1 a b -> a b", ()),
        ("a b -> a 1 b", ()),
        ("a () b -> (b a)", ()),
        ("(a b) c -> b (a c)", (("a", 2),)),
        ("(x a) -> a x", (("a", 3),)),
        ("->", ()),
    ]
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Squeeze, NUMBERS),
    st.builds(Unsqueeze, NUMBERS),
    st.builds(Reshape, st.lists(st.integers(-1, 6), max_size=4).map(tuple)),
    st.builds(Transpose, NUMBERS, NUMBERS),
    st.builds(Permute, st.permutations(range(3)).map(tuple)),
    st.builds(Permute, st.lists(NUMBERS, max_size=4).map(tuple)),
    st.builds(Flip, NUMBERS),
    st.builds(Roll, st.integers(-9, 9), NUMBERS),
    st.builds(Shift, st.integers(-3, 3), NUMBERS),
    st.builds(Select, NUMBERS, NUMBERS),
    st.builds(Slice, st.lists(NUMBERS | SLICE, min_size=1, max_size=4).map(tuple)),
    st.builds(IndexSelect, NUMBERS, st.lists(st.integers(-4, 4), max_size=5).map(tuple)),
    st.builds(
        Ranges, NUMBERS,
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1).map(tuple),
    ),
    PATTERNS.map(lambda p: Rearrange(*p)),
)  # fmt: skip
ANY_TEXT = st.text(st.characters(codec=None), max_size=12)
PRINTED: st.SearchStrategy[Step] = STEPS | st.one_of(
    st.builds(Concat, NUMBERS, st.lists(ANY_TEXT, min_size=1, max_size=3).map(tuple)),
    st.sampled_from(["bfloat16", "float16", "float8_e4m3fn", "float32", "int32"]).map(Cast),
)
SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
