"""Ranges of a remote file: the right bytes, in few requests that are not too large."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.remote.block_cache import BlockCache
from layertui.capture.remote.remote_file import BLOCK, HEAD, MOST_AT_ONCE, RemoteFile, stream_of

DATA = bytes(range(256)) * 5000  # ten blocks, the last one not whole


@dataclass
class Server:
    data: bytes
    asked: list[tuple[int, int]] = field(default_factory=list)

    def fetch(self, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        assert 0 <= start < end <= len(self.data)
        return self.data[start:end]

    def file(self, blocks: BlockCache | None = None) -> RemoteFile:
        return RemoteFile(len(self.data), self.fetch, blocks, "aa")


places = st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 400_000))


@given(st.lists(places, max_size=8), st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_bytes_asked_for_come(reads: list[tuple[int, int]], kept: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blocks = BlockCache(Path(folder), 1 << 30) if kept else None
        with Server(DATA).file(blocks) as file:
            for offset, length in reads:
                assert file.read_at(offset, length) == DATA[offset : offset + length]
                buffer = bytearray(length)
                got = file.read_into(memoryview(buffer), offset)
                assert buffer[:got] == DATA[offset : offset + got]
                assert got > 0 or length == 0 or offset >= len(DATA)


def test_a_header_is_one_small_request() -> None:
    server = Server(DATA)
    file = server.file()
    assert file.read_at(0, 10) + file.read_at(10, 1000) == DATA[:1010]
    assert server.asked == [(0, HEAD)]


def test_what_is_kept_is_not_asked_for_again(tmp_path: Path) -> None:
    blocks = BlockCache(tmp_path, 1 << 30)
    first = Server(DATA)
    with first.file(blocks) as file:
        assert file.read_at(0, len(DATA)) == DATA
        assert file.read_at(5, 5) == DATA[5:10]
    second = Server(DATA)
    with second.file(blocks) as file:
        assert file.read_at(0, len(DATA)) == DATA
    assert first.asked and second.asked == []


def test_reading_on_asks_for_more_and_more_but_never_too_much() -> None:
    server = Server(bytes(64 << 20))
    file = server.file()
    buffer = memoryview(bytearray(BLOCK))
    offset = 0
    while got := file.read_into(buffer, offset):
        offset += got
    sizes = [end - start for start, end in server.asked]
    assert sum(sizes) == 64 << 20  # nothing twice
    assert max(sizes) == MOST_AT_ONCE
    assert len(sizes) < 20


def test_a_large_read_is_several_requests() -> None:
    server = Server(bytes(3 * MOST_AT_ONCE))
    assert len(server.file().read_at(0, 3 * MOST_AT_ONCE)) == 3 * MOST_AT_ONCE
    assert max(end - start for start, end in server.asked) <= MOST_AT_ONCE


def test_a_damaged_block_is_asked_for_again(tmp_path: Path) -> None:
    blocks = BlockCache(tmp_path, 1 << 30)
    with Server(DATA).file(blocks) as file:
        file.read_at(0, len(DATA))
    for path in tmp_path.rglob("aa-*"):
        path.write_bytes(path.read_bytes()[:-1])
    with Server(DATA).file(blocks) as file:
        assert file.read_at(0, len(DATA)) == DATA


def test_a_stream_reads_and_seeks() -> None:
    with stream_of(Server(DATA).file()) as stream:
        assert stream.read(300) == DATA[:300]
        assert stream.seek(-5, 2) == len(DATA) - 5
        assert stream.read() == DATA[-5:]
        assert stream.seek(1) == 1 and stream.read(3) == DATA[1:4]


def test_an_empty_file_is_never_asked_for() -> None:
    server = Server(b"")
    assert server.file().read_at(0, 10) == b"" and server.asked == []


def test_an_error_of_the_server_is_the_reader_s() -> None:
    def fetch(start: int, end: int) -> bytes:
        raise OSError(5, "gone")

    with pytest.raises(OSError, match="gone"):
        RemoteFile(100, fetch, None, "").read_at(0, 10)
