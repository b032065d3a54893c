"""What a capture is made of. Nothing here touches a file or imports numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ranks.placement import Placement
    from .ranks.rank_records import Joined, UnequalRank
    from .token_places import TokenPlaces

_RAW = "raw"
OF_RANKS = "ranks"  # the reader of what is put together from the parts of several ranks
FILE_ORDER = "order of the file"
# What is recorded in place of values, over the finite elements: `std` of the population, `l2` the
# Euclidean norm; numbers of `nan`, `inf`, `zeros` and of all elements (`count`); a `hash` of the
# bytes, in the form of the tool that wrote it.
STATISTICS = ("min", "max", "mean", "std", "l2", "nan", "inf", "zeros", "count", "hash")


RecordIdentity = tuple["str | None", int, str, str, int]


@dataclass(frozen=True, slots=True)
class Locator:
    """Where the values of one record lie, small enough to be sent to another process.

    `reader` says who reads them: `raw` (plain little-endian elements at `offset`, in C order
    or with `strides` counted in elements) or the `reader` of a format (compressed archives, text,
    pickles), which finds them by `key`.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    strides: tuple[int, ...] | None = None
    reader: str = _RAW
    key: str = ""

    @property
    def in_place(self) -> bool:
        """True when the elements lie in the file as they are, to be read in parts or mapped."""
        return self.reader == _RAW

    @property
    def of_ranks(self) -> bool:
        """True when the values are put together from parts of several ranks (`ranks.join_tree`)."""
        return self.reader == OF_RANKS

    @property
    def count(self) -> int:
        return prod(self.shape)


@dataclass(slots=True)
class Record:
    """One tensor of a capture.

    `name` is what the dump calls it, `module` the module's path (still as dumped), `slot` one of
    `input_<n>`, `input_<kwarg>`, `output`, `output_<n>`, `output_<field>`, `value`; `call` counts
    from 1, `step` from 0. `shape`, `dtype` and `locator` are None until the header has been read,
    and stay None when `error` says why it could not be.

    `partial` is `(shown, total)` when the dump holds only some of the elements. `stats` are the
    statistics of a record that was captured without its values, under `STATISTICS` and `sketch`
    (`projections`), as far as they are known.
    """

    name: str
    module: str
    slot: str = "value"
    call: int = 1
    step: int = 0
    path: str = ""
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    locator: Locator | None = None
    module_class: str | None = None
    partial: tuple[int, int] | None = None
    error: str | None = None
    stats: dict[str, Any] | None = None
    format: str = ""
    key: str = ""
    side: str | None = None  # "py" or "cpp" where one directory may hold both sides
    rank: str | None = None  # which of several processes wrote it
    # Where each process has a part of the module's weight: the last axis of the whole of this, 0
    # where that is not known.
    split: int | None = None
    tokens: TokenPlaces | None = None  # where only some of them were recorded
    placement: Placement | None = None  # how the ranks' parts make the whole, where it is said
    joined: Joined | None = None  # how they made it

    @property
    def identity(self) -> RecordIdentity:
        """What no two records of a rank share."""
        return (self.side, self.step, self.module, self.slot, self.call)

    @property
    def by_statistics(self) -> bool:
        """True for a record without values that can be compared by its statistics; its shape need
        not be known.
        """
        if self.locator is not None or self.error is not None or not self.stats:
            return False
        return self.dtype is not None and any(
            self.stats.get(name) is not None for name in STATISTICS
        )

    @property
    def comparable(self) -> bool:
        """True where there are values, or statistics in their place."""
        return self.locator is not None or self.by_statistics

    @property
    def ready(self) -> bool:
        """True once there is nothing more to learn without reading values."""
        return self.locator is not None or self.error is not None or self.stats is not None


@dataclass(slots=True)
class RankRecords:
    """A capture of several ranks as it was before they were told apart, so that it can be put
    together anew; `joined` says how each tensor was, `parts` are records that are compared as
    parts of others or are the same as the first rank's; `copies` are records and those of other
    ranks that look the same; `compared` is what was seen of groups.
    """

    records: list[Record]
    order_known: bool
    order_source: str
    notes: list[str]
    joined: list[Joined] = field(default_factory=list)
    parts: list[Record] = field(default_factory=list)
    copies: list[tuple[Record, Record]] = field(default_factory=list)
    compared: dict[object, Any] = field(default_factory=dict)
    settled_by: object = None


@dataclass(slots=True)
class Capture:
    """The tensors of one run of one model, in execution order where `order_known`.

    `root` is what record names call the outermost module (`model` for the print hooks, empty
    where paths start below it). `complete` is False when the writer did not finish, None where
    the format cannot tell. `notes` are sentences for the user. `run` says how the model was made
    (`Plan.settings`), where the capture does. `unequal_ranks` are records that should be the
    same on all of its ranks and are not; `of_ranks` is what the ranks recorded, before it was put
    together.
    """

    path: str
    format: str
    records: list[Record]
    order_source: str
    order_known: bool
    root: str = ""
    framework: str | None = None
    framework_version: str | None = None
    model: str | None = None
    device: str | None = None
    prompt: str | None = None
    input_ids: list[Any] | None = None
    complete: bool | None = None
    notes: list[str] = field(default_factory=list)
    run: dict[str, Any] | None = None
    unequal_ranks: tuple[UnequalRank, ...] = ()
    rank_kinds: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """By rank: its place in each kind of parallelism, as far as names of files tell it."""
    rank_counts: dict[str, int] = field(default_factory=dict)
    """By kind of parallelism: how many places there are in all, and by `vpp` how many chunks of
    layers each stage of a pipeline has, as far as names, the recording or rules tell."""
    lone_rank: tuple[str, int] | None = None
    """Kind of parallelism and place of the only rank that is there, where names tell it."""
    rank_faults: str = ""
    """Which ranks there should be and are not, and what shows it, and where layers of stages have
    an order that is not known; empty where nothing is wrong."""
    of_ranks: RankRecords | None = field(default=None, repr=False, compare=False)
    names_order: Any = field(default=None, repr=False, compare=False)
    """Order by names (`OrderHints`), for the names that come to light with the headers."""

    @property
    def order_strength(self) -> int:
        """How far the order can be trusted: 2 where something tells it, 1 where it is only the
        order in which a file lists its tensors (`FILE_ORDER`), 0 where it is not known.
        """
        return (1 if self.order_source == FILE_ORDER else 2) if self.order_known else 0

    @property
    def unreadable(self) -> int:
        return sum(1 for record in self.records if record.error is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors whose headers have been read."""
        from .dtypes import DTYPES

        return sum(
            prod(r.shape) * DTYPES[r.dtype].itemsize
            for r in self.records
            if r.shape is not None and r.dtype in DTYPES and not r.partial
        )

    def main_dtype(self, most: int | None = None) -> str | None:
        """The dtype of most floating-point outputs, for a heading; None before headers are read. Of
        more than `most` records, evenly spread ones are looked at.
        """
        from .dtypes import DTYPES

        seen: dict[str, int] = {}
        every = -(-len(self.records) // most) if most else 1
        for record in self.records[:: every or 1]:
            known = DTYPES.get(record.dtype or "")
            if known is not None and known.kind == "float":
                seen[known.name] = seen.get(known.name, 0) + 1
        return max(seen, key=lambda name: seen[name]) if seen else None
