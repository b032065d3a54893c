"""A disk that is full: one line and exit status 2, and what was there before stays as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from layertui.cli.main import status_of
from layertui.tui.widgets.prompt import Entry
from support.screens.tui_captures import make_app, measured, type_line, until

SIZE = 64 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk. Only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "layertui-test", str(place)]
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), open(disk / "other", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def sides(real: Path) -> list[str]:
    return [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]


@pytest.mark.parametrize("form", ["json", "html", "csv", "markdown"])
def test_reports(real: Path, disk: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = disk / "report"
    kept.write_text("mine")
    fill(disk)
    for number, file in enumerate([disk / "new", kept]):
        more = ["--overwrite"] if number else []
        words = ["compare", *sides(real), "--format", form, "-o", str(file), *more]
        assert status_of(words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"layertui: {file}: cannot be written: No space left on device"]
    assert sorted(os.listdir(disk)) == ["other", "report"]
    assert kept.read_text() == "mine"


async def test_an_export_of_the_screen(real: Path, disk: Path) -> None:
    app = make_app(*sides(real))
    kept = disk / "rows.md"
    kept.write_text("mine")
    fill(disk)
    async with app.run_test(size=(100, 30)) as pilot:
        await measured(pilot, app)
        for file in (disk / "new.md", kept):
            await type_line(pilot, ":", f"export {file}")
            if file is kept:
                await until(pilot, lambda: app.screen.query_one(Entry).has_focus)
                await pilot.press("y", "enter")
            await until(pilot, lambda file=file: app.said.startswith(str(file)))
            assert app.said.endswith("No space left on device")
    assert kept.read_text() == "mine" and sorted(os.listdir(disk)) == ["other", "rows.md"]
