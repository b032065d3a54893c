"""How far a long run is, where nobody looks at a terminal: lines in a log, few and at intervals."""

from __future__ import annotations

import time

import pytest

from layertui.cli import capture_progress
from layertui.cli.capture_progress import CaptureProgress


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err and "\x1b" not in err
    return err.splitlines()


def test_a_long_run_says_now_and_then_what_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(capture_progress, "EVERY_LINE", 0.02)
    found: list[str] = []
    with CaptureProgress() as watcher:
        watcher.stage("starting the runner")
        watcher.detail("layers.0.mlp  compiling MLP 3 s")
        watcher.layers(3, 10)
        began = time.monotonic()
        while len(found) < 2 and time.monotonic() - began < 60:
            time.sleep(0.02)
            found += lines_of(capsys)
    assert found[0].startswith("layers.0.mlp  compiling MLP 3 s  [######")
    assert "layer 3 of 10" in found[0] and found[0].endswith("0:00")


def test_a_quick_run_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with CaptureProgress() as watcher:
        watcher.stage("loading")
    assert lines_of(capsys) == []
