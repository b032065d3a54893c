"""Messages and open files over a socket: whole ones, cut ones, and what is none."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertui.compare.device.messages import receive, send

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_what_is_sent_is_received(message: dict[str, object]) -> None:
    one, other = socket.socketpair()
    with one, other:
        send(one, message)
        assert receive(other) == (message, [])


def test_open_files_go_along(ends: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with open(tmp_path / "a", "rb") as file:
        send(ends[0], {"n": 1}, [file.fileno(), file.fileno()])
        send(ends[0], {"n": 2})
    message, files = receive(ends[1], descriptors=2)
    assert message == {"n": 1}
    assert [os.pread(descriptor, 9, 0) for descriptor in files] == [b"abc", b"abc"]
    for descriptor in files:
        os.close(descriptor)
    assert receive(ends[1], descriptors=2) == ({"n": 2}, [])


def test_one_that_comes_in_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    text = b'{"a": 1}'
    data = struct.pack("!I", len(text)) + text

    def trickle() -> None:
        for at in range(len(data)):
            ends[0].sendall(data[at : at + 1])
            time.sleep(0.002)

    ends[1].settimeout(0.0005)
    waited: list[int] = []
    thread = threading.Thread(target=trickle)
    thread.start()
    assert receive(ends[1], lambda: waited.append(1)) == ({"a": 1}, [])
    thread.join()
    assert waited


def test_waiting_ends_by_what_is_raised(ends: tuple[socket.socket, socket.socket]) -> None:
    def stop() -> None:
        raise KeyError("enough")

    ends[1].settimeout(0.001)
    with pytest.raises(KeyError, match="enough"):
        receive(ends[1], stop)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EOFError),
        (b"\0\0", EOFError),
        (b'\0\0\0\x09{"a"', EOFError),
        (b"\xff\xff\xff\xff", ValueError),
        (b"\0\0\0\x02[]", ValueError),
        (b"\0\0\0\x02{a", ValueError),
        (b"\0\0\0\x02\xff\xfe", ValueError),
    ],
)
def test_what_is_no_message(
    ends: tuple[socket.socket, socket.socket], data: bytes, error: type[Exception]
) -> None:
    ends[0].sendall(data)
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(error):
        receive(ends[1])
