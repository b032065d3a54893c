"""Aligning two sequences of modules."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.matching.sequence import Token, align_sequences, likeness


def tokens(names: str, shape: tuple[int, ...] = (10, 64), kind: str | None = None) -> list[Token]:
    return [Token(name, shape, kind) for name in names.split()]


def same_shape(a: Token, b: Token) -> bool:
    return a.shape == b.shape


def test_equal_names_meet_across_gaps() -> None:
    left, right = tokens("a norm b c proj"), tokens("norm x proj")
    assert align_sequences(left, right, same_shape, False) == [(0 + 1, 0), (4, 2)]


def test_shapes_alone_align_only_when_allowed() -> None:
    left, right = tokens("alpha beta"), tokens("uno due")
    assert align_sequences(left, right, same_shape, False) == []
    assert align_sequences(left, right, same_shape, True) == [(0, 0), (1, 1)]


def test_an_equal_class_is_enough() -> None:
    left, right = tokens("alpha", kind="Linear"), tokens("uno", kind="Linear")
    assert align_sequences(left, right, same_shape, False) == [(0, 0)]


def test_what_does_not_fit_is_never_paired() -> None:
    left, right = tokens("norm", (3, 3)), tokens("norm", (4, 4))
    assert align_sequences(left, right, same_shape, True) == []


def test_a_missing_module_leaves_one_gap() -> None:
    shapes = [(10, n) for n in (64, 128, 32, 64, 128, 32)]
    left = [Token(f"l{i}", shape, None) for i, shape in enumerate(shapes)]
    right = [Token(f"r{i}", shape, None) for i, shape in enumerate(shapes) if i != 2]
    expected = [(0, 0), (1, 1), (3, 2), (4, 3), (5, 4)]
    assert align_sequences(left, right, same_shape, True) == expected


def test_empty_sides() -> None:
    assert align_sequences([], tokens("a"), same_shape, True) == []
    assert align_sequences(tokens("a"), [], same_shape, True) == []


def test_likeness_grows_with_what_is_shared() -> None:
    a = Token("x.q_proj", (1, 10, 64), "Linear")
    values = [
        likeness(a, Token("y.other", (3,), None)),
        likeness(a, Token("y.other", (10, 64), None)),
        likeness(a, Token("y.q_projection", (10, 64), None)),
        likeness(a, Token("y.q_proj", (10, 64), None)),
        likeness(a, Token("y.q_proj", (10, 64), "Linear")),
    ]
    assert values == sorted(values) and len(set(values)) == len(values)


def test_long_sequences_with_drops_stay_together() -> None:
    rng = random.Random(3)
    shapes = [(rng.randrange(1, 50), 64) for _ in range(1500)]
    left = [Token(f"l{i}", shape, None) for i, shape in enumerate(shapes)]
    kept = [i for i in range(1500) if rng.random() > 0.02]
    right = [Token(f"r{i}", shapes[i], None) for i in kept]
    found = align_sequences(left, right, same_shape, True)
    right_ones = sum(1 for i, j in found if kept[j] == i)
    assert right_ones > 0.97 * len(kept)


def test_one_side_far_longer() -> None:
    left = [Token(f"l{i}", (i + 1,), None) for i in range(30)]
    right = [Token(f"r{i}", (i // 400 + 1,), None) for i in range(12_000)]
    found = align_sequences(left, right, same_shape, True)
    assert len(found) == 30


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12)
)
def test_pairs_increase_and_fit(left: list[str], right: list[str]) -> None:
    one = [Token(f"x.{n}", (ord(n),), None) for n in left]
    two = [Token(f"y.{n}", (ord(n),), None) for n in right]
    found = align_sequences(one, two, same_shape, False)
    assert all(left[i] == right[j] for i, j in found)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))
    assert len(found) == longest_common(left, right)


def longest_common(left: list[str], right: list[str]) -> int:
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]
