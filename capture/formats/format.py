"""`Format`: everything that is known of a file format, in one object.

The object is data and costs nothing to have; the module that does the work is imported when a file
of the format turns up. It offers these functions, of which only `read_header` must be there:

`recognise(found, context) -> bool` claims a file, where `Format.looks` says that its suffix is not
    enough. It may look at the file's first bytes.
`unread(found) -> Record` is the record that stands for a file which is not opened, or cannot be;
    without it, one named by the file.
`list_records(found, context) -> list[Record]` names the records of a file, reading at most a
    container's table of contents; without it, the one of `unread`. Raises `RecordError`, `OSError`.
`read_header(record) -> list[Record]` completes one record with shape, dtype and locator, or returns
    the several records that the file turned out to hold. Raises `RecordError`, `OSError`.
`load_values(locator) -> Array | PartialValues` reads what is not plain elements in a file, raw, in
    the shape and storage dtype of the locator. Raises `RecordError`, `OSError`.
`set_aside(found) -> str | None` is what to tell the user when a file is passed over, where
    `Format.only_alone` says that it may be.

None but `load_values` reads tensor data or imports numpy or torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import CaptureError, RecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..files import FoundFile
    from ..records import Locator, Record
    from ..values import Array, PartialValues
    from .context import Context


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: what its files are like, and the module that reads them."""

    name: str
    """As `Record.format` and headings have it."""
    module: str
    """Dotted name of the module with the functions above."""
    order: int = 100
    """The first that claims a file reads it; asked in rising order, other packages' last."""
    suffixes: tuple[str, ...] = ()
    """What its files end in, lower case with the dot; empty: anything."""
    looks: bool = False
    """The suffix is not enough: `recognise` decides."""
    places: str = ""
    """A pattern that is in the path of every file of it, where that saves a look: `recognise` is
    asked of no other."""
    reader: str = ""
    """`Locator.reader` of records that `load_values` reads; empty where all are plain elements."""
    partial: bool = False
    """Its dumps may hold only some elements of a tensor (`PartialValues`)."""
    known_as: str = ""
    """In the list of what is read, where the suffixes do not say it."""
    framework: str | None = None
    """Whose files these are, where the format itself tells."""
    self_contained: bool = False
    """Its files tell names, order and the run: nothing is looked for beside them."""
    only_alone: bool = False
    """A log: it may tell the order of other files, and is a capture only where there are none."""
    after_logs: bool = False
    """Asked last, when it is known what logs say of the files."""
    keeps_order: bool = False
    """Its files list tensors in the order in which they were given to the writer."""
    foreign: bool = False
    """Another package's: whatever its module raises is the failure of a file, not of layertui."""

    def claims(self, found: FoundFile, suffix: str, context: Context) -> bool:
        """True when this format reads the file `found`, which ends in `suffix`."""
        if self.suffixes and suffix not in self.suffixes:
            return False
        if self.places and re.search(self.places, found.path) is None:
            return False
        return not self.looks or bool(self._call("recognise", found, context))

    def unread(self, found: FoundFile) -> Record:
        """The record that stands for a file of which nothing is known but its name."""
        from .members import named_record

        record = self._call("unread", found, missing=lambda found: named_record(found, found.stem))
        record.format = self.name
        return record

    def list_records(self, found: FoundFile, context: Context) -> list[Record]:
        """The records of one file. Raises `RecordError`, `OSError`, `CaptureError`."""
        records = self._call(
            "list_records", found, context, missing=lambda found, _: [self.unread(found)]
        )
        return self._ours(records)

    def read_header(self, record: Record) -> list[Record]:
        """`[record]`, completed, or several in its place. Raises `RecordError`, `OSError`."""
        return self._ours(self._call("read_header", record))

    def load(self, locator: Locator) -> Array | PartialValues:
        """Raw values, shape `locator.shape`. Raises `RecordError`, `OSError`."""
        return self._call("load_values", locator)

    def set_aside(self, found: FoundFile) -> str | None:
        """What to say when `found` is passed over in favour of other files."""
        return self._call("set_aside", found, missing=lambda _: None)

    def _ours(self, records: list[Record]) -> list[Record]:
        from ..records import Record

        if self.foreign and not (
            isinstance(records, list) and all(isinstance(record, Record) for record in records)
        ):
            raise RecordError(f"the reader of {self.name} returned something other than records")
        for record in records:
            record.format = self.name
        return records

    def _call(
        self, function: str, *arguments: Any, missing: Callable[..., Any] | None = None
    ) -> Any:
        if not self.foreign:
            return getattr(import_module(self.module), function, missing)(*arguments)  # type: ignore
        try:
            return getattr(import_module(self.module), function, missing)(*arguments)  # type: ignore
        except (RecordError, CaptureError, OSError):
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:300]
            raise RecordError(f"the reader of {self.name} failed: {said}") from error
