"""Writing to a rules file: recipes and pairs that were found on the screen.

A file is cut at the headers of its tables. Only the lines of a table that changes are written anew
(by tomlkit, which keeps their comments); every other byte stays where it is, also in files that
mix `[[recipe]]` and `[[pair]]` tables, which tomlkit would sort.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Any

from .rules import HandPair, RecipeRule, Rules, RulesError
from .rules_file import read_rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_KINDS = ("recipe", "pair", "unpaired")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # TOML knows no other ends of lines
_HEADER = re.compile(r"[ \t]*\[.*\][ \t\r]*(#.*)?\n?")
_REMARK = re.compile(r"[ \t\r]*(#.*)?\n?")  # a blank line or a comment


def save_to_rules(
    path: str, recipes: Sequence[RecipeRule] = (), pairs: Sequence[HandPair] = (),
    unpaired: Sequence[HandPair] = (),
) -> Rules:  # fmt: skip
    """Add to a rules file, which is made when it is not there. Returns the rules it has then.

    A recipe takes the place of the last one with the same `match`, and stands behind all others,
    since later rules win. A pair is written once; one that is taken apart (`unpaired`) is removed
    from `[[pair]]`, and the other way round. The file is replaced whole, through symbolic links,
    and keeps its permissions. Raises `RulesError`, and then nothing is written.
    """
    target, before = content_of(path)
    rules = read_rules(before or b"", path)
    wanted = rules.with_changes(recipes, pairs, unpaired)
    if before is not None and wanted == rules:
        return rules
    text = (before or b"").decode("utf-8")
    file = _File(path, list(_segments(text)), "\r\n" if "\r\n" in text else "\n")
    try:
        for rule in recipes:
            file.put_recipe(rule)
        for kind, other, found in (("pair", "unpaired", pairs), ("unpaired", "pair", unpaired)):
            for pair in found:
                file.remove_pair(other, pair)
                file.put_pair(kind, pair)
        after = file.text().encode("utf-8")
    except UnicodeEncodeError:
        reason = "a name has bytes that are not UTF-8, which TOML cannot hold; nothing is written"
        raise RulesError(f"{path}: {reason}") from None
    if read_rules(after, path) != wanted:
        raise RulesError(f"{path}: cannot be changed without other rules changing too")
    replace_content(path, target, after)
    return wanted


@dataclass(slots=True)
class _Segment:
    """A table that may change, header and statements; or, without a kind, any other text."""

    text: str
    kind: str | None = None
    value: dict[str, Any] | None = None


def _segments(text: str) -> Iterator[_Segment]:
    """Cut valid TOML at its headers; blank lines and comments behind a table are not part of it."""
    lines: list[str] = []
    for line in _LINE.findall(text):
        if lines and _HEADER.fullmatch(line) and _is_whole("".join(lines)):
            yield from _table(lines)
            lines = []
        lines.append(line)
    yield from _table(lines)


def _is_whole(text: str) -> bool:
    """False inside a string or an array of several lines, where `[` begins no table."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _table(lines: list[str]) -> Iterator[_Segment]:
    end = len(lines)
    while end and _REMARK.fullmatch(lines[end - 1]):
        end -= 1
    body, rest = "".join(lines[:end]), "".join(lines[end:])
    value = tomllib.loads(body)
    kind = next((kind for kind in _KINDS if kind in value), None)
    if kind is not None and _HEADER.fullmatch(lines[0]):
        yield _Segment(body, kind, value[kind][0])
    elif body:
        yield _Segment(body)
    if rest:
        yield _Segment(rest)


