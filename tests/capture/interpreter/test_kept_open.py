"""Files that stay open between two readings."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from layertui.capture.interpreter import kept_open
from layertui.capture.interpreter.kept_open import KEPT_OPEN
from layertui.capture.storage import LocalFile, open_file


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "x.bin"
    path.write_bytes(b"before")
    return str(path)


def content(path: str) -> bytes:
    with open_file(path) as file:
        return file.read_at(0, 100)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_the_next_reader_has_the_same_descriptor(file: str) -> None:
    before = descriptors()
    with KEPT_OPEN.reading():
        with LocalFile(file) as first:
            number = first.descriptor
        with LocalFile(file) as second:
            assert (second.descriptor, second.size) == (number, 6)
            assert second.read_at(2, 4) == b"fore"
    assert descriptors() == before


def test_two_readers_at_once_have_their_own(file: str) -> None:
    before = descriptors()
    with KEPT_OPEN.reading(), LocalFile(file) as one, LocalFile(file) as other:
        assert one.descriptor != other.descriptor
    assert descriptors() == before


def test_what_is_closed_is_closed_where_nobody_reads_on(file: str) -> None:
    before = descriptors()
    with LocalFile(file) as one:
        number = one.descriptor
    assert one.descriptor == -1
    one.close()  # once more is no error, and closes nothing of somebody else's
    assert descriptors() == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_of_many_files_the_first_are_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_open, "MOST", 3)
    before = descriptors()
    with KEPT_OPEN.reading():
        for number in range(10):
            path = tmp_path / f"{number}.bin"
            path.write_bytes(bytes([number]))
            assert content(str(path)) == bytes([number])
        assert len(descriptors()) == len(before) + 3
        assert content(str(tmp_path / "0.bin")) == b"\0"
    assert descriptors() == before


def test_a_file_that_is_opened_when_the_next_reading_begins_is_not_kept(file: str) -> None:
    before = descriptors()
    with KEPT_OPEN.reading():
        old = LocalFile(file)
        _other(file).replace(file)
        with KEPT_OPEN.reading():
            old.close()
            assert content(file) == b"after it was replaced"
        assert content(file) == b"after it was replaced"
    assert descriptors() == before


def test_the_next_reading_sees_what_lies_there_now(file: str) -> None:
    with KEPT_OPEN.reading():
        assert content(file) == b"before"
        _other(file).replace(file)
        with KEPT_OPEN.reading():
            assert content(file) == b"after it was replaced"


def test_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_open, "MOST", 4)
    paths = [tmp_path / f"{number}.bin" for number in range(8)]
    for path in paths:
        path.write_bytes(path.name.encode())
    wrong: list[str] = []

    def read() -> None:
        for _ in range(100):
            for path in paths:
                if content(str(path)) != path.name.encode():
                    wrong.append(path.name)

    before = descriptors()
    with KEPT_OPEN.reading():
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert descriptors() == before


def test_a_forked_process_has_none_and_waits_for_nobody(file: str) -> None:
    with KEPT_OPEN.reading():
        assert content(file) == b"before"
        _other(file).replace(file)
        with KEPT_OPEN.lock:  # as another thread may hold it at that moment
            process = os.fork()
            if process == 0:
                os._exit(0 if content(file) == b"after it was replaced" else 1)
        end = time.monotonic() + 30
        while (ended := os.waitpid(process, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.01)
        if ended[0] == 0:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        assert ended[0] and os.waitstatus_to_exitcode(ended[1]) == 0


def _other(file: str) -> Path:
    path = Path(file).with_name("other.bin")
    path.write_bytes(b"after it was replaced")
    return path
