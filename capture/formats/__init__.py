"""One module per on-disk format. Each offers the same three functions:

`recognise(found, context)` claims a file by its name (text formats may look at its first bytes),
`list_records(found, context)` names its records, reading at most a container's table of contents,
`read_header(record)` completes one record with shape, dtype and locator, or returns the several
records that the file turned out to hold. None of them reads tensor data or imports numpy or torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..files import FoundFile
from ..records import Record


@dataclass(slots=True)
class Context:
    """What the listing of one file may need to know of the rest of the capture, or tell it."""

    raw: str | None = None  # the user's `--raw 10x64xf32`
    written: dict[tuple[int, str], tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """`Writing debug binary tensor` lines: (step, file name) -> (dtype, shape)."""
    metadata: dict[str, object] = field(default_factory=dict)
    """What a container says of the whole run; keys are fields of `Capture`."""
    notes: list[str] = field(default_factory=list)
    ordered: set[str] = field(default_factory=set)
    """Paths of files whose records are listed in execution order by the format itself."""
    alone: bool = False
    """True when one file holds the whole capture: its records need not carry its name."""


class Format(Protocol):
    """What every format module looks like."""

    NAME: str

    def recognise(self, found: FoundFile, context: Context) -> bool:
        """True when this module reads `found`."""
        ...

    def list_records(self, found: FoundFile, context: Context) -> list[Record]:
        """The records of one file; raises `RecordError` when it cannot be listed."""
        ...

    def read_header(self, record: Record) -> list[Record]:
        """`[record]`, completed, or several in its place; raises `RecordError`."""
        ...
