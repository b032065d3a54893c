"""`--settings FILE` where no screen opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.cli.main import status_of
from support.screens.tui_captures import write_pair


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"), ("theme = 'purple'", "theme is one of"),
        ("theme = 'light", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_file_that_is_named_has_to_be_right(
    tmp_path: Path, content: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, candidate = write_pair(tmp_path, 12)
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_text(content)
    argv = ["--no-tui", "--settings", str(file), str(reference), str(candidate)]
    assert status_of(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and captured.err.count("\n") == 1
    file.write_text("theme = 'light'")
    assert status_of(argv) == 0
