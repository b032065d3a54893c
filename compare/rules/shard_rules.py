"""The table `[shards]` of a rules file: how records are put together from those of ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...capture.ranks.way import Way, WayError, parse_way

_OUTPUTS = frozenset({"output", "output_0", "value"})
_HEADER = re.compile(r"^[ \t]*\[[ \t]*shards[ \t]*\]")
_ANY_HEADER = re.compile(r"^[ \t]*\[")


@dataclass(frozen=True, slots=True)
class ShardRule:
    """A glob on names, and the way to join what it matches: a module's output by the module, any
    record by `module-slot` or the name that the dump has.
    """

    match: str
    way: Way

    def fits(self, modules: Iterable[str], slot: str, names: Iterable[str]) -> bool:
        """Whether it is about a record with these names of its module, this slot, and these names
        of its own.
        """
        if slot in _OUTPUTS and any(fnmatchcase(module, self.match) for module in modules):
            return True
        labels = (f"{module}-{slot}" for module in modules)
        return any(fnmatchcase(name, self.match) for name in (*labels, *names))


def shard_rules(table: object, content: str) -> tuple[ShardRule, ...]:
    """The rules of the table. Raises `WayError`, which names the line of `content`."""
    if not isinstance(table, dict):
        raise WayError("[shards]: must be a table")
    found: list[ShardRule] = []
    for match, words in table.items():
        try:
            found.append(ShardRule(match, _way(words)))
        except WayError as error:
            line = _line_of(content, match)
            where = f"line {line}: " if line else ""
            raise WayError(f"{where}[shards] {match!r}: {error}") from error
    return tuple(found)


def _way(words: object) -> Way:
    """A text, or the axis of parts side by side as `{ dim = -1 }`. Raises `WayError`."""
    if isinstance(words, dict) and list(words) == ["dim"] and type(words["dim"]) is int:
        return parse_way(f"concat {words['dim']}")
    if not isinstance(words, str):
        raise WayError('must be a text in quotes, such as "concat -1", or { dim = -1 }')
    return parse_way(words)


def _line_of(content: str, match: str) -> int | None:
    """The line of the table that has the glob; None where it is written in another way."""
    inside = False
    for number, line in enumerate(content.split("\n"), 1):
        if _ANY_HEADER.match(line):
            inside = _HEADER.match(line) is not None
        elif inside and line.lstrip().lstrip("\"'").startswith(match):
            return number
    return None
