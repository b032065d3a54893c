"""A file of a capture, by its place and name."""

from __future__ import annotations

from dataclasses import dataclass

MANIFEST = "manifest.jsonl"  # what a native capture lists its records in


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file below a capture.

    `name` is its path below the capture without the step directory (`model.norm-output.pt`,
    `block/out.npy`), `step` the number of the step directory it lies in (0 without one).
    `problem` says why it must not be opened (a link that leads out of the capture). `rank` tells
    apart what the processes of one run wrote; None where there is one. `kinds` is its place by kind
    of parallelism (`ranks.labels`), as far as that is told, `rank_counts` the number of places of a
    kind in all. `nameless` is set where the name tells step or rank and nothing else (`step0.pt`).
    """

    path: str
    folder: str
    name: str
    step: int
    problem: str | None = None
    rank: str | None = None
    kinds: tuple[tuple[str, int], ...] = ()
    rank_counts: tuple[tuple[str, int], ...] = ()
    nameless: bool = False

    @property
    def suffix(self) -> str:
        base = self.name[self.name.rfind("/") + 1 :]
        dot = base.rfind(".")
        return base[dot:].lower() if dot > 0 else ""

    @property
    def stem(self) -> str:
        """The record name that the file's name gives: no suffix, `/` as in sub-directories."""
        suffix = self.suffix
        return self.name[: -len(suffix)] if suffix else self.name
