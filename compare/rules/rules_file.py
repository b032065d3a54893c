"""The rules file (`--rules FILE.toml`), read and checked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...capture.ranks.layout import LayoutError, RankLayout, parse_layout
from ...capture.ranks.way import WayError
from ..matching.names.canonical import NameRules
from ..recipes.errors import RecipeError
from ..recipes.parse import parse_recipe
from ..weights.models import SIDES, ModelPaths
from .rules import BUILT_IN_FUSED, FusedRule, HandPair, RecipeRule, Rules, RulesError, ThresholdRule
from .shard_rules import shard_rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_ENGINES = ("reference_engine", "candidate_engine")


def load_rules(path: str) -> Rules:
    """Read a rules file. Raises `RulesError` for an unreadable file, bad TOML or unknown keys."""
    try:
        with open(path, "rb") as file:
            return read_rules(file.read(), path)
    except OSError as error:
        raise RulesError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_rules(content: bytes, path: str) -> Rules:
    """The rules that the bytes of a file hold; `path` names it in a `RulesError`."""
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise RulesError(f"{path}: not valid TOML: nested too deeply") from error
    try:
        shards = shard_rules(data.get("shards", {}), content.decode("utf-8"))
    except WayError as error:
        raise RulesError(f"{path}: {error}") from error
    return replace(_Parser(path).rules(data), shards=shards)


@dataclass(frozen=True, slots=True)
class _Parser:
    path: str
    known: tuple[str, ...] = field(
        default=(
            "names", "fused", "recipe", "pair", "unpaired", "thresholds", "models", "shards",
            "ranks",
        )
    )  # fmt: skip

    def fail(self, where: str, what: str) -> RulesError:
        return RulesError(f"{self.path}: {where}: {what}")

    def keys(self, where: str, table: object, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(table, dict):
            raise self.fail(where, "must be a table")
        for key in table:
            if key not in known:
                raise self.fail(where, f"unknown key {key!r} (known: {', '.join(known)})")
        return table

    def rules(self, data: dict[str, Any]) -> Rules:
        self.keys("top level", data, self.known)
        names = self.keys(
            "[names]", data.get("names", {}),
            ("reference", "candidate", "synonyms", "ignore", *_ENGINES),
        )  # fmt: skip
        engines = [self.engine(key, names.get(key)) for key in _ENGINES]
        synonyms = tuple(self.pairs("[names] synonyms", names.get("synonyms", [])))
        return Rules(
            reference=NameRules(self.renames("reference", names), synonyms, engines[0]),
            candidate=NameRules(self.renames("candidate", names), synonyms, engines[1]),
            ignore=tuple(self.strings("[names] ignore", names.get("ignore", []))),
            fused=(*reversed(self.fused(data.get("fused", {}))), *BUILT_IN_FUSED),
            recipes=tuple(self.each("[[recipe]]", data.get("recipe", []), self.recipe)),
            pairs=tuple(self.each("[[pair]]", data.get("pair", []), self.pair)),
            unpaired=tuple(self.each("[[unpaired]]", data.get("unpaired", []), self.pair)),
            thresholds=self.thresholds(data.get("thresholds", {})),
            models=self.models(data.get("models", {})),
            layouts=self.layouts(data.get("ranks", {})),
        )

    def engine(self, key: str, value: object) -> str | None:
        """The engine whose names a side has; an empty text stands for none of those that are
        recognised.
        """
        from ..matching.engines.registry import ENGINES

        if value is None or value == "":
            return value if value is None else ""
        known = {engine.name.casefold(): engine.name for engine in ENGINES if engine.signs}
        if not isinstance(value, str) or value.casefold() not in known:
            raise self.fail(f"[names] {key}", f"must be one of {', '.join(known.values())}")
        return known[value.casefold()]

    def layouts(self, table: object) -> tuple[RankLayout | None, RankLayout | None]:
        """Where the ranks of both sides stand."""
        found = self.keys("[ranks]", table, SIDES)
        reference, candidate = (self.layout(side, found.get(side)) for side in SIDES)
        return reference, candidate

    def layout(self, side: str, words: object) -> RankLayout | None:
        if words is None:
            return None
        try:
            return parse_layout(words if isinstance(words, str) else str(words))
        except LayoutError as error:
            raise self.fail(f"[ranks] {side}", str(error)) from error

    def models(self, table: object) -> ModelPaths:
        """Checkpoints; a path is meant from the directory of the rules file."""
        entry = self.keys("[models]", table, SIDES)
        for side, value in entry.items():
            if not isinstance(value, str) or not value:
                raise self.fail(f"[models] {side}", "must be a path in quotes")
        folder = os.path.dirname(self.path)
        found: list[str | None] = []
        for value in (entry.get(side) for side in SIDES):
            here = value and os.path.join(folder, os.path.expanduser(value))
            found.append(here if here and os.path.exists(here) else value)
        return ModelPaths(*found)

    def strings(self, where: str, value: object) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.fail(where, "must be a list of strings")
        return value

    def pairs(self, where: str, value: object) -> list[tuple[str, str]]:
        if not isinstance(value, list):
            raise self.fail(where, 'must be a list of ["from", "to"] pairs')
        result: list[tuple[str, str]] = []
        for item in value:
            two = self.strings(where, item)
            if len(two) != 2:
                raise self.fail(where, f'{item!r} is not a ["from", "to"] pair')
            result.append((two[0], two[1]))
        return result

    def renames(
        self, side: str, names: Mapping[str, Any]
    ) -> tuple[tuple[re.Pattern[str], str], ...]:
        where = f"[names] {side}"
        compiled: list[tuple[re.Pattern[str], str]] = []
        for pattern, replacement in self.pairs(where, names.get(side, [])):
            try:
                expression = re.compile(pattern)
                expression.sub(replacement, "")
            except (re.error, IndexError, OverflowError, RecursionError) as error:
                raise self.fail(where, f"bad regular expression {pattern!r}: {error}") from error
            compiled.append((expression, replacement))
        return tuple(compiled)

    def fused(self, table: object) -> list[FusedRule]:
        if not isinstance(table, dict):
            raise self.fail("[fused]", "must be a table")
        rules: list[FusedRule] = []
        for name, value in table.items():
            where = f"[fused] {name!r}"
            entry = self.keys(where, value, ("parts", "axis"))
            parts = self.strings(where, entry.get("parts", []))
            axis = entry.get("axis", -1)
            if len(parts) < 2 or not isinstance(axis, int) or isinstance(axis, bool):
                raise self.fail(where, "needs at least two parts and a whole number as axis")
            rules.append(FusedRule(name, tuple(parts), axis))
        return rules

    def each(self, where: str, value: object, one: Callable[[str, Any], Any]) -> list[Any]:
        if not isinstance(value, list):
            raise self.fail(where, f"must be written as {where}")
        return [one(f"{where} number {index}", item) for index, item in enumerate(value, 1)]

    def recipe(self, where: str, value: object) -> RecipeRule:
        entry = self.keys(where, value, ("match", "reference", "candidate"))
        if not isinstance(entry.get("match"), str):
            raise self.fail(where, "needs a glob as match")
        if "reference" not in entry and "candidate" not in entry:
            raise self.fail(where, "needs a recipe as reference or candidate")
        for side in ("reference", "candidate"):
            text = entry.get(side)
            if text is None:
                continue
            if not isinstance(text, str):
                raise self.fail(f"{where} {side}", "must be a recipe in quotes")
            try:
                parse_recipe(text)
            except RecipeError as error:
                raise self.fail(f"{where} {side}", str(error)) from error
        return RecipeRule(entry["match"], entry.get("reference"), entry.get("candidate"))

    def pair(self, where: str, value: object) -> HandPair:
        entry = self.keys(where, value, ("reference", "candidate"))
        two = [entry.get("reference"), entry.get("candidate")]
        if not all(isinstance(name, str) for name in two):
            raise self.fail(where, "needs a record name as reference and one as candidate")
        return HandPair(str(two[0]), str(two[1]))

    def thresholds(self, table: object) -> tuple[ThresholdRule, ...]:
        from ..measuring.metrics import METRICS

        if not isinstance(table, dict):
            raise self.fail("[thresholds]", "must be a table")
        rules: list[ThresholdRule] = []
        for glob, value in table.items():
            where = f"[thresholds] {glob!r}"
            limits = self.keys(where, value, tuple(METRICS))
            if not limits:
                raise self.fail(where, "needs at least one metric with its limit")
            for metric, limit in limits.items():
                if not _is_limit(limit):
                    raise self.fail(where, f"{metric} must be a number")
            rules.append(ThresholdRule(glob, tuple((m, float(v)) for m, v in limits.items())))
        return tuple(rules)


def _is_limit(value: object) -> bool:
    """A number that a metric can be held against: no NaN, which everything would pass."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max or value in (float("inf"), float("-inf"))
