"""What is said of keys and values of earlier steps that are not what those steps made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from layertui.compare.laws.causes import diagnose
from layertui.compare.model import Cause
from support.laws.attention_stack import CULPRIT, TARGET, Change, Stack, attention_of, compared

TOKENS, STEPS = 24, 3
DTYPES = (torch.float32, torch.bfloat16)
FIRST = TOKENS - STEPS  # tokens of the prompt

# An example takes a second: few are tried, always the same, and none is made smaller.
several = settings(
    max_examples=8, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)
Cache = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a new directory at each call."""
    return lambda: tmp_path_factory.mktemp("pair")


def cache(change: Change, keys: bool = True, values: bool = True) -> Cache:
    """A change of what earlier steps left, `[batch, heads, tokens, width]`."""

    def past(x: Tensor) -> Tensor:
        return torch.cat([change(x[:, :, :-1].clone()), x[:, :, -1:]], 2)

    return lambda k, v: (past(k) if keys else k, past(v) if values else v)


def causes_by_step(
    folders: Any, dtype: torch.dtype, wrong: Cache, seed: int = 0, batch: int = 1
) -> dict[int, list[Cause]]:
    """The causes of the changed layer in every step that sticks out; no other layer does."""
    one, other = Stack(seed, dtype), Stack(seed, dtype)
    other.change(fused=True).change(CULPRIT, cache=wrong)
    found = compared(folders(), one, other, TOKENS, STEPS, batch)
    judged = attention_of(found)
    assert all(j.trusted for j in judged.values())
    out = [place for place, j in judged.items() if j.excess]
    assert {label for label, _ in out} == {TARGET}
    assert 0 not in {step for _, step in out}
    return {place[1]: list(diagnose(found.scene, judged[place]).causes) for place in out}


@several
@given(
    seed=st.integers(0, 999), dtype=st.sampled_from(DTYPES), fused=st.booleans(),
    batch=st.integers(1, 3),
)  # fmt: skip
def test_clean_steps_give_no_cause(
    folders: Any, seed: int, dtype: torch.dtype, fused: bool, batch: int
) -> None:
    one, other = Stack(seed, dtype), Stack(seed, dtype).change(fused=fused)
    found = attention_of(compared(folders(), one, other, TOKENS, STEPS, batch))
    assert len(found) == 5 * (STEPS + 1)
    for judged in found.values():
        assert judged.trusted
        assert judged.excess is None


def _without(first: int, last: int) -> Change:
    def change(x: Tensor) -> Tensor:
        x[:, :, first : last + 1] = 0
        return x

    return change


def _one_before(x: Tensor) -> Tensor:
    x[:, :, -1] = x[:, :, -2]
    return x


def _int8(x: Tensor) -> Tensor:
    step = x.float().abs().amax(-1, keepdim=True) / 127
    return ((x.float() / step).round() * step).to(x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (cache(_one_before), "cached keys and values of the last token before this step"),
        (cache(_one_before, values=False), "cached keys of the last token before this step"),
        (cache(_without(8, 12)), "tokens 8 to 12 are zeros"),
        (cache(lambda v: v.roll(1, 2), keys=False), "values are one entry later"),
        (cache(lambda k: k.roll(1, 2), values=False), "or the keys one later"),
        (cache(lambda x: x.roll(1, 1)), "of key head h are those of head h - 1"),
        (cache(lambda x: x.to(torch.float8_e4m3fn).to(x.dtype)), "rounded to float8_e4m3"),
    ],
)
def test_a_wrong_cache_is_described(
    folders: Any, dtype: torch.dtype, wrong: Cache, words: str
) -> None:
    found = causes_by_step(folders, dtype, wrong)
    assert set(found) == {1, 2, 3}
    for causes in found.values():
        assert causes[0].name == "kv-cache"
        assert words in causes[0].text


def test_a_cache_of_integers_is_described(folders: Any) -> None:
    for causes in causes_by_step(folders, torch.float32, cache(_int8)).values():
        assert causes[0].name == "kv-cache"
        assert "rounded to int8 by token and head" in causes[0].text


@several
@given(
    seed=st.integers(0, 999), dtype=st.sampled_from(DTYPES), place=st.integers(0, FIRST - 1),
    source=st.integers(0, FIRST - 1), keys=st.booleans(), values=st.booleans(),
)  # fmt: skip
def test_an_entry_that_was_written_over_is_found(
    folders: Any, seed: int, dtype: torch.dtype, place: int, source: int, keys: bool, values: bool
) -> None:
    assume(place != source and (keys or values))

    def change(x: Tensor) -> Tensor:
        x[:, :, place] = x[:, :, source]
        return x

    found = causes_by_step(folders, dtype, cache(change, keys, values), seed)
    pair = f"{place} holds {source}"
    for cause in (causes[0] for causes in found.values() if causes):
        if dtype is torch.bfloat16 and cause.after > 0.5 * cause.before:
            continue  # too small to be told
        assert cause.name == "kv-cache"
        if cause.candidate != "last one stale":
            assert pair in (cause.candidate, *cause.uncertainty.removeprefix("alike: ").split(", "))
        else:
            assert (place, source) == (FIRST - 1, FIRST - 2)
    if dtype is torch.float32:
        assert found and all(found.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cache_of_another_sequence_is_found(folders: Any, dtype: torch.dtype) -> None:
    found = causes_by_step(folders, dtype, cache(lambda x: x.roll(1, 0)), batch=3)
    assert set(found) == {1, 2, 3}
    for causes in found.values():
        assert causes[0].name == "kv-cache"
        assert causes[0].candidate == "0: 2, 1: 0, 2: 1"
