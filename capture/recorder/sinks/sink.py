"""What the writing thread hands over, and what a format does with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .snapshot import Snapshot


@dataclass(slots=True)
class RecordItem:
    """One tensor; `fields` are the keys of its manifest line that do not depend on the format.

    With `same_as`, the seq of an earlier record, the snapshot has no bytes.
    """

    seq: int
    fields: dict[str, Any]
    snapshot: Snapshot
    same_as: int | None = None


@dataclass(slots=True)
class CallItem:
    """A call that returned; `fields` are those of its manifest line."""

    fields: dict[str, Any]


@dataclass(slots=True)
class TokensItem:
    """The input ids of a step; those of the first go into the meta lines as the prompt."""

    step: int
    snapshot: Snapshot


@dataclass(slots=True)
class MetaItem:
    """What became known of the whole run."""

    fields: dict[str, Any]


Item = RecordItem | CallItem | TokensItem | MetaItem


@dataclass(slots=True)
class Ending:
    """The last line: `error` is None for a run that went well."""

    error: str | None = None
    never_fired: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """One format on disk. Used by one thread. Errors of the disk are raised as `OSError`."""

    records: int

    def begin(self, release: Callable[[Snapshot], None]) -> None:
        """Start; `release` is called for each snapshot whose bytes are no longer needed."""
        ...

    def accept(self, item: Item) -> None: ...

    def due(self) -> float | None:
        """Seconds until `flush` should be called; None while nothing waits."""
        ...

    def flush(self) -> None:
        """Bring all that was accepted to the disk."""
        ...

    def finish(self, ending: Ending) -> None:
        """Flush and write what ends a capture."""
        ...

    def abandon(self, ending: Ending) -> None:
        """After an error: drop what is not on disk, leave what is valid. Raises nothing."""
        ...
