"""`tap`: a name for a tensor in the middle of a module's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch.compiler import is_compiling

if TYPE_CHECKING:
    from .recorder import Recorder

T = TypeVar("T")

# Replaced, never changed, so that another thread may look at any time.
recording: tuple[Recorder, ...] = ()


def tap(name: str, tensor: T) -> T:
    """Record `tensor` as `<running module>.<name>`, slot `value`, and return it.

    Nested tuples, lists and dicts of tensors get a record each, `<name>_<key>`. Does next to
    nothing when nothing records, and nothing in compiled code.
    """
    # First, so that compiled code does not depend on whether somebody records.
    if is_compiling():
        return tensor
    for recorder in recording:
        recorder.tap(name, tensor)
    return tensor
