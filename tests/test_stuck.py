"""Tests that do not end: they are named, and those after them run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import ctypes
import threading

def test_waits_for_ever():
    threading.Event().wait()

def test_keeps_the_lock_for_ever():
    ctypes.PyDLL(None).pause()

def test_that_ends():
    pass
"""


def test_they_are_named_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    env = {
        **os.environ,
        "LAYERTUI_TEST_SECONDS": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    plugins = ["-p", "xdist", "-p", "stuck"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-n", "1", "test_some.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    for name in ("test_waits_for_ever", "test_keeps_the_lock_for_ever"):
        assert f"crashed while running 'test_some.py::{name}'" in done.stdout
    assert "2 failed, 1 passed" in done.stdout
    assert "in test_waits_for_ever" in done.stderr
