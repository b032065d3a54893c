"""The table `[shards]` of a rules file: how records are put together from those of ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...capture.ranks.way import Way, WayError, parse_way

_OUTPUTS = frozenset({"output", "output_0", "value"})
_KIND = re.compile(r"\s*(tp|sp|ep|cp|dp|rank):\s*")
# The kinds of parallelism whose ranks may be joined so.
_PARTS = ("tp", "sp", "ep", "rank")
_KINDS_OF = {
    "concat": (*_PARTS, "cp"), "split": _PARTS, "partial": _PARTS, "zigzag": ("cp", "rank"),
}  # fmt: skip
_HEADER = re.compile(r"^[ \t]*\[[ \t]*shards[ \t]*\]")
_ANY_HEADER = re.compile(r"^[ \t]*\[")


@dataclass(frozen=True, slots=True)
class ShardRule:
    """A glob on names, and the ways to join what it matches: a module's output by the module, any
    record by `module-slot` or the name that the dump has. A way is that of a kind of parallelism,
    or of the one that there is.
    """

    match: str
    ways: tuple[tuple[str, Way], ...]

    def way(self, kind: str, joined: bool) -> Way | None:
        """How ranks are joined that differ in this kind alone (empty: there is one kind). A way
        without a kind is that of the first that it can be, if nothing is `joined` yet.
        """
        told = dict(self.ways)
        if kind in told:
            return told[kind]
        if not kind:
            return self.ways[0][1] if len(self.ways) == 1 else None
        way = told.get("")
        if way is None or way.kind in ("replicated", "apart"):
            return way
        return None if joined or kind not in _KINDS_OF[way.kind] else way

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
            found.append(ShardRule(match, _ways(words)))
        except WayError as error:
            line = _line_of(content, match)
            where = f"line {line}: " if line else ""
            raise WayError(f"{where}[shards] {match!r}: {error}") from error
    return tuple(found)


def _ways(words: object) -> tuple[tuple[str, Way], ...]:
    """A way, or a list of them, each of another kind of parallelism. Raises `WayError`."""
    found: list[tuple[str, Way]] = []
    for one in words if isinstance(words, list) else [words]:
        kind = _KIND.match(one) if isinstance(one, str) else None
        rest = one[kind.end() :] if kind is not None and isinstance(one, str) else one
        found.append(("" if kind is None else kind[1], _way(rest)))
    if not found or len(dict(found)) < len(found):
        raise WayError("one way for each kind of parallelism")
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
