"""Passes over real captures: partial dumps, one side, files that break, progress, stopping."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from layertui.capture.errors import RecordError
from layertui.capture.load import load_any
from layertui.capture.open import open_capture
from layertui.capture.records import Record
from layertui.capture.values import PartialValues
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.inspection import running
from layertui.compare.inspection.axes import AxesAnalysis
from layertui.compare.inspection.heat import HeatAnalysis, HeatPlan, default_axes
from layertui.compare.inspection.profile import Profile, ProfileAnalysis
from layertui.compare.inspection.report import row_report
from layertui.compare.inspection.running import Pass
from layertui.compare.inspection.subject import (
    NothingToInspectError,
    Subject,
    subject_of,
    subject_of_record,
)
from layertui.compare.inspection.text_views import VIEW_NAMES, Inspection
from layertui.compare.inspection.top import Top, TopAnalysis
from layertui.compare.measuring.pair_reader import CancelledError, PairReader, SideError
from layertui.compare.recipes.errors import RecipeError
from support.looking import run, subject
from support.small_captures import huge_sides, layer_file, two_sides


def profile_of(about: Subject, block: int = 1 << 17, **more: object) -> Profile:
    return run(lambda shape: ProfileAnalysis(about, shape), about, block, **more)


def top_of(about: Subject, block: int = 1 << 17) -> Top:
    return run(lambda shape: TopAnalysis(about, shape, "abs", 10), about, block)


def sparse(folder: Path, count: int, name: str) -> Path:
    """A file of zeros that takes no space."""
    path = folder / f"{name}.npy"
    header = np.lib.format.header_data_from_array_1_0(np.broadcast_to(np.float32(0), (count,)))
    header["fortran_order"] = False
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        os.truncate(file.fileno(), file.tell() + 4 * count)
    return path


# Partial dumps


def partial_row(real: Path) -> tuple[Comparison, int]:
    """A pair of a console log of which only some elements were printed."""
    sides = real / "llama-console"
    comparison = open_comparison(str(sides / "torch_tensors.log"), str(sides / "max_tensors.log"))
    for row in comparison.rows:
        records = row.reference, row.candidate
        if row.problem is None and all(r is not None and r.partial is not None for r in records):
            return comparison, row.index
    raise AssertionError("no partial pair")


def positions(record: Record | None) -> set[int]:
    assert record is not None and record.locator is not None
    loaded = load_any(record.locator)
    assert isinstance(loaded, PartialValues)
    return set(loaded.positions.tolist())


def test_partial_dumps_are_looked_at_where_both_have_elements(real: Path) -> None:
    comparison, index = partial_row(real)
    row = comparison.rows[index]
    both = positions(row.reference) & positions(row.candidate)
    about = subject_of(comparison, index)
    for block in (1 << 17, 7):
        profile = profile_of(about, block)
        assert profile.reference is not None
        assert profile.compared == len(both) == profile.reference.count
        top = top_of(about, block)
        assert top.compared == len(both)
        strides = [int(np.prod(top.shape[axis + 1 :])) for axis in range(len(top.shape))]
        for one in top.differences:
            assert sum(a * b for a, b in zip(one.index, strides, strict=True)) in both
    rankings = run(AxesAnalysis, about)
    rms = np.sqrt(sum(value**2 for value in rankings[-1].rms))
    assert rms > 0 or top.differing == 0
    text = row_report(comparison, index, views=VIEW_NAMES)
    assert "..." in text[text.index("VALUES") :]


def test_cells_without_any_element_are_told_apart(real: Path) -> None:
    comparison, index = partial_row(real)
    about = subject_of(comparison, index)
    with PairReader(about.reference, about.candidate) as reader:
        shape, shown = reader.shape, reader.shown
        assert shown is not None
        region = tuple((0, size) for size in shape)
        plan = HeatPlan("difference", region, *default_axes(shape), 1000, 1000)
        heat = Pass(lambda _: HeatAnalysis(plan), region=plan.key()).read(reader)
    assert np.count_nonzero(heat.filled) == np.count_nonzero(shown)


# One side, no values


def test_a_gap_shows_its_side(real: Path) -> None:
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    comparison = open_comparison(*sides)
    gaps = [row for row in comparison.rows if row.kind != "pair"]
    assert gaps
    for row in gaps[:4]:
        about = subject_of(comparison, row.index)
        assert not about.paired and len(about.sides) == 1
        profile = profile_of(about)
        record = row.reference or row.candidate
        assert record is not None and record.shape is not None
        assert profile.sides[0][1].count == int(np.prod(record.shape))
        text = row_report(comparison, row.index, views=VIEW_NAMES)
        assert text.count("only one side has this record") == 2
        for title in ("STATISTICS", "HISTOGRAM", "HEAT MAP", "VALUES"):
            assert title in text


def test_statistics_alone_have_nothing_to_look_at(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from layertui.capture import record

    model = torch.nn.Linear(3, 2)
    for name in ("a", "b"):
        with record(model, tmp_path / name, stats_only=True):
            model(torch.ones(1, 3))
    comparison = open_comparison(str(tmp_path / "a"), str(tmp_path / "b"))
    (index, *_) = [row.index for row in comparison.rows if row.kind == "pair"]
    with pytest.raises(NothingToInspectError, match="statistics only"):
        subject_of(comparison, index)
    assert "no values: " in row_report(comparison, index)
    capture = open_capture(tmp_path / "a")
    with pytest.raises(NothingToInspectError, match="statistics only"):
        subject_of_record(capture.records[0], "", capture.records)


# Files that break


def test_an_unreadable_record_says_which(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 2)
    os.truncate(layer_file(sides[1], 0), 100)
    comparison = open_comparison(*map(str, sides))
    with pytest.raises(NothingToInspectError, match=r"layers\.0"):
        subject_of(comparison, 0)
    assert "layers.0" in row_report(comparison, 0)


def test_a_file_cut_after_it_was_listed(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 1)
    comparison = open_comparison(*map(str, sides))
    os.truncate(layer_file(sides[1], 0), 200)
    with pytest.raises(SideError, match="truncated") as caught:
        profile_of(subject_of(comparison, 0))
    assert caught.value.side == "candidate" and str(layer_file(sides[1], 0)) in str(caught.value)
    text = row_report(comparison, 0, views=VIEW_NAMES)
    assert "cannot be shown: " in text and "truncated" in text


@pytest.mark.parametrize("view", sorted(set(VIEW_NAMES) - {"values"}))  # they are read at once
def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, view: str) -> None:
    sides = two_sides(tmp_path, 1, 100_000)
    comparison = open_comparison(*map(str, sides))
    about = subject_of(comparison, 0)
    asked = 0

    def shrink() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            os.truncate(layer_file(sides[0], 0), 1000)
        return False

    inspection = Inspection(about, cancelled=shrink)
    lines = inspection.sections([view, "values"])
    assert "became shorter" in lines[3] and str(layer_file(sides[0], 0)) in lines[3]
    assert inspection.failed and "VALUES" in lines


def test_sides_that_do_not_go_together(tmp_path: Path) -> None:
    about = subject(tmp_path, np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(RecipeError, match=r"shapes differ: \[2, 3\] against \[3, 2\]"):
        profile_of(about)
    lines = Inspection(about).sections(("stats",))
    assert "[2, 3] against [3, 2]" in lines[-1]


def test_a_view_that_fails_leaves_the_others(tmp_path: Path) -> None:
    x = np.zeros((3, 4, 5))
    inspection = Inspection(subject(tmp_path, x, x), region=":")
    text = "\n".join(inspection.sections(("stats", "values", "top")))
    assert inspection.failed
    assert "STATISTICS" in text and "all 60 elements are equal" in text
    assert "cannot be shown: values: 3 axes are not fixed" in text


# Progress and stopping


def test_stopping_between_blocks(tmp_path: Path) -> None:
    x = np.zeros(1000, np.float32)
    about = subject(tmp_path, x, x)
    for make in (
        lambda s: ProfileAnalysis(about, s), lambda s: TopAnalysis(about, s, "abs", 5),
        AxesAnalysis,
        lambda s: HeatAnalysis(HeatPlan("difference", ((0, 1000),), None, 0, 1, 9)),
    ):  # fmt: skip
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > 3

        with pytest.raises(CancelledError):
            run(make, about, 10, cancelled=stop)
        assert asked == 4  # one more block is not begun
    for view in set(VIEW_NAMES) - {"values"}:
        with pytest.raises(CancelledError):
            Inspection(about, cancelled=lambda: True).sections([view])


def test_progress_stays_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "EVERY", 0.0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 40, 5))
    y[30] = np.nan
    about = subject(tmp_path, x, y)
    told: list[tuple[Profile, int, int]] = []
    frozen: list[object] = []

    def keep(profile: Profile, done: int, total: int) -> None:
        told.append((profile, done, total))
        frozen.append(state(profile))

    def state(profile: Profile) -> object:
        assert profile.magnitudes is not None and profile.difference is not None
        counts = profile.difference.sketch.counts
        return repr(profile), profile.magnitudes.copy().tolist(), counts.copy().tolist()

    final = profile_of(about, 10, on_progress=keep)
    assert [done for _, done, _ in told] == list(range(10, 200, 10))
    assert {total for _, _, total in told} == {200}
    assert [state(profile) for profile, _, _ in told] == frozen
    for profile, done, _ in told:
        part = np.s_[: done // 5]
        assert profile.compared == int(np.isfinite(y[part]).sum())
        assert profile.reference is not None
        assert np.isclose(profile.reference.mean, x[part].mean())
    assert final.compared == 195

    tops: list[Top] = []
    run(
        lambda s: TopAnalysis(about, s, "abs", 5),
        about,
        10,
        on_progress=lambda r, *_: tops.append(r),
    )
    counted = [top.compared for top in tops]
    assert counted == list(range(10, 200, 10))
    for top in tops:
        part = np.abs(y - x).reshape(-1)[: top.compared]
        greatest = np.sort(np.where(np.isnan(part), np.inf, part))[::-1][:5]
        np.testing.assert_allclose([one.abs for one in top.differences], greatest)


_LARGE = """
import resource, sys
from layertui.compare.comparison import open_comparison
from layertui.compare.inspection import running
from layertui.compare.inspection.axes import AxesAnalysis
from layertui.compare.inspection.heat import HeatAnalysis, HeatPlan, default_axes
from layertui.compare.inspection.profile import ProfileAnalysis
from layertui.compare.inspection.running import Pass
from layertui.compare.inspection.subject import subject_of
from layertui.compare.inspection.top import TopAnalysis
from layertui.compare.inspection.window import parse_region, read_window
from layertui.compare.measuring.pair_reader import CancelledError, PairReader

