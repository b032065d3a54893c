"""`tap`: a name for a tensor in the middle of a module's code."""

from __future__ import annotations

from typing import TypeVar

from torch.compiler import is_compiling

from . import active

T = TypeVar("T")


def tap(name: str, tensor: T) -> T:
    """Record `tensor` as `<running module>.<name>`, slot `value`, and return it.

    Nested tuples, lists and dicts of tensors get a record each, `<name>_<key>`. Does next to
    nothing when nothing records, and nothing in compiled code.
    """
    # First, so that compiled code does not depend on whether somebody records.
    if is_compiling():
        return tensor
    for recording in active.recordings:
        recording.tap(name, tensor)
    return tensor
