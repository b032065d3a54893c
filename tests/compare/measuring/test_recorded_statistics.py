"""Pairs of which a side was captured without its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.projections import digest_of, summary_of
from layertui.capture.records import Capture, Locator, Record
from layertui.compare.comparison import Comparison
from layertui.compare.model import ByStatistics, Verdict
from layertui.compare.rules.rules import RecipeRule, Rules
from support.synthetic import saved

Array = np.ndarray
NAMES = ("embed_tokens-output", "layers.0.mlp-output", "norm-output")


def statistics(x: Array, sketch: bool = True, **other: Any) -> dict[str, Any]:
    """What a capture without values records of an array."""
    fine = x[np.isfinite(x)].astype(np.float64)
    found: dict[str, Any] = {
        "min": float(fine.min()), "max": float(fine.max()), "mean": float(fine.mean()),
        "std": float(fine.std()), "l2": float(np.linalg.norm(fine)),
        "nan": int(np.isnan(x).sum()), "inf": int(np.isinf(x).sum()),
        "zeros": int((x == 0).sum()), "count": x.size,
    }  # fmt: skip
    if sketch:
        found |= {"hash": digest_of((x,), x.dtype.name), "sketch": summary_of(x)}
    return found | other


def bare(name: str, shape: tuple[int, ...], stats: Any, dtype: str = "float32") -> Record:
    module, _, slot = name.rpartition("-")
    return Record(name, module, slot, path="manifest", shape=shape, dtype=dtype, stats=stats)


def one(record: Record) -> Capture:
    return Capture("/dump", "test", [record], "test", True)


def compared(first: Record, second: Record, rules: Rules | None = None) -> Comparison:
    comparison = Comparison(one(first), one(second), rules)
    assert comparison.measure(use_cache=False)
    return comparison


def verdict(x: Array, y: Array, sketch: bool = True, **of_candidate: Any) -> Verdict:
    """The verdict of two arrays by what is recorded of them."""
    comparison = compared(
        bare("norm-output", x.shape, statistics(x, sketch), x.dtype.name),
        bare("norm-output", y.shape, statistics(y, sketch, **of_candidate), y.dtype.name),
    )
    (found,) = comparison.verdicts
    if found.level not in ("shape", "unreadable", "missing"):
        assert found.by_statistics and found.reason.startswith("by statistics: ")
    return found


def drawn(shape: tuple[int, ...] = (1, 10, 64), seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def noisy(x: Array, size: float) -> Array:
    rng = np.random.default_rng(9)
    return (x + size * rng.standard_normal(x.shape)).astype(x.dtype)


def test_only_equal_hashes_are_identical() -> None:
    x = drawn()
    assert verdict(x, x).level == "identical"
    assert verdict(x, x, sketch=False).level == "ok"
    assert verdict(x, x, hash="another").level == "ok"


@pytest.mark.parametrize(
    ("size", "level"), [(1e-6, "ok"), (3e-4, "drift"), (3e-3, "diverged"), (1.0, "diverged")]
)
def test_the_estimate_is_held_against_the_dtypes_limits(size: float, level: str) -> None:
    assert verdict(drawn(), noisy(drawn(), size)).level == level


MOVES: dict[str, Callable[[Array], Array]] = {
    "tokens": lambda x: np.roll(x, 1, 1), "channels": lambda x: x[..., ::-1].copy(),
    "rope": lambda x: x.reshape(1, 10, 4, 2, 8).swapaxes(3, 4).reshape(x.shape),
    "heads": lambda x: x.reshape(1, 10, 4, 16)[:, :, [1, 0, 3, 2]].reshape(x.shape),
}  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
def test_moved_elements_are_seen_with_the_sketch_and_their_order_left_open_without(
    move: str,
) -> None:
    x = drawn()
    assert verdict(x, MOVES[move](x)).level == "diverged"
    without = verdict(x, MOVES[move](x), sketch=False)
    assert without.level == "ok" and "the order of elements is not seen" in without.reason


FAULTS: dict[str, Callable[[Array], Array]] = {
    "scale": lambda x: x * np.float32(1.01), "offset": lambda x: x + np.float32(0.02),
    "spread": lambda x: np.where(np.abs(x) < 1, x, x * np.float32(1.02)),
    "peak": lambda x: np.where(x == x.max(), x * 2, x), "zeros": np.zeros_like,
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sketch", [True, False])
def test_what_rounding_does_not_explain_diverges(fault: str, sketch: bool) -> None:
    assert verdict(drawn(), FAULTS[fault](drawn()), sketch).level == "diverged"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("sketch", [True, False])
def test_a_nan_on_one_side_is_one(bad: float, sketch: bool) -> None:
    x = drawn()
    y = x.copy()
    y[0, 3, 5] = bad
    assert verdict(x, y, sketch).level == "nan"
    assert verdict(y, x, sketch).level == "nan"


def test_statistics_that_are_nan_themselves_are_one() -> None:
    broken = {name: float("nan") for name in ("min", "max", "mean", "l2")}
    comparison = compared(
        bare("norm-output", (4, 4), statistics(drawn((4, 4)), False)),
        bare("norm-output", (4, 4), broken),
    )
    assert comparison.verdicts[0].level == "nan"


def test_nothing_finite_on_either_side_is_no_agreement() -> None:
    empty = {"min": None, "max": None, "mean": None, "std": None, "l2": None, "nan": 16, "inf": 0,
             "zeros": 0, "count": 16}  # fmt: skip
    comparison = compared(bare("a-output", (4, 4), empty), bare("a-output", (4, 4), empty))
    assert comparison.verdicts[0].level == "nan"


def test_another_number_of_elements_does_not_fit() -> None:
    assert verdict(drawn((4, 8)), drawn((4, 9))).level == "shape"


@pytest.mark.parametrize("stats", [{}, {"zeros": None}, {"printed_decimals": 4}])
def test_statistics_that_say_nothing_are_unreadable(stats: dict[str, Any]) -> None:
    x = drawn((4, 4))
    comparison = compared(bare("a-output", (4, 4), statistics(x)), bare("a-output", (4, 4), stats))
    assert comparison.verdicts[0].level == "unreadable"
    assert comparison.exit_status() == 1


def test_nothing_in_common_is_unreadable() -> None:
    comparison = compared(
        bare("a-output", (4, 4), {"min": 1.0}), bare("a-output", (4, 4), {"mean": 1.0})
    )
    assert comparison.verdicts[0].level == "unreadable"


def test_hashes_of_different_tools_say_nothing() -> None:
    x = drawn()
    plain = statistics(x, False, hash="d41d8cd98f00b204e9800998ecf8427e")
    comparison = compared(
        bare("a-output", x.shape, statistics(x)), bare("a-output", x.shape, plain)
    )
    assert comparison.verdicts[0].level == "ok"


def test_whole_numbers_are_equal_or_not() -> None:
    x = np.arange(24).reshape(4, 6) % 7
    y = x.copy()
    y[2, 2] += 1
    assert verdict(x, x).level == "identical"
    assert verdict(x, x, sketch=False).level == "ok"
    assert verdict(x, y).level == "diverged"
    assert verdict(x, y, sketch=False).level == "diverged"
    assert verdict(x, x[:, ::-1].copy()).level == "diverged"


def test_printed_digits_are_no_difference() -> None:
    x = drawn() + 3
    printed = {name: float(f"{n:.1e}") for name, n in statistics(x, False).items()}
    said = {**printed, "count": x.size, "nan": 0, "inf": 0, "zeros": 0, "printed_significant": 2}
    comparison = compared(bare("a-output", x.shape, statistics(x)), bare("a-output", x.shape, said))
    assert comparison.verdicts[0].level == "ok"


def test_the_deviation_of_a_sample_is_no_difference() -> None:
    x = drawn((2, 8))
    of_sample = statistics(x, False, std=float(x.std(ddof=1)))
    comparison = compared(
        bare("a-output", x.shape, statistics(x)), bare("a-output", x.shape, of_sample)
    )
    assert comparison.verdicts[0].level == "ok"


def test_where_a_difference_lies_is_said() -> None:
    x = drawn((6, 32))
    y = x.copy()
    y[4] += 3
    assert "at 4 of axis 0" in verdict(x, y).reason


# Against captures with values


def full(tmp_path: Path, arrays: Mapping[str, Array]) -> Capture:
    return saved(tmp_path / "full", arrays)


def without_values(capture: Capture, arrays: Mapping[str, Array]) -> Capture:
    made = [
        bare(record.name, record.shape or (), statistics(arrays[record.name]))
        for record in capture.records
    ]
    return Capture("/bare", "test", made, "test", True, capture.root)


def test_a_capture_with_values_meets_one_without(tmp_path: Path) -> None:
    arrays = {name: drawn(seed=number) for number, name in enumerate(NAMES)}
    capture = full(tmp_path, arrays)
    other = without_values(capture, {**arrays, NAMES[2]: noisy(arrays[NAMES[2]], 0.01)})
    for sides in ((capture, other), (other, capture)):
        comparison = Comparison(*sides)
        comparison.measure(use_cache=False)
        assert [v.level for v in comparison.verdicts] == ["identical", "identical", "diverged"]
        assert comparison.counts.coverage == 1
        first = comparison.first_divergence()
        assert first is not None and first.reference == NAMES[2]
        result = comparison.measurements[2]
        assert isinstance(result, ByStatistics)
        assert result.relative_l2 == pytest.approx(0.01, rel=0.2)


def test_a_part_of_a_record_without_values_is_not_compared(tmp_path: Path) -> None:
    q, k, v = (drawn((10, n), n) for n in (32, 16, 17))
    joined = np.concatenate([q, k, v], axis=1)
    names = (f"layers.0.self_attn.{letter}_proj-output" for letter in "qkv")
    parts = dict(zip(names, (q, k, v), strict=True))
    capture = full(tmp_path, parts)
    name = "layers.0.self_attn.qkv_proj-output"
    comparison = Comparison(capture, one(bare(name, joined.shape, statistics(joined))))
    comparison.measure(use_cache=False)
    assert {v.level for v in comparison.verdicts} == {"missing"}
    assert all("part of it" in v.reason for v in comparison.verdicts)
    assert comparison.exit_status() == 1


def test_a_part_of_a_record_with_values_is(tmp_path: Path) -> None:
    q, k, v = (drawn((10, n), n) for n in (32, 16, 17))
    name = "layers.0.self_attn.qkv_proj-output"
    capture = full(tmp_path, {name: np.concatenate([q, k, v], axis=1)})
    made = [
        bare(f"layers.0.self_attn.{n}_proj-output", x.shape, statistics(x))
        for n, x in zip("qkv", (q, k, v), strict=True)
    ]
    comparison = Comparison(Capture("/bare", "test", made, "test", True), capture)
    comparison.measure(use_cache=False)
    assert [v.level for v in comparison.verdicts] == ["identical"] * 3


def test_moved_axes_leave_only_what_does_not_depend_on_order() -> None:
    x = drawn((5, 7))
    rules = Rules(recipes=(RecipeRule("norm-output", candidate="transpose(0, 1)"),))
    moved = np.ascontiguousarray(x.T)
    comparison = compared(
        bare("norm-output", x.shape, statistics(x)),
        bare("norm-output", moved.shape, statistics(moved)), rules,
    )  # fmt: skip
    (found,) = comparison.verdicts
    assert found.level == "ok" and "order of elements is not seen" in found.reason


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), size=st.sampled_from([1e-4, 1e-3, 1e-2, 0.3]),
    shape=st.sampled_from([(4, 33), (1, 13, 96), (2, 3, 5, 8)]),
)  # fmt: skip
def test_a_real_difference_is_never_called_less_than_it_is(
    seed: int, size: float, shape: tuple[int, ...]
) -> None:
    x = drawn(shape, seed)
    y = (x + size * np.random.default_rng(seed + 1).standard_normal(shape)).astype(np.float32)
    true = float(np.linalg.norm(y.astype(float) - x) / np.linalg.norm(x.astype(float)))
    level = verdict(x, y).level
    if true > 1.25e-3:
        assert level == "diverged"
    if true > 1.25e-4:
        assert level in ("drift", "diverged")


# Hostile files


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["min", "max", "mean", "std", "l2", "norm", "nan", "inf", "zeros", "count",
                         "hash", "sketch"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.text(),
            st.lists(st.integers(), max_size=2), st.dictionaries(st.text(), st.text(), max_size=2),
        ),
    )
)  # fmt: skip
def test_whatever_a_file_holds_as_statistics_is_no_traceback(stats: dict[str, Any]) -> None:
    x = drawn((4, 4))
    comparison = compared(bare("a-output", (4, 4), statistics(x)), bare("a-output", (4, 4), stats))
    assert comparison.verdicts[0].level not in ("pending", "identical")
    assert not str(comparison.verdicts[0].reason).startswith("measuring failed")


@pytest.mark.torch
def test_captures_of_our_own_are_compared_with_and_without_values(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from layertui.capture import record
    from layertui.compare.comparison import open_comparison

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(24, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))
    given = torch.randn(2, 5, 24)

    def run(name: str, **options: Any) -> str:
        with torch.no_grad(), record(model, tmp_path / name, **options):
            model(given)
        return str(tmp_path / name)

    bare_one, whole = run("bare", stats_only=True), run("whole")
    with torch.no_grad():
        model[2].weight.copy_(model[2].weight.roll(1, 0))
    rolled = run("rolled", stats_only=True)
    for reference in (bare_one, whole):
        comparison = open_comparison(reference, bare_one)
        comparison.measure(use_cache=False)
        assert {v.level for v in comparison.verdicts} == {"identical"}
        comparison = open_comparison(reference, rolled)
        comparison.measure(use_cache=False)
        first = comparison.first_divergence()
        assert first is not None and first.module == "2"
        assert comparison.exit_status() == 1


def test_the_report_has_the_estimate() -> None:
    from layertui.compare.reports.forms.json_form import json_report

    x = drawn()
    comparison = compared(
        bare("a-output", x.shape, statistics(x)),
        bare("a-output", x.shape, statistics(noisy(x, 0.01))),
    )
    (row,) = json_report(comparison, "compare")["rows"]
    assert row["by_statistics"] is True
    assert row["estimated_relative_l2"] == pytest.approx(0.01, rel=0.2)


def test_a_record_without_values_has_no_locator() -> None:
    found = bare("a-output", (3,), {"mean": 1.0})
    assert found.by_statistics and found.comparable
    found.locator = Locator("x", "float32", (3,))
    assert not found.by_statistics
