"""The messages between this process and the one with torch, over a Unix socket.

A message is a JSON object behind its length, four bytes. From the child, once, when torch is there:

    {"torch": "2.8.0", "seen": ["NVIDIA H200"], "device": "cuda:0"}

or with `"device": null` and `"why"`, a line of words. To the child, with the descriptors of both
files beside the message:

    {"count": 8388608, "block": 4194304, "tolerances": [1.3e-06, 1e-05],
     "places": [{"offset": 128, "dtype": "float32"}, {"offset": 64, "dtype": "bfloat16"}]}

From the child, for every block in order, `{"pass": [...]}`, the parts of a `OnePass`;
then `{"end": WORD}`: "done", "numpy" (the next block is a job for numpy), or "unreadable"; or
`{"lost": TEXT}`, and it ends. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
_MOST = 1 << 20  # bytes: the longest message has a few hundred

Idle = Callable[[], None]


def send(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a message, and open files beside it. Raises `OSError`."""
    text = json.dumps(message).encode()
    data = _LENGTH.pack(len(text)) + text
    sent = socket.send_fds(channel, [data], descriptors) if descriptors else 0
    channel.sendall(data[sent:])


def receive(
    channel: socket.socket, idle: Idle = lambda: None, descriptors: int = 0
) -> tuple[dict[str, Any], list[int]]:
    """The next message, and at most so many open files, which are the caller's to close.

    `idle` is called whenever the channel's timeout has passed without a byte, and ends the waiting
    by what it raises. Raises `EOFError` where the other side has gone, `OSError`, and `ValueError`
    for what is no message.
    """
    files: list[int] = []
    try:
        head = _exactly(channel, _LENGTH.size, idle, files, descriptors)
        (length,) = _LENGTH.unpack(head)
        if length > _MOST:
            raise ValueError(f"a message of {length} bytes")
        message = json.loads(_exactly(channel, length, idle, files, 0))
        if not isinstance(message, dict):
            raise ValueError("a message that is no object")
    except BaseException:
        for descriptor in files:
            os.close(descriptor)
        raise
    return message, files


def _exactly(
    channel: socket.socket, size: int, idle: Idle, files: list[int], descriptors: int
) -> bytes:
    found = bytearray()
    while len(found) < size:
        try:
            part, beside = _part(channel, size - len(found), descriptors)
        except TimeoutError:
            idle()
            continue
        files += beside
        if not part:
            raise EOFError("the other side has gone")
        found += part
    return bytes(found)


def _part(channel: socket.socket, size: int, descriptors: int) -> tuple[bytes, list[int]]:
    if not descriptors:
        return channel.recv(size), []
    part, beside, _, _ = socket.recv_fds(channel, size, descriptors)
    return part, beside
