"""Leaving when the terminal is gone, or a signal says so.

A connection that breaks sends a signal only to programs of its session that have not been told to
ignore it (`nohup`, `disown`). Without one, textual's thread for keys would read the end of a
terminal that is no longer there without pause, and the event loop waits for ever for a write to it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

STATUS = 129  # as after SIGHUP
_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: STATUS, signal.SIGINT: 130}
_GRACE = 2.0  # seconds that the program gets to end by itself


def leave_on_signals(leave: Callable[[int], object]) -> None:
    """Leave with a signal's status when the program is told to end, so that the terminal is left as
    it was.
    """
    loop = asyncio.get_running_loop()
    for number, status in _SIGNALS.items():
        loop.add_signal_handler(number, leave, status)


def watch(leave: Callable[[], object]) -> None:
    """Call `leave` from a thread when stdin's terminal hangs up; end the process where that does
    not. Waits without a timeout: it costs nothing.
    """
    if sys.__stdin__ is not None:
        given = (sys.__stdin__.fileno(), leave)
        threading.Thread(target=_watch, args=given, name="hangup", daemon=True).start()


def _watch(fd: int, leave: Callable[[], object]) -> None:
    if not _hung_up(fd):
        return
    try:
        leave()
    except RuntimeError:  # the event loop has been closed
        return
    time.sleep(_GRACE)
    os._exit(STATUS)


def _hung_up(fd: int) -> bool:
    """Wait until the other end is closed; False where that cannot be asked."""
    try:
        poll = select.poll()
        poll.register(fd, 0)  # hanging up is reported whatever is asked for
        events = poll.poll()
    except (AttributeError, OSError):  # no poll on this system, or no such file any more
        return False
    return any(event & select.POLLHUP for _, event in events)
