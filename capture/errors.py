"""The two ways in which reading a capture fails; both carry one line for the user."""

from __future__ import annotations


class CaptureError(Exception):
    """A capture that cannot be opened at all: missing, empty, no tensors in it, a newer format.

    The message is one line: what is wrong, where, and what to do about it.
    """


class RecordError(Exception):
    """One record that cannot be read: a truncated file, an unknown dtype, a refused pickle.

    The capture stays usable; the record's row is shown as `unreadable` with this message.
    """
