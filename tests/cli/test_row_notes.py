"""Notes on rows in the reports of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layertui.cli.main import status_of
from layertui.compare.notes.notes_file import write_note
from layertui.compare.notes.places import FILE, note_files
from support.screens.tui_captures import write_pair

RECORD = "layers.1.self_attn.k_proj-output"  # row 12


@pytest.fixture
def sides(tmp_path: Path) -> list[str]:
    reference, candidate = write_pair(tmp_path, 40, (12,))
    write_note(note_files(str(reference), None)[0], str(reference), RECORD, "known; *ours*")
    return [str(reference), str(candidate)]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("text", f"12 DIVERGED   {RECORD}: known; *ours*"),
        ("markdown", f"- note on `{RECORD}` (row 12, DIVERGED): known; &#42;ours&#42;"),
        ("bug-report", "## Notes"),
    ],
)
def test_reports_have_them(
    form: str, words: str, sides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["compare", *sides, "--format", form]) == 1
    assert words in capsys.readouterr().out


def test_json_has_them_on_their_rows(sides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["compare", *sides, "--format", "json"]) == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["index"]: row["note"] for row in rows if "note" in row} == {12: "known; *ours*"}


def test_show_has_the_note(sides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status_of(["show", *sides, "#12"])
    assert "known; *ours*" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_one_line_and_the_report_is_made(
    sides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\x1b[31m")
    assert status_of(["compare", *sides]) == 1
    found = capsys.readouterr()
    assert "FIRST DIVERGENCE" in found.out
    assert "notes in it are not shown" in found.err and found.err.count("\n") == 1
