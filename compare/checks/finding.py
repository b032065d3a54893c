"""A finding: what is wrong with a capture or a pair of them, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_ABOUT: dict[Severity, str] = {"error": "in", "warning": "about", "note": "on"}
SideName = Literal["reference", "candidate"]
_SHOWN = 3
ADVICE_ON_WEIGHTS = (
    "load the same checkpoint in both, and check how the candidate maps, fuses and casts its "
    "weights"
)

# Codes in the order in which they are reported: a wrong input explains everything behind it.
CODES = (
    "inputs", "weights", "empty", "incomplete", "unreadable", "steps", "layers", "ranks", "stale",
    "constant", "nan", "order", "config", "numerics", "dtype", "versions", "partial",
    "statistics", "settings",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is one of `CODES`; `side` is None where it is about both, or the only capture.
    `records` are names as the dump has them.
    """

    severity: Severity
    code: str
    what: str
    advice: str
    side: SideName | None = None
    records: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The finding in one line, for notes."""
        where = f" {_ABOUT[self.severity]} the {self.side}" if self.side else ""
        return f"{self.severity}{where}: {self.what}{self._named()}; {self.advice}"

    def _named(self) -> str:
        return f" ({some(self.records)})" if self.records else ""

    def as_json(self) -> dict[str, Any]:
        """The finding for programs."""
        return {
            "severity": self.severity, "code": self.code, "side": self.side, "what": self.what,
            "advice": self.advice, "records": list(self.records),
        }  # fmt: skip


def some(names: Sequence[str]) -> str:
    """The first names, each once, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def quoted(text: str) -> str:
    """A text of a capture, in quotes and cut."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def sorted_findings(found: Iterable[Finding]) -> list[Finding]:
    """Different inputs first, then by severity, then by code."""
    return sorted(
        found,
        key=lambda f: (f.code != "inputs", SEVERITIES.index(f.severity), CODES.index(f.code)),
    )
