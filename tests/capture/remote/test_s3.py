"""Captures in an object store: a real S3-compatible server on loopback, by s3fs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from layertui.capture import open_capture
from layertui.capture.load import load
from layertui.capture.remote.fsspec_storage import FsspecStorage
from layertui.capture.storage import register, storage_of, unregister
from layertui.cli.main import status_of
from support.remote.s3_server import BUCKET, s3_server, upload

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def s3(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    register("s3", FsspecStorage())
    yield
    unregister("s3")
    s3fs.S3FileSystem.clear_instance_cache()


def test_the_report_is_that_of_the_files_here(
    real: Path, s3: None, capsys: pytest.CaptureFixture[str]
) -> None:
    here = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    there = [upload(real / "llama-f32" / side, side) for side in ("torch_dump", "max_dump")]
    status = status_of(["compare", *here])
    expected = capsys.readouterr().out
    assert status_of(["compare", *there]) == status
    found = capsys.readouterr().out
    for one, other in zip(there, here, strict=True):
        found = found.replace(one, other)
    assert found == expected
    assert status_of(["compare", *there]) == status  # by what is remembered
    assert "s3cr3tword" not in capsys.readouterr().out


def test_files_are_known_by_their_content(tmp_path: Path, s3: None) -> None:
    np.save(tmp_path / "x.npy", np.arange(100_000, dtype=np.float32))
    url = upload(tmp_path, "content") + "/x.npy"
    asked, listed = storage_of(url).status(url), None
    storage_of(url).files(f"s3://{BUCKET}/content")
    listed = storage_of(url).status(url)
    assert asked is not None and asked.exact
    assert asked == listed  # what is kept is found by either
    (record,) = open_capture(url).records
    assert record.locator is not None
    np.testing.assert_array_equal(load(record.locator), np.arange(100_000, dtype=np.float32))


def test_absent_objects_buckets_and_short_ones(
    tmp_path: Path, s3: None, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.arange(1000, dtype=np.float32))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:500])
    short = upload(tmp_path, "short") + "/x.npy"
    for url, said in (
        (f"s3://{BUCKET}/none", "no such file or directory"),
        ("s3://no-such-bucket/none", "no such file or directory"),
        (short, "truncated: "),
    ):
        assert status_of(["compare", url, url]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"layertui: {url}: {said}"), line


def test_without_credentials_is_one_line(
    s3: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    assert status_of(["show", f"s3://{BUCKET}/x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"layertui: s3://{BUCKET}/x: ") and "credentials" in line.lower()
