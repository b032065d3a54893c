"""What the listing of one file may need to know of the rest of the capture, or tell it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Context:
    """Handed from file to file while a capture is listed."""

    raw: str | None = None  # the user's `--raw 10x64xf32`
    written: dict[tuple[int, str], tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """`Writing debug binary tensor` lines: (step, file name) -> (dtype, shape)."""
    metadata: dict[str, object] = field(default_factory=dict)
    """What a container says of the whole run; keys are fields of `Capture`."""
    notes: list[str] = field(default_factory=list)
    ordered: set[str] = field(default_factory=set)
    """Paths of files whose records are listed in execution order by the format itself."""
    positions: dict[str, int] = field(default_factory=dict)
    """Places of files in the order in which they were written, where they tell it."""
    alone: bool = False
    """True when one file holds the whole capture: its records need not carry its name."""
    trees: dict[str, str | None] = field(default_factory=dict)
    """By format and folder: the file that describes the others there, where one was looked for."""
    worked_out: dict[str, object] = field(default_factory=dict)
    """What a format worked out of a whole folder, by format and folder, so as to do it once."""
