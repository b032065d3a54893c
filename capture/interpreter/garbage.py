"""When the interpreter looks for garbage: not while a job makes rows and results.

A full collection goes through every object while all threads wait: a quarter of a second for the
rows and results of 10,000 pairs, several times while they are made. They are freed by their counts
of references, as a comparison that is dropped is; cycles come from screens and widgets only. So
full collections wait until a job has ended, and never look at what is there by then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_USUAL = gc.get_threshold()
_NEVER = 1 << 30  # collections of the middle generation between two full ones
_YOUNG = 20_000  # new objects between two looks at them, which take 5 ms
# Such between two looks at all that these left, each of which takes as long as they took together.
_SELDOM = 3
_AT_ONCE = 16  # objects that are freed at one go, with all that they alone hold


def hold() -> None:
    """A job begins: young objects are looked at as ever, old ones are not. What screens left since
    the last one goes first, which takes no time: everything older is settled.
    """
    gc.collect()
    gc.set_threshold(*_USUAL[:2], _NEVER)


def settle() -> None:
    """It is over: what it made stays, and need not be looked at again."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def leave_to_the_system() -> None:
    """The program ends: the system takes back what is there, all at once. Without this the last
    collections go through every object and free them one by one.
    """
    gc.freeze()


def free_slowly(objects: list[Any]) -> None:
    """Let go of many objects bit by bit: the last reference to a list of 100,000 frees all of them
    at one go, and no other thread has a turn meanwhile.
    """
    while objects:
        del objects[-_AT_ONCE:]


@contextmanager
def no_full_collection() -> Iterator[None]:
    """Old objects are not looked at meanwhile: a quarter of the time where tens of thousands of
    records or rows are made. Young ones are, now and then: all at once, later, they would hold up
    everything.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_YOUNG, _SELDOM, _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
