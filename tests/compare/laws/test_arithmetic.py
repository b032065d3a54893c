"""The arithmetic of a side, from errors of that size and from layers that say it themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from layertui.compare.laws.arithmetic import (
    OWN,
    arithmetic_of,
    arithmetic_said,
    own_limit,
)
from layertui.compare.laws.evaluate import asked
from layertui.compare.laws.registry import LAWS
from support.laws.law_checks import capture, tried
from support.laws.linear_faults import DOWN, GATE, int_groups, narrow_sums, nf4, rounded_rows
from support.laws.linear_models import (
    HIDDEN,
    LAYERS,
    WIDTH,
    Pairs,
    Product,
    Stack,
    bfloat16,
    label,
    linear_out,
    products,
    tf32,
)
from support.laws.linear_models import made as product

FINE, COARSE = 2.0**-24, 2.0**-8


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"), torch.float32)


# By size


@settings(max_examples=60, deadline=None)
@given(
    size=st.floats(0.5, 2.0), scatter=st.floats(0, 0.3), count=st.integers(3, 30),
    coarse=st.sampled_from([("bfloat16", 2.0**-8), ("TF32 or float16", 2.0**-11)]),
)  # fmt: skip
def test_errors_of_a_coarser_unit_are_of_that_arithmetic(
    size: float, scatter: float, count: int, coarse: tuple[str, float]
) -> None:
    random = np.random.default_rng(count)
    name, unit = coarse
    ratios = size * unit / FINE * np.exp(scatter * random.uniform(-1, 1, count))
    found = arithmetic_of(ratios.tolist(), FINE)
    assert (found.name, found.factor, found.count) == (name, unit / FINE, count)


@settings(max_examples=60, deadline=None)
@given(
    ratios=st.lists(st.floats(0, 16), min_size=0, max_size=30), unit=st.sampled_from((FINE, COARSE))
)
def test_errors_of_the_records_own_rounding_are_no_other_arithmetic(
    ratios: list[float], unit: float
) -> None:
    assert arithmetic_of(ratios, unit) == OWN


@pytest.mark.parametrize(
    "ratios",
    [
        [65536.0] * 2,  # too few
        [400.0] * 10,  # of no known unit
        [1e7] * 10,
        [1.0] * 4 + [65536.0] * 6,  # some layers only
        [1.0] * 6 + [65536.0] * 4,
    ],
)
def test_errors_of_no_known_size_are_no_arithmetic(ratios: list[float]) -> None:
    assert arithmetic_of(ratios, FINE) == OWN


def test_what_most_layers_say_is_taken() -> None:
    ratios = [90.0, 100.0, 110.0, 100.0]
    said = arithmetic_said(["int4 by row", None, "int4 by row", "int4 by row", "nf4"], ratios)
    assert (said.name, said.factor, said.count) == ("int4 by row", 100.0, 4)
    assert arithmetic_said(["int4 by row", None, None, "nf4"], ratios) == OWN
    assert arithmetic_said([None, None], ratios) == OWN
    assert arithmetic_said(["int4 by row"] * 2, ratios[:2]) == OWN
    assert arithmetic_said(["int4 by row"] * 2, ratios) == OWN  # too few to speak for the others
    assert arithmetic_said(["int4 by row"] * 4, [1.0, 5.0, 100.0, 900.0]) == OWN


def test_float32_sums_have_a_wider_limit_than_coarse_ones() -> None:
    assert own_limit(FINE) > 10 > 4 > own_limit(COARSE) > 1.6


# By what the layers say, on outputs that were made so


def activations(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return rounded_rows(x, 127), w


def both(rounding: Callable[[Tensor], Tensor]) -> Callable[[Product], None]:
    def plant(one: Product) -> None:
        one.factors = lambda x, w: (rounding(x), rounding(w))

    return plant


def weights(change: Callable[[Tensor], Tensor]) -> Callable[[Product], None]:
    def plant(one: Product) -> None:
        one.factors = lambda x, w: (x, change(w))

    return plant


def tokens(one: Product) -> None:
    one.factors = activations


def sums(one: Product) -> None:
    one.product = narrow_sums


MADE: dict[str, tuple[Callable[[Product], None], str]] = {
    "own": (lambda _: None, ""),
    "tf32": (both(tf32), "products in TF32 or float16"),
    "bfloat16": (both(bfloat16), "products in bfloat16"),
    "int8": (weights(lambda w: rounded_rows(w, 127)), "weights in int8 by row"),
    "int4": (weights(partial(int_groups, bits=4, size=32)), "weights in int4 in groups of 32"),
    "nf4": (weights(partial(nf4, size=32)), "weights in nf4 in groups of 32"),
    "tokens": (tokens, "activations in int8 by token"),
    "sums": (sums, "products accumulated in lower precision"),
}


@pytest.mark.parametrize("made", MADE)
def test_each_arithmetic_is_told_by_its_name_only(pairs: Pairs, made: str) -> None:
    change, name = MADE[made]
    other = pairs.other()
    for one in products(other):
        change(one)
    paths = (DOWN,) if made == "sums" else (GATE, DOWN)  # of 64 inputs, sums have few steps
    found = pairs.tried(other, paths=paths)
    names = {found.judged[label(path)].arithmetic_candidate.name for path in paths}
    assert all(said.startswith(name) and bool(said) == bool(name) for said in names), names
    assert not any(found.judged[label(path)].arithmetic_reference.name for path in paths)
    assert linear_out(found) == []


def test_a_factor_in_all_layers_is_no_arithmetic(pairs: Pairs) -> None:
    other = pairs.other()
    for at in range(LAYERS):
        other.part(DOWN, at).weight.data *= 1.01
    found = pairs.tried(other, paths=(DOWN, GATE))
    assert found.judged[label(DOWN)].arithmetic_candidate == OWN
    assert linear_out(found) == [label(DOWN, at) for at in range(LAYERS)]


@pytest.mark.parametrize("made", ["int4", "tf32"])
def test_one_layer_in_another_arithmetic_sticks_out(pairs: Pairs, made: str) -> None:
    found = pairs.changed(DOWN, MADE[made][0])
    assert found.out() == [label(DOWN)]
    assert found.judged[label(DOWN)].arithmetic_candidate == OWN


@pytest.mark.parametrize("made", ["int4", "tf32"])
def test_one_layer_in_a_finer_arithmetic_than_the_others_is_no_fault(
    pairs: Pairs, made: str
) -> None:
    other = pairs.other()
    for one in products(other):
        if one is not other.part(DOWN):
            MADE[made][0](one)
    assert linear_out(pairs.tried(other, paths=(DOWN, GATE))) == []


class Headed(Stack):
    """A stack with a last projection, which is alone of its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = product(HIDDEN, WIDTH, False)

    def forward(self, x: Tensor) -> list[Tensor]:
        given = super().forward(x)
        return [*given, self.lm_head(given[-1])]


