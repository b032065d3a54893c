"""What each command of the `:` line takes, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..commands import COMMANDS, SHORT

Kind = Literal[
    "commands", "records", "metrics", "policies", "limits", "modes", "files", "sides", "views",
    "recipes", "cases", "settings", "stored names", "fresh", "keep", "by",
]  # fmt: skip

# The kinds of a command's words; the last goes on for all that follow.
ARGUMENTS: dict[str, tuple[Kind, ...]] = {
    "by": ("by",),
    "case": ("cases",),
    "export": ("files",),
    "filter": ("records",),
    "goto": ("records",),
    "keep": ("keep",),
    "metric": ("metrics",),
    "model": ("sides", "files"),
    "policy": ("policies",),
    "recipe": ("recipes",),
    "report": ("files",),
    "rerun": ("fresh",),
    "runner": ("files",),
    "save": ("files",),
    "search": ("records",),
    "set": ("settings",),
    "show": ("modes",),
    "threshold": ("limits",),
    "view": ("views",),
    "with": ("stored names",),
}
_TO_THE_END = ("files", "stored names", "cases", "views")  # may have spaces in them


@dataclass(frozen=True)
class Wanted:
    """What is completed: a kind of words, from which place of the line on."""

    kind: Kind
    start: int


def wanted(line: str) -> Wanted | None:
    """What Tab at the end of a line is about; None where nothing is known of it."""
    bare = line.lstrip(" :")
    begin = len(line) - len(bare)
    word, space, _ = bare.partition(" ")
    if not space:
        return Wanted("commands", begin)
    kinds = ARGUMENTS.get(_command(word), ())
    start = begin + len(word) + 1
    start += len(line[start:]) - len(line[start:].lstrip())
    for number, kind in enumerate(kinds):
        last = number == len(kinds) - 1
        end = line.find(" ", start)
        if kind == "recipes":
            return Wanted(kind, _last_step(line, start))
        if kind in _TO_THE_END or end < 0:
            return Wanted(kind, start)
        if last:
            return Wanted(kind, line.rfind(" ") + 1)
        start = end + 1
    return None


def _command(word: str) -> str:
    """The command that a word means, shortened or not; the word itself where that is not clear."""
    word = SHORT.get(word, word)
    found = [command.name for command in COMMANDS if command.name.startswith(word)]
    return word if word in found or len(found) != 1 else found[0]


def _last_step(line: str, start: int) -> int:
    """Where the last step of a recipe begins."""
    at = max(line.rfind("|"), line.rfind(" "), start - 1) + 1
    return max(at, start)
