"""The process with torch: says what device there is, then passes over pairs until it is left.

Its arguments are the parent's process id and the device; standard input is the socket. It ends when
the parent does, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...capture.errors import CaptureError
from ..measuring.fused import Place, known_float
from ..running.processes import end_with
from .messages import receive, send

if TYPE_CHECKING:
    import torch

_MOST_BLOCK = 1 << 24  # elements: a dozen tables of float64 as long must fit on the device


def main() -> None:
    """Entry point. Ends without the interpreter's teardown, in which drivers may wait."""
    parent, device = int(sys.argv[-2]), sys.argv[-1]
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    channel = socket.socket(fileno=os.dup(0))
    with contextlib.suppress(EOFError, OSError):  # nobody listens any more
        _serve(channel, device)
    os._exit(0)


def _serve(channel: socket.socket, name: str) -> None:
    said, device = _hello(name)
    send(channel, said)
    while device is not None:
        message, files = receive(channel, descriptors=2)
        try:
            for answer in passes(message, files, device):
                send(channel, answer)
        except (EOFError, OSError):
            raise
        except Exception as error:  # the device is out of memory, or out of order
            send(channel, {"lost": in_words(error)})
            return
        finally:
            for descriptor in files:
                os.close(descriptor)


def _hello(name: str) -> tuple[dict[str, Any], torch.device | None]:
    """What there is, and the device to compute on; None where it is not there."""
    try:
        import torch

        from ...capture.engines.torch_capture import checked_device

        seen = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
        said: dict[str, Any] = {"torch": torch.__version__, "seen": seen, "device": None}
    except Exception as error:
        return {"torch": None, "seen": [], "device": None, "why": in_words(error)}, None
    try:
        device = torch.device(checked_device("cuda" if name == "auto" else name))
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        torch.zeros(1, device=device).sum().item()  # a driver may be there, and not work
    except Exception as error:
        return {**said, "why": in_words(error)}, None
    return {**said, "device": str(device)}, device


def passes(
    message: dict[str, Any], files: list[int], device: torch.device
) -> Iterator[dict[str, Any]]:
    """The answers to a request. Raises `ValueError` for one that cannot be meant."""
    from .reading import blocks_of
    from .torch_sums import block_sums

    count, block = message["count"], message["block"]
    rtol, atol = message["tolerances"]
    left, right = (
        Place(descriptor, place["offset"], place["dtype"])
        for descriptor, place in zip(files, message["places"], strict=True)
    )
    if not (count > 0 and 0 < block <= _MOST_BLOCK):
        raise ValueError(f"a block of {block} of {count} elements")
    if not (known_float(left.dtype) and known_float(right.dtype)):
        raise ValueError(f"dtypes {left.dtype} and {right.dtype}")
    blocks = blocks_of((left, right), count, block, device)
    while True:
        try:
            pair = next(blocks, None)
        except (EOFError, OSError):
            yield {"end": "unreadable"}
            return
        if pair is None:
            yield {"end": "done"}
            return
        found = block_sums(*pair, (rtol, atol))
        if found is None:
            yield {"end": "numpy"}
            return
        yield {"pass": found}


def in_words(error: Exception) -> str:
    """An exception as one line."""
    if isinstance(error, CaptureError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return (f"{name}: {lines[0]}" if lines else name)[:300]
