"""Captures for the tests of the screens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tui_captures import write_pair


@pytest.fixture(scope="session")
def big_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """10,000 rows, of which 3,000, 3,005 and 9,000 diverge."""
    return write_pair(tmp_path_factory.mktemp("big"), 10_000, (3_000, 3_005, 9_000))


@pytest.fixture
def small_pair(tmp_path: Path) -> tuple[Path, Path]:
    """40 rows in four layers; 12, 13 and 31 diverge."""
    return write_pair(tmp_path / "small", 40, (12, 13, 31))