@dataclass(slots=True)
class _File:
    """The segments of a file, changed table by table."""

    path: str
    segments: list[_Segment]
    newline: str

    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    def put_recipe(self, rule: RecipeRule) -> None:
        tables = self._tables("recipe")
        same = [at for at in tables if self._value(at)["match"] == rule.match]
        if not same:
            self._append(_new_table("recipe", _entries(rule)))
            return
        at = same[-1]
        segment = self.segments[at]
        segment.text = self._lines(_with_recipes(segment.text, rule))
        segment.value = dict(_entries(rule))
        if at != tables[-1]:  # a later rule could win
            lead = self._lead(at)
            del self.segments[at]
            self._append(lead + segment.text, segment.value)

    def put_pair(self, kind: str, pair: HandPair) -> None:
        if not self._same_pairs(kind, pair):
            entries = [("reference", pair.reference), ("candidate", pair.candidate)]
            self._append(_new_table(kind, entries))

    def remove_pair(self, kind: str, pair: HandPair) -> None:
        """Take a pair out; comments stay."""
        for at in reversed(self._same_pairs(kind, pair)):
            comments = "".join(f"{line}\n" for line in _comments(self.segments[at].text))
            self.segments[at] = _Segment(self._lines(comments))

    def _tables(self, kind: str) -> list[int]:
        """Where the tables of a kind are. Raises `RulesError` for an array that has none."""
        for segment in self.segments:
            if segment.kind is None and kind in tomllib.loads(segment.text):
                raise RulesError(f"{self.path}: {kind}: write it as [[{kind}]] tables to add to it")
        return [at for at, segment in enumerate(self.segments) if segment.kind == kind]

    def _value(self, at: int) -> dict[str, Any]:
        return self.segments[at].value or {}

    def _same_pairs(self, kind: str, pair: HandPair) -> list[int]:
        wanted = {"reference": pair.reference, "candidate": pair.candidate}
        return [at for at in self._tables(kind) if self._value(at) == wanted]

    def _lead(self, at: int) -> str:
        """Take away the comment that stands directly above a table."""
        if at == 0 or self.segments[at - 1].kind is not None:
            return ""
        lines = _LINE.findall(self.segments[at - 1].text)
        start = len(lines)
        while start and lines[start - 1].lstrip(" \t").startswith("#"):
            start -= 1
        self.segments[at - 1].text = "".join(lines[:start])
        return "".join(lines[start:])

    def _append(self, table: str, value: dict[str, Any] | None = None) -> None:
        before = self.text()
        ends = before.endswith("\n") or not before
        blank = not before or before.endswith(("\n\n", "\n\r\n"))
        gap = ("" if ends else "\n") + ("" if blank else "\n")
        parsed = tomllib.loads(table)
        kind = next(kind for kind in _KINDS if kind in parsed)
        self.segments.append(_Segment(self._lines(gap)))
        self.segments.append(_Segment(self._lines(table), kind, value or parsed[kind][0]))

    def _lines(self, text: str) -> str:
        """`text` with the ends of lines that the file has."""
        return re.sub(r"\r?\n", self.newline, text)


def _entries(rule: RecipeRule) -> list[tuple[str, str]]:
    named = [("match", rule.match), ("reference", rule.reference), ("candidate", rule.candidate)]
    return [(key, value) for key, value in named if value is not None]


def _new_table(kind: str, entries: list[tuple[str, str]]) -> str:
    lines = [f"{key} = {toml_string(value).as_string()}\n" for key, value in entries]
    return "".join([f"[[{kind}]]\n", *lines])


def toml_string(value: str) -> Any:
    """In single quotes where the text has double ones, as patterns of `rearrange` do."""
    import tomlkit

    plain = '"' in value and "'" not in value and value.isprintable()
    return tomlkit.string(value, literal=plain)


def _with_recipes(text: str, rule: RecipeRule) -> str:
    """A `[[recipe]]` table with the recipes of `rule`, its comments kept."""
    import tomlkit

    document: Any = tomlkit.parse(text if text.endswith("\n") else text + "\n")
    table = document["recipe"][0]
    for side in ("reference", "candidate"):
        value = getattr(rule, side)
        if value is not None:
            table[side] = toml_string(value)
        elif side in table:
            comment = table[side].trivia.comment
            del table[side]
            if comment:
                table.add(tomlkit.comment(comment.removeprefix("#").strip()))
    return document.as_string()


def _comments(text: str) -> list[str]:
    """All comments of a table, those behind a statement too."""
    import tomlkit

    table: Any = next(iter(tomlkit.parse(text).values()))[0]
    found = [table.trivia.comment, *(item.trivia.comment for _, item in table.value.body)]
    return [comment.strip() for comment in found if comment.strip()]


def content_of(path: str) -> tuple[str, bytes | None]:
    """The file behind all links, and what it has; None when there is none. Raises `RulesError`."""
    try:
        target = os.path.realpath(path)
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise RulesError(f"{path}: is not a file that can be written to")
        with open(target, "rb") as file:
            return target, file.read()
    except FileNotFoundError:
        return os.path.realpath(path), None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RulesError(f"{path}: cannot be read: {reason}") from error


def replace_content(path: str, target: str, content: bytes) -> None:
    """Write to a temporary file beside the target, then rename it. Raises `RulesError`."""
    old, temporary = Path(target), Path(target).parent / f".layertui-{secrets.token_hex(8)}"
    try:
        if old.exists() and not os.access(old, os.W_OK):
            raise PermissionError(EACCES, "it is read-only")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if old.exists():
            _like(old, temporary)
        temporary.replace(old)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RulesError(f"{path}: cannot be written: {error.strerror or error}") from error


def _like(old: Path, new: Path) -> None:
    """Give `new` the permissions of `old`, and where that is allowed its owner."""
    known = old.stat()
    with contextlib.suppress(OSError):
        os.chown(new, known.st_uid, known.st_gid)
    new.chmod(stat.S_IMODE(known.st_mode))
