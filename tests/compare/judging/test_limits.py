"""Every limit of `compare.limits`: what is just below it passes, what is just above it does not.

The numbers are written out here once more: a limit that is moved must be moved twice, on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from layertui.compare import limits
from layertui.compare.comparison import Comparison
from layertui.compare.judging.evidence.by_part import (
    few_channels,
    few_rows,
    row_weights,
    scaled_by_channel,
    scaled_by_row,
)
from layertui.compare.judging.evidence.doubts import agrees, may_be_doubted
from layertui.compare.judging.evidence.form import Test
from layertui.compare.judging.evidence.gathering import (
    amplified,
    clamped,
    displaced,
    rounded,
    scaled,
)
from layertui.compare.judging.noise.dropout import ByStatistics
from layertui.compare.judging.noise.expert_routing import is_within_noise
from layertui.compare.judging.noise.floor import is_too_far
from layertui.compare.judging.noise.origins import State, is_copy, is_passed_on
from layertui.compare.judging.noise.peers import (
    LayerPeers,
    Typical,
    change_of,
    limit_of,
    log_median_mad,
)
from layertui.compare.judging.noise.reduced_precision import coarse_arithmetic
from layertui.compare.judging.outcome import unpaired_end
from layertui.compare.judging.policy import DtypePolicy
from layertui.compare.judging.row_facts import Facts
from layertui.compare.measuring.error_structure import Part, Structure
from layertui.compare.measuring.even_sample import weights
from layertui.compare.measuring.grids import grid_of, grids_of
from layertui.compare.measuring.masks import looks_like_mask
from layertui.compare.model import Measurement, Row, SideStatistics, Verdict
from layertui.compare.symptoms.fit import Pair, by_row, of_many
from layertui.compare.symptoms.others import Other, mixed_up
from layertui.compare.symptoms.parts import Axis, part_of_axis, whole_heads
from support.synthetic import record, saved

TINY = 1e-9


def above(decide: Callable[[float], object], limit: float, near: float = 1.02) -> None:
    """`decide` says yes from `limit` on."""
    assert not decide(limit / near), f"{limit / near:.4g} is below the limit"
    assert decide(limit * near), f"{limit * near:.4g} is above the limit"


def below(decide: Callable[[float], object], limit: float, near: float = 1.02) -> None:
    """`decide` says yes up to `limit`."""
    above(lambda value: not decide(value), limit, near)


# What a dtype allows


def side(l2: float) -> SideStatistics:
    return SideStatistics(-1.0, 1.0, 0.0, 1.0, l2, 0, 0, 0)


def level(dtype: str, error: float, peak: float = 0.0, value: float = 1.0) -> str:
    """The verdict on 100 elements of RMS 1 by the limits of a dtype."""
    row = Row(
        0, "pair", record("a-output", dtype=dtype), record("a-output", dtype=dtype), "a", "output"
    )
    result = Measurement(
        (100,), 100, 100, False, relative_l2=error, max_abs=peak, max_abs_index=(0,),
        max_abs_values=(value, value + peak), reference=side(10.0), candidate=side(10.0),
    )  # fmt: skip
    return DtypePolicy().judge(row, result).level


@pytest.mark.parametrize(
    ("dtype", "ok", "diverged", "peak", "epsilon"),
    [
        ("float64", 1e-9, 1e-6, 1e-5, 2**-52),
        ("complex128", 1e-9, 1e-6, 1e-5, 2**-52),
        ("float32", 1e-4, 1e-3, 3e-2, 2**-23),
        ("complex64", 1e-4, 1e-3, 3e-2, 2**-23),
        ("float16", 1e-2, 5e-2, 0.5, 2**-10),
        ("bfloat16", 4e-2, 0.12, 1.0, 2**-7),
        ("float8_e4m3fn", 0.15, 0.35, 2.0, 2**-3),
        ("float8_e5m2", 0.15, 0.35, 2.0, 2**-3),
    ],
)
def test_dtypes(dtype: str, ok: float, diverged: float, peak: float, epsilon: float) -> None:
    above(lambda error: level(dtype, error) == "drift", ok)
    above(lambda error: level(dtype, error) == "diverged", diverged)
    above(lambda size: level(dtype, 0.0, size, 0.0) == "diverged", peak)
    large = 1e3 * peak / epsilon  # so large that its own roundings are the limit
    above(lambda size: level(dtype, 0.0, size, large) == "diverged", 32 * epsilon * large + peak)


# What is known of a record


def structure(**more: Any) -> Structure:
    nothing = (0.0, 0.0, 0)
    known: dict[str, Any] = {
        "rows": 32, "channels": 32, "error": 0.1, "scale": 1.0, "scale_se": 0.0, "even_error": 0.1,
        "factor": (1.0, 0.0), "offset": (0.0, 0.0), "row_scale": None, "channel_scale": None,
        "channel_offset": None, "row_error": nothing, "channel_error": nothing,
        "channel_excess": 10.0, "saturated": 0,
        "distinct": (0, 0), "distinct_of": 0, "bits": (23, 23), "blocked": (0, 0),
    }  # fmt: skip
    return Structure(**{**known, **more})


def facts(
    error: float = TINY, index: int = 0, shape: tuple[int, ...] = (32, 32), **more: Any
) -> Facts:  # fmt: skip
    """A record of float32 numbers with no limits of its own but those given."""
    inside = {key: more.pop(key) for key in list(more) if key in Structure.__dataclass_fields__}
    count = math.prod(shape)
    result = Measurement(
        shape, count, count, False, relative_l2=error, structure=structure(**inside)
    )
    known: dict[str, Any] = {"unit": TINY, "floor": TINY, "ok": 0.0, "plain": error, **more}
    return Facts(index=index, error=error, dtype="float32", exact=False, result=result, **known)


def alone(found: Facts) -> LayerPeers:
    return LayerPeers([found])


def among(found: Facts, *others: Facts) -> LayerPeers:
    return LayerPeers([found, *(replace(other, index=at) for at, other in enumerate(others, 1))])


def shows(test: Test, found: Facts, *others: Facts) -> bool:
    return test(found, among(found, *others) if others else alone(found)) is not None


def test_a_factor_that_all_share() -> None:
    def factor(by: float, *others: Facts, **more: Any) -> bool:
        return shows(scaled, facts(factor=(1 + by, more.pop("se", 0.0)), **more), *others)

    above(lambda by: factor(by, ok=0.04, unit=2**-9), 0.15 * 0.04)
    above(lambda by: factor(by, ok=0.04, unit=1e-6), 32e-6)
    above(lambda by: factor(by, se=0.01), 8 * 0.01)
    above(lambda by: factor(by, facts(factor=(1.01, 0.0)), facts(factor=(1.01, 0.0))), 6 * 0.01)
    above(lambda by: factor(by, unit=0.01), 0.5 * 0.01)
    above(lambda by: factor(by, unit=0.01, mixed=True), 3 * 0.01)
    chance = math.sqrt(2 * math.log(18)) * 0.1 / math.sqrt(32)
    above(lambda by: factor(by, error=0.1), 0.9 * chance)
    above(lambda by: factor(by, error=0.1, sources=[facts(0.1, factor=(9.0, 0.0))]), 0.7 * chance)


def test_an_offset_that_all_share() -> None:
    above(lambda size: shows(displaced, facts(offset=(size, 0.0), ok=0.04)), 0.75 * 0.04)
    above(lambda size: shows(displaced, facts(offset=(size, 0.01))), 8 * 0.01)


def test_a_factor_by_row() -> None:
    def by(size: float, *others: float) -> bool:
        part = [Part(9.0, each, 9.0, each, 0) for each in (size, *others)]
        first, *rest = (facts(error=TINY, row_scale=each) for each in part)
        return shows(scaled_by_row, first, *rest)

    above(lambda size: by(size, 0.01, 0.01), 4 * 0.01)


def test_factors_by_part_against_rounding_sources_and_the_whole_error() -> None:
    def of(size: float) -> Part:
        return Part(9.0, size, 9.0, size, 0)

    def row(size: float, error: float = TINY, unit: float = TINY, before: float = 0.0) -> bool:
        sources = [facts(row_scale=of(before))] if before else []
        return shows(
            scaled_by_row, facts(error, unit=unit, row_scale=of(size), sources=sources)
        )  # fmt: skip

    above(lambda size: row(size, unit=0.01), 1.5 * 0.01)
    above(lambda size: shows(scaled_by_channel, facts(unit=0.01, channel_scale=of(size))), 0.04)
    above(lambda size: row(size, before=0.01), 3 * 0.01)
    below(lambda error: row(0.01, error), 0.01 / 0.6)


def test_few_elements_have_no_common_factor_or_offset() -> None:
    for test, more in ((scaled, {"factor": (2.0, 0.0)}), (displaced, {"offset": (1.0, 0.0)})):
        assert shows(test, facts(shape=(64,), **more)), test
        assert not shows(test, facts(shape=(63,), **more)), test


def test_rows_and_channels_that_stick_out() -> None:
    def channel(worst: float, middle: float, *others: Facts, **more: Any) -> bool:
        found = facts(error=0.1, channel_error=(middle, worst, 0), **more)
        return shows(few_channels, found, *others)

    above(lambda worst: channel(worst, 1e-3, ok=0.04), 2 * 0.04)
    above(lambda worst: channel(worst, 1e-6, unit=0.01), 8 * 0.01)
    above(lambda worst: channel(worst, 1e-3, sources=[facts(0.05)]), 3 * 0.05)
    above(lambda worst: channel(worst, 0.1), 12 * 0.1)
    above(lambda times: channel(2.0, 0.1, channel_excess=times), 3)
    usual_five = facts(0.1, channel_error=(0.1, 0.5, 0))
    above(lambda worst: channel(worst, 0.1, usual_five, usual_five), 4 * 5 * 0.1)


def test_rows_whose_sources_are_known() -> None:
    def row(worst: float, middle: float, before: float, *others: Facts) -> bool:
        source = facts(TINY, row_error=(before, before, 0))
        found = facts(error=0.1, row_error=(middle, worst, 0), sources=[source])
        return shows(few_rows, found, *others)

    above(lambda worst: row(worst, 0.1, 1e-6), 6 * 0.1)
    usual_five = facts(0.1, row_error=(0.1, 0.5, 0))
    above(lambda worst: row(worst, 0.1, 1e-6, usual_five, usual_five), 3 * 5 * 0.1)
    above(lambda worst: row(worst, 0.3 / 8, 0.1), 3 * 0.1)


def test_clamped_and_rounded() -> None:
    above(lambda count: shows(clamped, facts(saturated=round(count))), 4.5, near=1.1)

    def coarse(left: int, right: int) -> bool:
        usual_grid = facts(distinct=(left, left), distinct_of=600)
        found = facts(distinct=(left, right), distinct_of=600)
        return shows(rounded, found, usual_grid, usual_grid)

    below(lambda right: coarse(300, round(right)), 300 / 3, near=1.03)
    assert coarse(1000, 160) and not coarse(1000, 161)
    assert coarse(128, 10) and not coarse(127, 10)


def test_weights_of_experts() -> None:
    rows = facts(shape=(4, 64))
    assert row_weights(rows, facts(shape=(4, 16))) and not row_weights(rows, facts(shape=(4, 17)))


# What a step may make of the error that it is given


def test_amplification() -> None:
    above(lambda error: shows(amplified, facts(error, floor=1e-3)), 8 * 1e-3)
    below(lambda given: shows(amplified, facts(99.0, sources=[facts(given)])), 0.5)


def test_limits_of_an_amplification() -> None:
    assert limit_of(None) == 8
    assert limit_of(Typical(2.0, 9.0, 3)) == 4 * 2
    assert limit_of(Typical(2.0, 0.0, 5)) == 4 * 2
    assert limit_of(Typical(2.0, math.log(3) / 8, 6)) == pytest.approx(3 * 2)
    assert limit_of(Typical(2.0, 0.0, 6)) == 2.5 * 2
    assert limit_of(Typical(0.1, 0.0, 7)) == 3
    assert limit_of(Typical(0.1, 0.0, 8)) == 2
    assert limit_of(Typical(99.0, 0.0, 3)) == 32
    found = log_median_mad([0.0, 0.0])
    assert found is not None and found.middle == pytest.approx(0.05)


def test_of_many_the_one_that_is_asked_about_counts_too() -> None:
    for count, middle in ((16, 9.0), (17, 9.0), (8, 5.0), (32, 16.5)):
        members = [facts(error=at + 1.0, index=at) for at in range(count)]
        found = LayerPeers(members).median_of_others("error", lambda f: f.error, members[0])
        assert found == middle, count


def test_a_step_for_good() -> None:
    def steps(before: list[float], after: list[float]) -> bool:
        return change_of(range(99), [*before, *after]) is not None

    assert steps([1.0] * 4, [2.0] * 3)
    assert not steps([1.0] * 3, [2.0] * 4)
    assert not steps([1.0] * 5, [2.0] * 2)
    above(lambda after: steps([1.0] * 5, [after] * 5), 1.2)
    above(lambda after: steps([0.1] * 5, [after] * 5), 0.95)


def layers(path: Path, sizes: list[float], inherited: float = 1e-5) -> Comparison:
    """Projections whose outputs differ by so many times what their inputs differ by."""
    rng = np.random.default_rng(0)
    left: dict[str, np.ndarray] = {}
    right: dict[str, np.ndarray] = {}
    x, noise = (rng.standard_normal((16, 32)) for _ in range(2))
    for number, times in enumerate(sizes):
        for slot, size in (("input_0", inherited), ("output", times * inherited)):
            name = f"model.layers.{number}.mlp.down_proj-{slot}"
            # No two records are the same numbers: none is taken for another one.
            left[name] = (x + number + (slot == "output") / 2).astype(np.float32)
            scale = np.sqrt(np.mean(np.square(left[name])) / np.mean(np.square(noise)))
            right[name] = (left[name] + size * scale * noise).astype(np.float32)
    found = Comparison(saved(path / "ref", left), saved(path / "cand", right))
    assert found.measure(use_cache=False, threads=1)
    return found


def test_drift(tmp_path: Path) -> None:
    def drifts(times: float) -> bool:
        found = layers(tmp_path / f"{times}", [2, 2, times, 2, 2])
        return [verdict.level for verdict in found.verdicts].count("drift") == 1

    above(drifts, 1.6 * 2, near=1.15)

    def drifts_a_little(times: float) -> bool:
        found = layers(tmp_path / f"little-{times}", [0.5, 0.5, times, 0.5, 0.5])
        return [verdict.level for verdict in found.verdicts].count("drift") == 1

    above(drifts_a_little, 1.5, near=1.15)


def test_what_is_passed_on() -> None:
    below(lambda error: is_passed_on(facts(error, sources=[facts(0.1)])), 1.001 * 0.1, 1.0005)


def test_tokens_that_rounding_routes() -> None:
    below(lambda margin: is_within_noise(np.array([margin]), np.array([0.1])), 2 * 0.1)


def test_a_baseline_of_something_else() -> None:
    above(lambda error: is_too_far(error**2, 1.0), 0.35)


def test_the_rounding_of_a_step(tmp_path: Path) -> None:
    found = layers(tmp_path, [1.0, 1.0])
    assert {each.floor for each in found.analysis().facts.values()} == {4 * 2**-24}


def test_what_a_clean_run_would_have(tmp_path: Path) -> None:
    found = layers(tmp_path, [1.0, 1.0], inherited=0.05)
    analysis, row = found.analysis(), found.rows[1]
    error, result = analysis.facts[1].passed_on, found.measurements[1]
    assert isinstance(result, Measurement) and error == pytest.approx(0.05, rel=0.2)

    def inherits(clean: float) -> bool:
        return analysis.judged(row, result, State(None, True, clean)).level == "diverged"

    below(inherits, error / 4)


# Which values rule a record


def test_massive_values() -> None:
    def seen(value: float) -> float:
        x = np.ones((20, 20))
        x[3, 4] = value
        return float((x * weights(x))[3, 4])

    assert seen(5.9) == pytest.approx(5.9) and seen(11.9) == pytest.approx(6.0)

    def beside(value: float) -> float:
        x = np.ones((20, 20))
        x[3, 4] = value
        return float((x * weights(x))[5, 4])

    assert beside(11.9) == pytest.approx(1.0) and beside(24.0) == pytest.approx(0.5)

    def row(value: float) -> float:
        x = np.ones((20, 20))
        x[3] = value
        return float((x * weights(x))[3, 4])

    assert row(2.9) == pytest.approx(2.9) and row(60.0) == pytest.approx(3.0)

    def channel(value: float) -> float:
        x = np.ones((20, 20))
        x[:, 4] = value
        return float((x * weights(x))[3, 4])

    assert channel(0.55) == pytest.approx(1.0) and channel(0.1) == pytest.approx(0.1 / 0.5)


def test_masks() -> None:
    above(lambda low: looks_like_mask(np.array([0.0, -low, 0.0])), 1e4)


# Precision


def test_most_records_are_coarse() -> None:
    assert grid_of([7] * 8 + [23] * 2) == "bfloat16" and grid_of([7] * 7 + [23] * 3) is None


def test_one_side_is_coarse() -> None:
    def found(count: int) -> str | None:
        rows = [
            Row(at, "pair", record("a-output"), record("a-output"), "a", "output")
            for at in range(count)
        ]
        result = replace(facts().result, structure=structure(bits=(23, 7)))
        return grids_of(rows, [result] * count).candidate

    assert found(5) == "bfloat16" and found(4) is None


def projections(
    equal: list[float],
    near: tuple[tuple[float, float], ...] = (),
    given: float = 0.0,
) -> str | None:
    """What arithmetic is told from projections with equal inputs, that have these errors, and from
    others: (error of the inputs, error).
    """
    members = [(given, error) for error in equal] + list(near)
    found = coarse_arithmetic([facts(error, sources=[facts(e)]) for e, error in members])
    return None if found is None else found.kind.name


@pytest.mark.parametrize(
    ("name", "least", "greatest", "unit", "ok", "fewest", "before", "after"),
    [
        ("TF32 or float16", 0.35 * 2**-11, 0.9 * 2**-11, 2**-11, 1e-2, 3, None, None),
        ("bfloat16", 0.35 * 2**-8, 0.9 * 2**-8, 2**-8, 4e-2, 3, None, "8-bit weights"),
        ("8-bit weights", 0.9 * 2**-8, 0.04, 0.0, 4e-2, 4, "bfloat16", "4-bit weights"),
        ("4-bit weights", 0.04, 0.25, 0.0, 0.15, 4, "8-bit weights", None),
    ],
)
def test_coarse_kinds(
    name: str, least: float, greatest: float, unit: float, ok: float, fewest: int,
    before: str | None, after: str | None,
) -> None:  # fmt: skip
    assert projections([least / 1.02] * 5) == before and projections([least * 1.02] * 5) == name
    assert projections([greatest / 1.02] * 5) == name
    assert projections([greatest * 1.02] * 5) == after
    usual_error = math.sqrt(least * greatest)
    assert projections([usual_error] * fewest) == name
    assert projections([usual_error] * (fewest - 1)) is None
    applied = facts(TINY, linear=True)
    found = coarse_arithmetic([facts(usual_error, sources=[facts(0.0)]) for _ in range(5)])
    assert found is not None
    found.apply(applied)
    assert (applied.unit, applied.ok) == (max(unit, TINY), ok)
    assert applied.floor == pytest.approx(usual_error)


def test_coarse_projections_are_alike() -> None:
    above(lambda other: projections([0.1, 0.1, 0.1, other, other, other]) is None, 2 * 0.1)
    assert projections([0.1] * 6 + [0.9] * 4) is not None
    assert projections([0.1] * 5 + [0.9] * 4) is None
    below(lambda given: projections([0.1] * 5, given=given), 0.1 * 0.1)


def test_coarse_projections_behind_others() -> None:
    def behind(own: float, share: int = 9, inherited: float = 0.1) -> bool:
        made = (inherited, math.hypot(inherited, own * 0.1))
        near = [made] * share + [(inherited, inherited * 1.0001)] * (9 - share)
        return projections([0.1] * 3 if share == 9 else [0.1] * 5, tuple(near)) is not None

    above(behind, 0.7)
    assert behind(1.0, 3) and not behind(1.0, 2)
    # Behind greater errors nothing is seen: they do not count.
    above(lambda times: behind(0.0, 0, times * 0.1), 1.5)


# The whole


def test_the_end_of_a_run() -> None:
    assert unpaired_end([True] * 9 + [False]) == 1
    assert unpaired_end([True] * 10 + [False]) == 0


def test_equal_bits(tmp_path: Path) -> None:
    def same(count: int) -> bool:
        rng = np.random.default_rng(0)
        arrays = {
            f"model.layers.{n}-output": rng.standard_normal((4, 4)).astype(np.float32)
            for n in range(count)
        }
        sides = [saved(tmp_path / f"{count}" / name, arrays) for name in ("torch", "max")]
        sides = [replace(s, framework=f) for s, f in zip(sides, ("torch", "max"), strict=True)]
        found = Comparison(*sides)
        assert found.measure(use_cache=False, threads=1)
        return found.same is not None

    assert same(2) and not same(1)


# Pairs that do not seem to belong together


def doubted(how: str, error: float, cosine: float) -> bool:
    row = Row(0, "pair", record("a-output"), record("a-output"), "a", "output")
    row = replace(row, matched_by=cast(Any, how))
    known = facts(error)
    known.result = replace(known.result, cosine=cosine)
    return may_be_doubted(cast(Any, SimpleNamespace(rows=[row], layouts={})), known)


def test_doubtful_pairs() -> None:
    above(lambda error: doubted("order", error, 0.9), 0.25)
    below(lambda cosine: doubted("name", 1.0, cosine), 0.5)
    row = Row(0, "pair", record("a-output"), record("a-output"), "a", "output", matched_by="name")

    def is_alike(error: float, given: float = 0.0) -> bool:
        behind = facts(error, floor=1e-3, ok=1.0, sources=[facts(given, index=7)])
        analysis = SimpleNamespace(rows=[row], facts={1: behind})
        return agrees(cast(Any, analysis), 0, 1, set())

    below(is_alike, 2 * 1e-3)
    below(lambda error: is_alike(error, 0.01), 3 * 0.01)


# What a difference looks like


def pair(x: np.ndarray, y: np.ndarray) -> Pair:
    return Pair(x, y, np.arange(len(x)), np.arange(x.shape[1]), x.shape, 0.0)


def test_parts_that_agree() -> None:
    noise = np.random.default_rng(0).choice([-1.0, 1.0], (12, 64))
    x = np.random.default_rng(1).choice([-1.0, 1.0], (12, 64))

    def named(times: float) -> bool:
        size = np.where(np.arange(12) >= 5, times, 1.0)[:, None]
        found = part_of_axis(pair(x, x + 0.01 * size * noise))
        return any("from token 5 on" in symptom.evidence for symptom in found)

    above(named, 8.0)


def test_whole_heads() -> None:
    axis = Axis(1, "channel", 32)
    assert whole_heads(axis, np.arange(8, 16)) and not whole_heads(axis, np.arange(4, 8))


def test_mixed_up() -> None:
    x, other = np.eye(2, 64) * 3, np.roll(np.eye(2, 64), 5, 1) * 3
    off = np.roll(np.eye(2, 64), 20, 1)  # at a right angle to both
    apart = float(np.vdot(x - other, x - other))

    def named(share: float) -> bool:
        y = other + off * math.sqrt(share * apart / 2)
        return bool(list(mixed_up(pair(x, y), [Other("b-output", True, other, other)])))

    below(named, 0.05)


def test_factors_by_row() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 64))
    factors = rng.choice([-0.01, 0.01], (64, 1))
    noise = rng.standard_normal(x.shape)
    noise -= (noise * x).sum(1, keepdims=True) / (x * x).sum(1, keepdims=True) * x

    def named(share: float) -> bool:
        size = 0.01 * math.sqrt(share / (1 - share))
        found = by_row(pair(x, x + factors * x + size * noise))
        return any(symptom.name == "scale" for symptom in found)

    below(named, 0.5, near=1.08)
    values = np.zeros(20)
    values[:5] = 1.0
    assert not of_many(values)
    values[5] = 1.0
    assert of_many(values)


def test_copies_of_earlier_records() -> None:
    def is_other(error: float) -> bool:
        return not is_copy(facts(error, floor=0.0), facts(0.01, floor=0.0))

    above(is_other, 0.015)


def test_statistics_of_runs_with_dropout() -> None:
    row = Row(0, "pair", record("a-output"), record("a-output"), "a", "output")
    judging = ByStatistics(0, None, None)
    failing = Verdict("diverged", "", "made")

    def level_of(mean: float, size: float) -> str:
        left, right = (
            replace(side(1.0), mean=0.0, std=1.0),
            replace(side(1.0), mean=mean, std=size),
        )
        many = 1 << 40  # so that the sample's own error is nothing
        result = Measurement((many,), many, many, False, reference=left, candidate=right)
        return judging.verdicts([row], [result], [failing], {})[0].level

    above(lambda more: level_of(0.0, 1.0 + more) == "diverged", 0.25)
    above(lambda more: level_of(more, math.sqrt(1 - more**2)) == "diverged", 0.25)


def test_every_limit_is_known_here() -> None:
    """A new limit needs a test."""
    known = {name for name in vars(limits) if name.isupper()}
    tested = {
        "FLOAT8", "LIMITS", "PEAK_ROUNDINGS", "PART_OF_OK", "FACTOR_OF_OK", "FACTOR_UNITS",
        "OFFSET_OF_OK", "ROUNDINGS", "UNRELATED", "ALONE", "WIDEST", "NARROWEST", "LEAST",
        "LEAST_OF_SOME", "SOME", "NEVER", "NOTHING", "FEW", "MANY", "DRIFT", "INHERITED", "BEFORE",
        "AFTER", "STEP", "ADDS", "STANDARD_ERRORS", "ONE_INPUT", "PRODUCTS", "OTHER_DTYPE",
        "SAME_DTYPE", "TIMES_TYPICAL", "PART_TIMES_TYPICAL", "PEAK_RATIO", "SEEN_RATIO",
        "SEEN_TIMES_TYPICAL", "SEEN_WORST", "PEAK_UNITS", "PEAK_INHERITED", "PEAK_EXCESS",
        "CLAMPED", "COARSER",
        "FEW_MAGNITUDES", "FEW_WEIGHTS", "MASSIVE", "MASSIVE_CHANNEL", "MASSIVE_ROW",
        "SMALL_CHANNEL", "BLOCKED", "MOST_COARSE", "ONE_SIDE_COARSE", "COARSE_KINDS", "ALIKE",
        "MOST_ALIKE", "AGREE", "NEAR", "OWN", "OWN_SHARE", "LAST_SHARE", "FEWEST_EQUAL", "UNLIKE",
        "UNRELATED_COSINE", "AGREES", "AGREEING_PART", "LEAST_HEAD", "MIXED_UP", "OWN_BY_ROW",
        "FEW_ROWS", "COPIED", "STATISTICS_APART", "PASSED_ON", "SPREADS", "DRIFT_LEAST", "MARGIN",
        "FEWEST_FITTED", "ROW_UNITS", "CHANNEL_UNITS", "PART_INHERITED", "PART_OF_ERROR",
        "FEWEST_MAGNITUDES", "TOO_FAR", "OWN_BY_CHANNEL", "LEAST_SCORE", "SCORES_ALIKE",
        "CORRELATION_ERRORS", "LEAST_CORRELATION", "MOST_CORRELATION",
        "LEAST_TERM", "REGION_OF_ERROR", "REGION_OF_REFERENCE", "REGION_PART", "REGION_RUNS",
        "REGION_SCATTERED", "THUMB_ALIKE", "THUMB_UNLIKE", "THUMB_LARGE_MSE", "THUMB_SMALL_MSE",
        "THUMB_LARGE_RELATIVE", "THUMB_SMALL_ABSOLUTE", "DROPOUT_ELEMENTS", "DROPOUT_ROUNDING",
        "DROPOUT_RECENT", "LEAST_VOCABULARY",
        "TOTAL_SPREADS", "UNSEEN_SPREADS", "TOTAL_ROUNDING",  # in test_totals
    }  # fmt: skip
    assert known == tested


def test_the_documentation_has_every_limit() -> None:
    text = (Path(__file__).parents[3] / "docs/judging.md").read_text()
    missing = {name for name in vars(limits) if name.isupper() and f"| `{name}` |" not in text}
    assert missing == set()
