"""Captures on web servers: ranges, passwords and signed URLs, and what is said when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.remote.fsspec_storage import FsspecStorage
from layertui.capture.remote.remote_file import HEAD
from layertui.capture.storage import register, unregister
from layertui.cli.main import status_of
from support.remote.web_server import Site, serving
from support.small_captures import two_sides

pytest.importorskip("aiohttp")

SECRET = "s3cr3tword"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    two_sides(tmp_path / "site", 3)
    np.save(tmp_path / "site" / "x.npy", np.arange(500_000, dtype=np.float32))
    register("http", FsspecStorage())
    with serving(Site(tmp_path / "site")) as found:
        yield found
    unregister("http")


def everything_kept(home: Path) -> bytes:
    """All bytes of the files that the program keeps: caches, state, the crash log."""
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_directory_is_compared(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [site.url(f"{side}/") for side in ("reference", "candidate")]
    assert status_of(["compare", *sides]) == 0
    captured = capsys.readouterr()
    assert captured.err == "" and sides[0] in captured.out


def test_only_ranges_are_read(site: Site) -> None:
    (record,) = open_capture(site.url("x.npy")).records
    assert record.shape == (500_000,)
    assert sum(size for path, size in site.asked if path == "/x.npy") == HEAD
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), np.arange(500_000, dtype=np.float32))
    assert max(size for _, size in site.asked) <= 2 << 20


def test_a_server_without_ranges_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.ranges = False
    url = site.url("x.npy")
    assert status_of(["compare", url, url]) == 1
    assert "range requests" in capsys.readouterr().out
    assert max(size for _, size in site.asked) == 2_000_128  # asked for; not taken into memory


def test_a_password_is_used_and_shown_nowhere(
    site: Site, private_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.user = f"me:{SECRET}"
    sides = [site.url(f"{side}/", user=f"me:{SECRET}") for side in ("reference", "candidate")]
    for words in (["compare", *sides], ["compare", *sides, "--format", "json"],
                  ["show", *sides, "#1"], ["check", *sides], ["explain", *sides],
                  ["compare", sides[0], sides[1] + "none"]):  # fmt: skip
        status_of(words)
        captured = capsys.readouterr()
        assert words[0] == "explain" or "***@" in captured.out + captured.err
        assert SECRET not in captured.out + captured.err
    assert SECRET.encode() not in everything_kept(private_home)


def test_a_signed_url_is_used_and_shown_nowhere(
    site: Site, private_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.signature = SECRET
    url = site.url("x.npy", query=f"?sig={SECRET}")
    assert status_of(["compare", url, url]) == 0
    captured = capsys.readouterr()
    assert "/x.npy?***" in captured.out
    assert SECRET not in captured.out + captured.err
    assert SECRET.encode() not in everything_kept(private_home)


def test_a_wrong_signature_is_one_line_without_it(
    site: Site, private_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.signature = "another"
    url = site.url("x.npy", query=f"?sig={SECRET}")
    assert status_of(["show", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "/x.npy?***: " in line and "403" in line
    assert SECRET not in line
    assert SECRET.encode() not in everything_kept(private_home)


def test_a_printed_command_says_what_it_lacks(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["show", f"http://***@other{site.address}/x.npy"]) == 2
    assert "left out (***): give it whole" in capsys.readouterr().err


def test_what_is_not_there_and_a_server_that_is_not_there(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["show", site.url("none.npy")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"layertui: {site.url('none.npy')}: no such file or directory"
    assert status_of(["show", "http://127.0.0.1:9/x.npy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://127.0.0.1:9/x.npy: " in line and "Cannot connect" in line
