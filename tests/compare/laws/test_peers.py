"""Which layers stick out among their peers: one, a few, all, and where there are hardly any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.compare.laws.evaluate import grids
from layertui.compare.laws.evaluation import Evaluation
from layertui.compare.laws.law import Fit, Site
from layertui.compare.laws.numerics.local_error import LocalError, Peak, Term
from layertui.compare.laws.numerics.quantities import Key
from layertui.compare.laws.peers import Judged, Peers

FINE, COARSE = 2.0**-24, 2.0**-8
Change = Callable[[LocalError], LocalError]


def error(ratio: float = 1.0, **more: object) -> LocalError:
    """What a clean layer has whose rows and channels scatter little."""
    made = LocalError(
        ratio=ratio, relative=1e-3, total=ratio, row=Peak(1.4 * ratio, 3),
        channel=Peak(1.5 * ratio, 7), group=Peak(1.1 * ratio, 1), middle_channel=ratio,
        gain=1.0, gain_error=1e-6, offset=0.5, rows=40,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def evaluation(
    at: int, candidate: LocalError, reference: LocalError | None = None, unit: float = COARSE,
    kind: str = "layers.N.norm-output", law: str = "norm",
) -> Evaluation:  # fmt: skip
    target = Key(f"layers.{at}.norm", "output")
    return Evaluation(
        Site(law, target.module, target, kind), Fit({}), reference or error(), candidate, unit,
        unit, at, 40, 40,
    )  # fmt: skip


def clean(count: int, level: float = 1.0, seed: int = 0, **more: object) -> list[Evaluation]:
    """Layers whose errors scatter by a fifth."""
    scatter = np.exp(0.2 * np.random.default_rng(seed).uniform(-1, 1, (count, 2)))
    return [
        evaluation(i, error(level * float(a)), error(level * float(b)), **more)  # type: ignore[arg-type]
        for i, (a, b) in enumerate(scatter)
    ]


def with_change(layers: list[Evaluation], change: Change, *at: int) -> list[Evaluation]:
    return [
        replace(e, candidate=change(e.candidate)) if i in at else e for i, e in enumerate(layers)
    ]


def out(layers: list[Evaluation]) -> list[int]:
    return [j.evaluation.row for j in Peers(layers).judged() if j.state == "breaks"]


def larger(times: float) -> Change:
    """Every row, channel and head is so much worse."""

    def change(e: LocalError) -> LocalError:
        return error(times * e.ratio)

    return change


# One of many


@pytest.mark.parametrize("unit", [FINE, COARSE])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 30])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_layers_do_not_stick_out(count: int, unit: float, seed: int) -> None:
    assert out(clean(count, seed=seed, unit=unit)) == []


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(5, 40), at=st.integers(0, 39), times=st.floats(12, 1e6),
    unit=st.sampled_from((FINE, COARSE)),
)  # fmt: skip
def test_one_worse_layer_sticks_out_alone(count: int, at: int, times: float, unit: float) -> None:
    at %= count
    layers = with_change(clean(count, unit=unit), larger(times), at)
    assert out(layers) == [at]


@settings(max_examples=30, deadline=None)
@given(times=st.floats(3.5, 100), at=st.integers(0, 29))
def test_a_coarse_layer_sticks_out_from_some_three_times(times: float, at: int) -> None:
    assert out(with_change(clean(30), larger(times), at)) == [at]


def single(part: str) -> Change:
    """One row, channel or head that is far off, where the median is as usual."""
    return lambda e: replace(e, **{part: Peak(60.0 * e.ratio, 5)})


@pytest.mark.parametrize("unit", [FINE, COARSE])
@pytest.mark.parametrize(
    ("part", "words"), [("row", "row 5"), ("channel", "channel 5"), ("group", "head 5")]
)
def test_one_row_or_channel_or_head_sticks_out(part: str, words: str, unit: float) -> None:
    layers = with_change(clean(12, unit=unit), single(part), 4)
    assert out(layers) == [4]
    (judged,) = [j for j in Peers(layers).judged() if j.excess is not None]
    assert judged.excess is not None and judged.excess.words == words
    assert not judged.excess.by_factor


@pytest.mark.parametrize("part", ["row", "channel"])
def test_a_row_that_is_as_far_off_in_all_layers_is_not_usual(part: str) -> None:
    """Peers that are wrong in the same way excuse nothing beyond a few times their level."""
    layers = with_change(clean(12), single(part), *range(12))
    assert out(layers) == list(range(12))


@pytest.mark.parametrize("part", ["row", "channel", "group"])
def test_what_the_reference_shows_as_well_is_no_fault(part: str) -> None:
    layers = clean(12)
    layers = [
        replace(e, reference=single(part)(e.reference), candidate=single(part)(e.candidate))
        if e.row == 4 else e for e in layers
    ]  # fmt: skip
    assert out(layers) == []


def test_a_common_factor_sticks_out_far_below_the_rounding() -> None:
    def change(e: LocalError) -> LocalError:
        return replace(e, gain=1.002, gain_error=2e-5)

    layers = with_change(clean(12), change, 7)
    assert out(layers) == [7]
    (judged,) = [j for j in Peers(layers).judged() if j.excess is not None]
    assert judged.excess is not None and judged.excess.by_factor
    assert "1.002" in judged.excess.words


def test_a_factor_that_is_not_sure_does_not_stick_out() -> None:
    layers = with_change(clean(12), lambda e: replace(e, gain=1.002, gain_error=1e-3), 7)
    assert out(layers) == []


@pytest.mark.parametrize(("gain", "sticks_out"), [(1.00299, False), (1.00301, True)])
def test_a_factor_that_shared_rounding_makes_does_not_stick_out(
    gain: float, sticks_out: bool
) -> None:
    layers = with_change(
        clean(12), lambda e: replace(e, gain=gain, gain_error=2e-5, shared=0.002), 7
    )
    assert out(layers) == ([7] if sticks_out else [])


def test_a_factor_of_all_layers_is_found_in_all() -> None:
    layers = with_change(clean(12), lambda e: replace(e, gain=1.002, gain_error=2e-5), *range(12))
    assert out(layers) == list(range(12))


def test_a_term_of_a_sum_with_a_factor_sticks_out() -> None:
    terms = (Term("a layers.4.mlp", 0.5, 1e-4), Term("b layers.4", 1.0, 1e-4))
    usual = (Term("a layers.4.mlp", 1.0, 1e-4), Term("b layers.4", 1.0, 1e-4))
    layers = [replace(e, reference=replace(e.reference, terms=usual),
                      candidate=replace(e.candidate, terms=usual)) for e in clean(12)]  # fmt: skip
    assert out(layers) == []
    changed = with_change(layers, lambda e: replace(e, terms=terms), 4)
    assert out(changed) == [4]
    (judged,) = [j for j in Peers(changed).judged() if j.excess is not None]
    assert judged.excess is not None and "layers.4.mlp" in judged.excess.words


def test_elements_that_are_not_finite_stick_out_whatever_else_is() -> None:
    layers = with_change(clean(12), lambda e: replace(e, bad=1), 2)
    assert out(layers) == [2]
    (judged,) = [j for j in Peers(layers).judged() if j.excess is not None]
    assert judged.excess is not None and "not finite" in judged.excess.words


# All layers, and few


@pytest.mark.parametrize("unit", [FINE, COARSE])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12, 30])
def test_a_fault_of_all_layers_is_no_usual_error(count: int, unit: float) -> None:
    layers = with_change(clean(count, unit=unit), larger(1e3), *range(count))
    assert out(layers) == list(range(count))


@pytest.mark.parametrize("unit", [FINE, COARSE])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_of_few_sticks_out(count: int, unit: float) -> None:
    layers = with_change(clean(count, unit=unit), larger(200.0), 0)
    assert out(layers) == [0]


def test_few_layers_have_all_of_the_same_law_for_peers() -> None:
    """The final norm is alone of its kind: it is judged by the norms of the layers."""
    final = evaluation(30, error(4.0), error(1.0), kind="norm-output")
    assert out([*clean(12), final]) == [30]
    assert out([*clean(12), replace(final, candidate=error(1.2))]) == []


def test_other_laws_are_no_peers() -> None:
    others = [
        replace(e, site=replace(e.site, law="residual", kind="layers.N-output"),
                candidate=error(200.0))
        for e in clean(12)
    ]  # fmt: skip
    norms = clean(12)
    assert out([*others, *norms]) == [e.row for e in others]


def test_two_laws_of_one_kind_have_a_usual_error_of_their_own() -> None:
    coarse, fine = clean(8, 6.0, law="linear"), clean(8, 0.5, seed=1)
    layers = with_change([*coarse, *fine], larger(8), len(coarse) + 3)
    usual = [judged.usual_candidate.ratio for judged in Peers(layers).judged()]
    assert max(usual[len(coarse) :]) < 1 < min(usual[: len(coarse)])
    assert out(layers)[-1:] == [3]


def test_a_third_of_the_layers_may_be_wrong() -> None:
    layers = with_change(clean(30), larger(30.0), *range(10))
    assert out(layers) == list(range(10))


# What is not judged


def test_a_law_that_the_reference_does_not_keep_to_says_nothing() -> None:
    layers = clean(12)
    layers[3] = replace(layers[3], reference=error(1e4), candidate=error(1e5))
    layers[5] = replace(layers[5], reference=replace(layers[5].reference, bad=1))
    layers[6] = replace(layers[6], reference=error(row=Peak(1e3, 0)), candidate=error(1e3))
    judged = Peers(layers).judged()
    assert [j.evaluation.row for j in judged if j.state == "unknown"] == [3, 5, 6]
    assert [j.evaluation.row for j in judged if j.state == "breaks"] == []


def test_no_evaluations_are_no_peers() -> None:
    assert Peers([]).judged() == []


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(12)))
def test_the_order_of_layers_does_not_matter(order: list[int]) -> None:
    layers = with_change(clean(12), larger(30.0), 4, 9)

    def said(judged: list[Judged]) -> dict[int, tuple[str, float]]:
        return {
            j.evaluation.row: (j.state, 0.0 if j.excess is None else j.excess.times) for j in judged
        }

    assert said(Peers([layers[i] for i in order]).judged()) == said(Peers(layers).judged())


@pytest.mark.parametrize(("rows", "times", "sticks_out"), [
    (40, 4.5, True), (4, 4.5, True), (3, 4.5, False), (1, 4.5, False), (1, 7.0, True),
])  # fmt: skip
def test_the_median_of_few_rows_scatters_as_rows_do(
    rows: int, times: float, sticks_out: bool
) -> None:
    layers = [replace(e, candidate=replace(e.candidate, rows=rows)) for e in clean(20)]

    def change(found: LocalError) -> LocalError:
        return replace(found, ratio=times, total=times, row=Peak(times, 0))

    assert out(with_change(layers, change, 7)) == ([7] if sticks_out else [])


# Grids


def test_the_grid_of_a_layer_is_held_to_that_of_its_law_s_own_peers() -> None:
    """Two laws of one kind of record may be of unlike precision: neither is odd for that."""
    fine = [replace(e, unit_reference=FINE) for e in clean(6, unit=FINE)]
    coarse = [replace(e, unit_reference=FINE) for e in clean(2, law="rotary")]
    assert grids([*fine, *coarse]) == [None] * 8
    odd = replace(fine[0], unit_candidate=COARSE)
    assert grids([odd, *fine[1:], *coarse]) == [FINE] + [None] * 7
