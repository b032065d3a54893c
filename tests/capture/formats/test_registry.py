"""The one table of formats, and formats of other packages: one file and one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from layertui.capture import CaptureError, open_capture
from layertui.capture.errors import RecordError
from layertui.capture.first_names import first_names
from layertui.capture.formats import registry
from layertui.capture.formats.format import Format
from layertui.capture.load import load, load_any
from layertui.capture.values import PartialValues
from layertui.compare.comparison import open_comparison
from layertui.compare.model import Measurement
from support import toy_format


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    registry.plug_ins.cache_clear()
    yield
    registry.plug_ins.cache_clear()


def write_toys(folder: Path, numbers: list[float], shown: int | None = None) -> Path:
    folder.mkdir()
    lines = [str(number) for number in numbers[:shown]]
    more = ["..."] if shown is not None else []
    text = "\n".join([f"TOY1 {len(numbers)}", *lines, *more])
    (folder / "layers.0.mlp-output.toy").write_text(text)
    (folder / "layers.1.mlp-output.toy").write_text(text)
    return folder


def install_packages(folder: Path, monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    """Packages with these entry points, as pip leaves them."""
    for name, target in entries.items():
        info = folder / f"{name}_package-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}_package\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[layertui.formats]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture(params=["table", "entry point"])
def toy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy format, added by a line of the table or by a package's entry point."""
    if request.param == "table":
        table = (*registry.FORMATS, toy_format.FORMAT)
        monkeypatch.setattr(registry, "FORMATS", table)
    else:
        install_packages(tmp_path / "packages", monkeypatch, toy="support.toy_format:FORMAT")
    return request.param


def test_a_new_format_arrives_everywhere(toy: str, tmp_path: Path) -> None:
    left = write_toys(tmp_path / "left", [1.0, 2.0, 3.0])
    right = write_toys(tmp_path / "right", [1.0, 2.0, 4.0])

    assert first_names(str(left)) == ["layers.0.mlp-output", "layers.1.mlp-output"]

    capture = open_capture(left)
    assert (capture.format, capture.framework, capture.notes) == ("toy", "toys", [])
    assert [record.name for record in capture.records] == first_names(str(left))
    record = capture.records[0]
    assert (record.shape, record.dtype, record.format) == ((3,), "float32", "toy")
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), np.float32([1, 2, 3]))

    comparison = open_comparison(str(left), str(right))
    comparison.measure(use_cache=False, threads=1)
    results = [result for result in comparison.measurements if isinstance(result, Measurement)]
    assert len(results) == 2
    assert {result.max_abs for result in results} == {1.0}

    if toy == "table":
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "README.md").write_text("no tensors")
        with pytest.raises(CaptureError, match=r" and \.toy"):
            open_capture(tmp_path / "none")


def test_a_partial_dump_of_a_new_format_is_compared_where_both_have_values(
    toy: str, tmp_path: Path
) -> None:
    left = write_toys(tmp_path / "left", [1.0, 2.0, 3.0])
    right = write_toys(tmp_path / "right", [1.0, 2.5, 4.0], shown=2)
    record = open_capture(right).records[0]
    assert record.partial == (2, 3) and record.locator is not None
    assert isinstance(load_any(record.locator), PartialValues)
    comparison = open_comparison(str(left), str(right))
    comparison.measure(use_cache=False, threads=1)
    (first, _) = comparison.measurements
    assert isinstance(first, Measurement)
    assert (first.count, first.max_abs) == (2, 0.5)


def test_a_damaged_file_of_a_new_format_is_a_record_with_its_reason(
    toy: str, tmp_path: Path
) -> None:
    folder = write_toys(tmp_path / "dump", [1.0])
    (folder / "layers.2.mlp-output.toy").write_text("nonsense")
    assert [record.error for record in open_capture(folder).records] == [
        None,
        None,
        "not a toy file",
    ]


@pytest.mark.parametrize(
    "target", ["no_such_module:FORMAT", "support.toy_format:nothing", "math:pi"]
)
def test_a_broken_package_gives_one_note_and_stops_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_packages(tmp_path / "p", monkeypatch, broken=target, toy="support.toy_format:FORMAT")
    capture = open_capture(write_toys(tmp_path / "dump", [1.0, 2.0]))
    assert capture.format == "toy" and capture.unreadable == 0
    (note,) = capture.notes
    assert note.startswith("the format 'broken' of another package cannot be used: ")
    assert "\n" not in note


@pytest.mark.parametrize(
    "format_",
    [
        Format("numpy file", "support.toy_format", suffixes=(".toy",)),
        Format("toy", "support.toy_format", suffixes=(".toy",), reader="npz"),
        Format("toy", "support.toy_format"),
    ],
)
def test_another_package_takes_no_name_of_ours_and_not_every_file(
    format_: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_format, "FORMAT", format_)
    install_packages(tmp_path / "packages", monkeypatch, toy="support.toy_format:FORMAT")
    formats, notes = registry.plug_ins()
    assert formats == () and len(notes) == 1