running.EVERY = 0.0
about = subject_of(open_comparison(*sys.argv[1:3]), 0)
shape = about.reference.locator.shape
plan = HeatPlan("difference", tuple((0, n) for n in shape), *default_axes(shape), 40, 120)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

with PairReader(about.reference, about.candidate) as reader:
    read_window(reader, parse_region("0:4, 0:4", shape)[0])
    before = peak()
    for make in (lambda s: ProfileAnalysis(about, s), lambda s: TopAnalysis(about, s, "abs", 100),
                 AxesAnalysis, lambda s: HeatAnalysis(plan)):
        seen, asked = [], 0

        def stop():
            global asked
            asked += 1
            return asked > 60

        def note(result, done, total):
            seen.append(done)

        try:
            Pass(make, on_progress=note, cancelled=stop).read(reader)
        except CancelledError:
            pass
        assert seen[0] <= 2 * running.BLOCK, seen[0]
        assert seen[-1] >= 50 * running.BLOCK, seen[-1]
    region = parse_region("500000:500004, 0:4", shape)[0]
    assert read_window(reader, region).difference.shape == (4, 4)
    print(peak() - before)
"""


def test_memory_stays_bounded_for_gigabytes(tmp_path: Path) -> None:
    """Two sparse files of 2 GB; all but the first eight million elements are left alone."""
    sides = huge_sides(tmp_path, (1_000_000, 512))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(_LARGE), *map(str, sides)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 150, done.stdout


def test_errors_of_files_are_record_errors() -> None:
    """What a screen catches to say it in words."""
    assert issubclass(SideError, RecordError)


def test_too_many_values_to_print(tmp_path: Path) -> None:
    path = sparse(tmp_path, 3_000_000, "large")
    (record,) = open_capture(path).records
    about = subject_of_record(record, "", [record])
    lines = Inspection(about, region="0:2000000").sections(("values",))
    assert "2000000 elements are too many to print" in lines[-1]
    assert len(Inspection(about, region="5:2005").sections(("values",))) == 5
