"""The one table of text views: what stands in it is offered and printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# In a process of its own: the command takes its choices from the table when it is imported.
_TOY = """
import sys
from layertui.compare.inspection import text_views
toy = text_views.TextView("toy", "A TOY", lambda _, reader: [f"  of {list(reader.shape)}"])
text_views.TEXT_VIEWS = (*text_views.TEXT_VIEWS, toy)
text_views.VIEW_NAMES = (*text_views.VIEW_NAMES, "toy")
from layertui.cli.main import status_of
sys.exit(status_of(sys.argv[1:]))
"""


def _toy(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _TOY, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_toy_view_is_offered_printed_and_reproduced(tmp_path: Path) -> None:
    for side in ("ref", "cand"):
        (tmp_path / side).mkdir()
        save_file({"x-output": np.ones((2, 3), np.float32)}, tmp_path / side / "a.safetensors")
    text = _toy("show", str(tmp_path / "ref"), str(tmp_path / "cand"), "x-output", "--view", "toy")
    assert "\nA TOY\n-----\n  of [2, 3]\n" in text
    assert "--view toy" in text[text.index("REPRODUCE") :]
    assert "toy" in _toy("show", "--help")