def test_another_package_is_not_asked_about_files_that_we_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_packages(tmp_path / "packages", monkeypatch, bad="no_such_module:FORMAT")
    (tmp_path / "dump").mkdir()
    np.save(tmp_path / "dump" / "x.npy", np.zeros(3))
    assert open_capture(tmp_path / "dump").notes == []


def failing_module(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> Format:
    module = ModuleType("failing_format")
    vars(module).update(functions)
    module.FORMAT = Format(  # type: ignore[attr-defined]
        "failing", "failing_format", suffixes=(".toy",), looks="recognise" in functions,
        reader="failing",
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "failing_format", module)
    return module.FORMAT  # type: ignore[attr-defined]


def crash(*_: Any) -> Any:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    "functions",
    [
        {"read_header": crash},
        {"list_records": crash},
        {"list_records": lambda *_: [3]},
        {"read_header": lambda record: None},
        {},
    ],
)
def test_a_reader_that_fails_costs_its_records_only(
    functions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_module(monkeypatch, **functions)
    install_packages(tmp_path / "packages", monkeypatch, failing="failing_format:FORMAT")
    folder = write_toys(tmp_path / "dump", [1.0])
    np.save(folder / "x.npy", np.zeros(3))
    capture = open_capture(folder)
    errors = [record.error for record in capture.records if record.format == "failing"]
    assert len(errors) == 2
    assert all(error and error.startswith("the reader of failing ") for error in errors)
    assert [record.name for record in capture.records if record.error is None] == ["x"]


def test_a_package_that_fails_to_recognise_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_module(monkeypatch, recognise=crash)
    install_packages(tmp_path / "packages", monkeypatch, failing="failing_format:FORMAT")
    folder = write_toys(tmp_path / "dump", [1.0])
    np.save(folder / "x.npy", np.zeros(3))
    assert open_capture(folder).notes == [
        "the reader of failing failed: ZeroDivisionError: oh",
        "2 files of unknown format skipped: layers.0.mlp-output.toy, layers.1.mlp-output.toy",
    ]


@pytest.mark.parametrize(
    "loaded",
    [
        np.zeros(2, np.float32),
        np.zeros(3, np.float64),
        [0.0, 0.0, 0.0],
        PartialValues(np.zeros(1, np.float32), np.array([0]), (3,)),
        None,
    ],
)
def test_values_that_are_not_what_the_header_said_are_refused(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from layertui.capture.records import Locator

    def read_header(record: Any) -> Any:
        locator = Locator(record.path, "float32", (3,), reader="failing")
        return [replace(record, shape=(3,), dtype="float32", locator=locator)]

    failing_module(monkeypatch, read_header=read_header, load_values=lambda _: loaded)
    install_packages(tmp_path / "packages", monkeypatch, failing="failing_format:FORMAT")
    (record, _) = open_capture(write_toys(tmp_path / "dump", [1.0, 2.0, 3.0])).records
    assert record.locator is not None
    with pytest.raises(RecordError, match="the reader of failing returned"):
        load_any(record.locator)


@pytest.mark.parametrize("place", [-1, 3])
def test_positions_outside_of_the_tensor_are_refused(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_packages(tmp_path / "packages", monkeypatch, toy="support.toy_format:FORMAT")
    (record, _) = open_capture(write_toys(tmp_path / "dump", [1.0, 2.0, 3.0], shown=1)).records
    bad = PartialValues(np.zeros(1, np.float32), np.array([place]), (3,))
    monkeypatch.setattr(toy_format, "load_values", lambda _: bad)
    assert record.locator is not None
    with pytest.raises(RecordError, match="positions that do not fit"):
        load_any(record.locator)


def test_a_reader_that_nobody_has_is_one_clear_line() -> None:
    from layertui.capture.records import Locator

    with pytest.raises(RecordError, match="no installed format reads 'strange'"):
        load_any(Locator("x", "float32", (3,), reader="strange"))


def test_every_format_of_the_table_is_complete() -> None:
    """Modules have what their line of the table promises, and names and readers are their own."""
    names = [format_.name for format_ in registry.FORMATS]
    readers = [format_.reader for format_ in registry.FORMATS if format_.reader]
    orders = [format_.order for format_ in registry.FORMATS]
    assert len(set(names)) == len(names) and len(set(readers)) == len(readers)
    assert orders == sorted(set(orders))
    for format_ in registry.FORMATS:
        module = import_module(format_.module)
        assert callable(module.read_header)
        assert hasattr(module, "recognise") == format_.looks
        assert hasattr(module, "load_values") == bool(format_.reader)
        assert hasattr(module, "set_aside") == format_.only_alone
