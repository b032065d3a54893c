"""Orders of channels that loaders mix up: each against what torch's reshapes give."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.laws.numerics import permutations
from layertui.compare.laws.numerics.permutations import (
    Order,
    of_heads,
    of_inputs,
    of_outputs,
    of_parts,
)

HEADS, SHARED, SIZE = 8, 2, 16
WIDTH = HEADS * SIZE
PLAIN = torch.arange(WIDTH)


def orders() -> list[Order]:
    found = chain(
        of_outputs(WIDTH, HEADS, SHARED, [8]), of_inputs(WIDTH, HEADS, SHARED),
        of_parts([WIDTH, 32, 32], ("q", "k", "v"), (HEADS, SHARED)),
        of_parts([64, 64], ("gate", "up"), ()),
    )  # fmt: skip
    return list(found)


@pytest.mark.parametrize("order", orders(), ids=lambda o: o.words.replace(" ", "-"))
def test_every_order_is_a_permutation_that_moves_something(order: Order) -> None:
    plain = np.arange(len(order.order))
    assert np.array_equal(np.sort(order.order), plain)
    assert not np.array_equal(order.order, plain)


def test_no_order_of_a_family_is_there_twice() -> None:
    for family in (
        of_outputs(WIDTH, HEADS, SHARED), of_inputs(WIDTH, HEADS, SHARED),
        of_parts([WIDTH, 32, 32], ("q", "k", "v"), (HEADS, SHARED)),
    ):  # fmt: skip
        seen = [tuple(order.order) for order in family]
        assert len(seen) == len(set(seen))


def of_words(words: str, found: list[Order]) -> np.ndarray:
    """The only order whose words have these."""
    (order,) = [order.order for order in found if words in order.words]
    return order


def test_rotary_pairs_are_those_of_the_models_that_have_them() -> None:
    """Llama's checkpoints by Meta have pairs side by side; transformers' converter turns them into
    halves: `w.view(heads, size / 2, 2, -1).transpose(1, 2)`.
    """
    converted = PLAIN.view(HEADS, SIZE // 2, 2).transpose(1, 2).reshape(-1)
    back = PLAIN.view(HEADS, 2, SIZE // 2).transpose(1, 2).reshape(-1)
    found = [o for o in of_outputs(WIDTH, HEADS, SHARED) if "rotary" in o.words]
    assert np.array_equal(of_words("are in halves", found), converted.numpy())
    assert np.array_equal(of_words("are interleaved", found), back.numpy())


def test_a_rotated_part_leaves_the_rest_of_a_head() -> None:
    found = [o for o in of_outputs(WIDTH, HEADS, SHARED, [8]) if "first 8" in o.words]
    assert len(found) == 2
    for order in found:
        heads = order.order.reshape(HEADS, SIZE)
        assert np.array_equal(heads[:, 8:], np.arange(WIDTH).reshape(HEADS, SIZE)[:, 8:])
        assert not np.array_equal(heads[:, :8], np.arange(WIDTH).reshape(HEADS, SIZE)[:, :8])


def test_heads_by_group_and_in_turns() -> None:
    found = list(of_heads("head-order", WIDTH, HEADS, SHARED))
    heads = PLAIN.view(SHARED, HEADS // SHARED, SIZE)
    turned = heads.transpose(0, 1).reshape(-1)
    assert np.array_equal(of_words("interleaved across groups instead", found), turned.numpy())
    back = PLAIN.view(HEADS // SHARED, SHARED, SIZE).transpose(0, 1).reshape(-1)
    assert np.array_equal(of_words("instead of interleaved", found), back.numpy())
    reverse = PLAIN.view(HEADS, SIZE).flip(0).reshape(-1)
    assert np.array_equal(of_words("reverse", found), reverse.numpy())


def test_heads_are_not_moved_where_there_is_one() -> None:
    assert list(of_heads("head-order", WIDTH, 1, 1)) == []
    assert list(of_heads("head-order", 10, 4, 1)) == []


def test_joined_parts_by_group() -> None:
    """As GPT-NeoX and BLOOM have them by head, Falcon by group, Megatron by shard."""
    q, k, v = torch.arange(128), torch.arange(128, 160), torch.arange(160, 192)
    by_group = torch.cat(
        [q.view(2, -1), k.view(2, -1), v.view(2, -1)], 1
    ).reshape(-1)  # fmt: skip
    found = list(of_parts([128, 32, 32], ("q", "k", "v"), (HEADS, SHARED)))
    assert np.array_equal(of_words("are interleaved in 2", found), by_group.numpy())
    taken = of_words("are read as interleaved in 2 groups", found)
    assert np.array_equal(by_group.numpy()[taken], np.arange(192))
    swapped = torch.cat([q, v, k])
    assert np.array_equal(of_words("k and v are swapped", found), swapped.numpy())


def test_gate_and_up_row_by_row() -> None:
    found = list(of_parts([4, 4], ("gate", "up"), ()))
    assert of_words("alternate row by row", found).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert of_words("are in reverse order", found).tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(heads=st.integers(1, 8), size=st.integers(1, 20), groups=st.integers(1, 4))
def test_odd_sizes_make_no_harm(heads: int, size: int, groups: int) -> None:
    shared = max(1, heads // groups)
    width = heads * size
    for order in chain(of_outputs(width, heads, shared), of_inputs(width, heads, shared)):
        assert np.array_equal(np.sort(order.order), np.arange(width)), order.words


def test_sizes_of_heads_are_guessed_where_no_config_is() -> None:
    assert permutations.head_sizes(128, 8) == [16]
    assert 64 in permutations.head_sizes(576, 1) and 100 not in permutations.head_sizes(576, 1)


def test_words_say_which_channels_are_meant() -> None:
    """The input channels of `o_proj` are no rows of its weight."""
    assert not [o.words for o in of_inputs(WIDTH, HEADS, SHARED) if "rows" in o.words]
