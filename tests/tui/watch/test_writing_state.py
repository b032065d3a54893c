"""Whether a capture is being written: by glances at its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layertui.capture.errors import CaptureError
from layertui.capture.run_metadata import write_metadata
from layertui.tui.watch.writing_state import Glance, Pace, Writing, glance, unfinished
from support.screens.tui_captures import write_pair

PACE = Pace(glances=1, rest=2, rest_with_fewer=10)


def at(stamp: int, files: int = 3) -> Glance:
    return Glance(files, 100, stamp, 0)


def test_a_glance_changes_with_every_change(tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    (folder / "deep").mkdir(parents=True)
    assert glance(str(folder)) is None
    (folder / "a.pt").write_bytes(b"12")
    (folder / "deep" / "b.pt").write_bytes(b"345")
    first = glance(str(folder))
    assert first is not None and (first.files, first.nbytes) == (2, 5)
    assert glance(str(folder)) == first
    seen = {first.stamp}
    (folder / "a.pt").write_bytes(b"21")
    os.utime(folder / "a.pt", ns=(1, 1))
    seen.add(glance(str(folder)).stamp)  # type: ignore[union-attr]
    (folder / "c.pt").write_bytes(b"")
    seen.add(glance(str(folder)).stamp)  # type: ignore[union-attr]
    (folder / "a.pt").unlink()
    seen.add(glance(str(folder)).stamp)  # type: ignore[union-attr]
    assert len(seen) == 4
    assert glance(str(tmp_path / "nowhere")) is None
    assert glance(str(folder / "c.pt")) is not None  # a file is a capture, too


def test_a_url_cannot_be_watched() -> None:
    with pytest.raises(CaptureError, match="only captures on this machine can be watched"):
        glance("s3://bucket/capture")


def test_it_counts_as_written_when_nothing_changed_for_a_while() -> None:
    writing = Writing(PACE, at(1))
    assert writing.see(at(1), 100) == "same"
    assert writing.see(at(2), 101) == "writing"
    assert writing.see(at(3), 102.5) == "writing"  # the time begins anew
    assert writing.see(at(3), 104.4) == "writing"
    assert writing.see(at(3), 104.5) == "rested"
    writing.known = at(3)
    assert writing.see(at(3), 105) == "same"


def test_fewer_files_than_before_may_be_on_their_way() -> None:
    writing = Writing(PACE, at(1, files=9))
    assert writing.see(at(2, files=4), 10) == "writing"
    assert writing.see(at(2, files=4), 19.9) == "writing"
    assert writing.see(at(2, files=4), 20) == "rested"


def test_a_capture_that_is_removed_and_comes_back() -> None:
    writing = Writing(PACE, at(1))
    assert writing.see(None, 10) == "gone"
    assert writing.see(at(2), 30) == "writing"
    assert writing.see(at(2), 32) == "rested"


def test_what_was_read_may_not_be_known() -> None:
    writing = Writing(PACE, None)
    assert writing.see(at(1), 10) == "writing"
    assert writing.see(at(1), 12) == "rested"


def test_what_says_itself_that_it_is_not_complete(tmp_path: Path) -> None:
    _, candidate = write_pair(tmp_path, 10)
    assert unfinished(str(candidate)) == ""
    write_metadata(str(candidate), {"complete": False})
    assert unfinished(str(candidate)) == "the candidate is incomplete"
    write_metadata(str(candidate), {"complete": True})
    assert unfinished(str(candidate)) == ""
    (tmp_path / "empty").mkdir()
    assert "empty" in unfinished(str(tmp_path / "empty"))
    assert "nowhere" in unfinished(str(tmp_path / "nowhere"))
