"""torch files under other names: `pytorch_model.bin`, `.ckpt`, and their like, told by their first
bytes; a `.bin` may be anything.
"""

from __future__ import annotations

from ...files import FoundFile
from ...storage import first_bytes
from ..context import Context
from .torch_file import LEGACY, list_records, read_header

__all__ = ["list_records", "read_header", "recognise"]


def recognise(found: FoundFile, context: Context) -> bool:
    """A zip archive, or a file of the format from before torch 1.6."""
    if found.problem is not None:
        return False
    try:
        head = first_bytes(found.path, len(LEGACY))
    except OSError:
        return False
    return head.startswith(b"PK\x03\x04") or head == LEGACY
