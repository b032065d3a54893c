"""When the interpreter looks for garbage."""

from __future__ import annotations

import gc

from layertui.capture.interpreter.garbage import no_full_collection

# A collection goes through some ten million objects a second, and all threads wait meanwhile.
_MOST_AT_ONCE = 150_000


def test_no_collection_goes_through_all_that_was_made() -> None:
    """What is made in a reading of many records stays: it may be looked at in small parts only."""
    usual = gc.get_threshold()
    with no_full_collection():
        young, middle, old = gc.get_threshold()
        assert young * (middle + 1) <= _MOST_AT_ONCE
        assert young * middle * old > 1 << 40
    assert gc.get_threshold() == usual
