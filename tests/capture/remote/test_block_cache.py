"""Blocks that are kept: found again, up to the limit, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layertui.capture import CaptureError
from layertui.capture.remote.block_cache import VARIABLE, BlockCache, limit_of


def size_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_block_is_found_again_by_another_process(tmp_path: Path) -> None:
    key = BlockCache.key("s3://b/x", (3, "etag", "1"))
    BlockCache(tmp_path, 1000).put(key, "0", b"abc")
    assert BlockCache(tmp_path, 1000).get(key, "0") == b"abc"
    assert BlockCache(tmp_path, 1000).get(key, "1") is None
    assert BlockCache(tmp_path, 1000).get(BlockCache.key("s3://b/x", (3, "etag", "2")), "0") is None


def test_the_limit_is_kept_and_the_oldest_go_first(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1600)
    for number in range(100):
        cache.put("ab", str(number), bytes(50))
        for path in tmp_path.rglob("*"):  # a clock that ticks from block to block
            if path.name == f"ab-{number}":
                os.utime(path, (number, number))
        assert size_below(tmp_path) <= 1600
    assert cache.get("ab", "99") == bytes(50)
    assert cache.get("ab", "0") is None


def test_a_limit_that_an_earlier_run_filled_counts(tmp_path: Path) -> None:
    generous = BlockCache(tmp_path, 100_000)
    for number in range(100):
        generous.put("ab", str(number), bytes(500))
    BlockCache(tmp_path, 8_000).put("ab", "new", bytes(100))
    assert size_below(tmp_path) <= 8_000


def test_a_block_that_is_used_is_kept_longest(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1600)
    for number in range(27):
        cache.put("ab", str(number), bytes(50))
    for path in tmp_path.rglob("ab-*"):
        os.utime(path, (1000, 1000))
    assert cache.get("ab", "3") is not None
    for number in range(27, 40):
        cache.put("ab", str(number), bytes(50))
    assert cache.get("ab", "3") is not None


def test_nothing_is_kept_with_a_limit_of_zero(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 0)
    cache.put("ab", "0", b"x")
    assert cache.get("ab", "0") is None and size_below(tmp_path) == 0


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = BlockCache(tmp_path / "file", 1000)
    cache.put("ab", "0", b"x")
    assert cache.get("ab", "0") is None


@pytest.mark.parametrize(
    ("said", "size"),
    [("0", 0), ("20GB", 20 * 10**9), ("1.5 G", 15 * 10**8), ("100", 100), ("2TiB", 2 * 10**12)],
)
def test_sizes(said: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, said)
    assert limit_of(tmp_path) == size


def test_what_is_no_size_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "lots")
    with pytest.raises(CaptureError, match=f"{VARIABLE}=lots: not a size"):
        limit_of(tmp_path)


def test_the_usual_limit_leaves_room(tmp_path: Path) -> None:
    assert 0 < limit_of(tmp_path / "not" / "there") <= 8 << 30