@pytest.mark.parametrize("made", ["int8", "int4", "tf32", "tokens"])
def test_one_of_its_kind_excuses_nothing_by_itself(tmp_path: Path, made: str) -> None:
    """Only peers that compute alike make an arithmetic of what would be a fault."""
    pairs = Pairs(tmp_path, torch.float32, Headed())
    other = pairs.other()
    MADE[made][0](other.lm_head)
    assert linear_out(pairs.tried(other)) == ["lm_head-output"]


class Pair(nn.Module):
    """A norm and a projection of what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.q_proj = nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.q_proj(self.norm(x))


def test_layers_of_one_kind_under_two_laws_are_asked_by_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.ModuleList(Pair() for _ in range(3))})
    model.forward = lambda x: [layer(x) for layer in model["layers"]]  # type: ignore[method-assign]
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    left, right = (capture(model, tmp_path / n, torch.randn(20, 32)) for n in ("left", "right"))
    found = tried(left, right, tmp_path / "model.safetensors")
    evaluations = [judged.evaluation for judged in found.judged.values()]
    assert {evaluation.site.law for evaluation in evaluations} == {"norm", "linear"}
    coarse = [
        replace(
            e, site=replace(e.site, kind="one kind"), candidate=replace(e.candidate, ratio=1e4),
        )
        for e in evaluations
    ]  # fmt: skip
    for evaluation in asked(found.scene, LAWS, coarse):
        assert (evaluation.asked is not None) == (evaluation.site.law == "linear")
