"""The rules file (`--rules FILE.toml`): names, fused parts, recipes, pairs by hand, thresholds,
checkpoints, parts of ranks.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ...capture.ranks.layout import LayoutError, RankLayout, parse_layout
from ...capture.ranks.way import WayError
from ..matching.names.canonical import LAYER, NameRules
from ..recipes.errors import RecipeError
from ..recipes.parse import parse_recipe
from ..weights.models import SIDES, ModelPaths
from .shard_rules import ShardRule, shard_rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


class RulesError(Exception):
    """A rules file that cannot be used; one line that names the file and the key."""


@dataclass(frozen=True, slots=True)
class FusedRule:
    """A module whose output is that of several others joined along `axis`.

    `fused` and `parts` are ends of canonical names (`self_attn.qkv_proj`).
    """

    fused: str
    parts: tuple[str, ...]
    axis: int = -1


@dataclass(frozen=True, slots=True)
class RecipeRule:
    """Recipes for the pairs whose `canonical-slot` matches a glob; None leaves a side alone."""

    match: str
    reference: str | None = None
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class HandPair:
    """Two records, by the names the dumps have, that hold the same quantity."""

    reference: str
    candidate: str


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """Greatest allowed values of metrics for the rows whose canonical name matches a glob."""

    match: str
    limits: tuple[tuple[str, float], ...]

    def rule_for(self, canonical: str, slot: str, label: str) -> ThresholdRule | None:
        """The rule for a row; by its module, or by `module-slot` (`label` has the call too)."""
        fits = fnmatchcase(label, self.match) or fnmatchcase(canonical, self.match)
        return self if fits else None


@dataclass(frozen=True, slots=True)
class LayerLimits(ThresholdRule):
    """The limits of a thresholds file: `match` is its name, `layers` go by `module-slot`."""

    layers: Mapping[str, ThresholdRule] = field(default_factory=dict, hash=False)

    def rule_for(self, canonical: str, slot: str, label: str) -> ThresholdRule | None:
        return self.layers.get(f"{canonical}-{slot}")


_ENGINES = ("reference_engine", "candidate_engine")
# In every framework that we know; the joined parts of one parent.
BUILT_IN_FUSED = (
    FusedRule("qkv_proj", ("q_proj", "k_proj", "v_proj")),
    FusedRule("qkv_proj", ("q_proj", "kv_proj")),
    FusedRule("kv_proj", ("k_proj", "v_proj")),
    FusedRule("gate_up_proj", ("gate_proj", "up_proj")),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that steers an alignment. The built-in tables apply besides."""

    reference: NameRules = field(default_factory=NameRules)
    candidate: NameRules = field(default_factory=NameRules)
    ignore: tuple[str, ...] = ()
    fused: tuple[FusedRule, ...] = BUILT_IN_FUSED
    recipes: tuple[RecipeRule, ...] = ()
    pairs: tuple[HandPair, ...] = ()
    unpaired: tuple[HandPair, ...] = ()  # taken apart by hand; stronger than `pairs`
    thresholds: tuple[ThresholdRule, ...] = ()
    models: ModelPaths = field(default_factory=ModelPaths)
    shards: tuple[ShardRule, ...] = ()
    layouts: tuple[RankLayout | None, RankLayout | None] = (None, None)  # of numbered ranks
    allow_reshape: bool = False  # where no layout fits, as many elements are enough

    def ignores(self, label: str, module: str) -> bool:
        """True when a glob of `ignore` matches the canonical module or `module-slot`."""
        return any(fnmatchcase(label, glob) or fnmatchcase(module, glob) for glob in self.ignore)

    def recipe_for(self, label: str) -> RecipeRule | None:
        """The last recipe rule whose glob matches `canonical-slot`."""
        return next(
            (rule for rule in reversed(self.recipes) if fnmatchcase(label, rule.match)), None
        )

    def with_changes(
        self, recipes: Iterable[RecipeRule] = (), pairs: Iterable[HandPair] = (),
        unpaired: Iterable[HandPair] = (),
    ) -> Rules:  # fmt: skip
        """These rules with more of them. A recipe takes the place of the last one with the same
        `match` and stands behind all others, where it wins; a pair that is made is taken apart no
        longer, and the other way round.
        """
        kept, made, apart = list(self.recipes), list(self.pairs), list(self.unpaired)
        for rule in recipes:
            same = [i for i, known in enumerate(kept) if known.match == rule.match]
            if same:
                del kept[same[-1]]
            kept.append(rule)
        for found, here, there in ((pairs, made, apart), (unpaired, apart, made)):
            for pair in found:
                there[:] = [known for known in there if known != pair]
                if pair not in here:
                    here.append(pair)
        return replace(self, recipes=tuple(kept), pairs=tuple(made), unpaired=tuple(apart))


def glob_of(module: str, slot: str) -> str:
    """The glob that matches a canonical module's slot, and no other (but every call of it)."""
    return _literally(f"{module}-{slot}")


def globs_of_kind(module: str, slot: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Globs for this slot of the same module in any layer: `layers.*.mlp.down_proj-output`.

    `*` also matches dots: where the one glob would catch others of `labels` (all `module-slot` that
    there are), as `layers.*-output` does, there is one for each number of digits instead. A module
    outside the layers is its only kind.
    """
    layer = LAYER.search(module)
    if layer is None:
        return (glob_of(module, slot),)
    before, after = module[: layer.start(1)], f"{module[layer.end(1) :]}-{slot}"
    kind = re.compile(f"{re.escape(before)}([0-9]{{1,9}}){re.escape(after)}")
    loose = f"{_literally(before)}*{_literally(after)}"
    digits = {len(layer[1])}
    exact = True
    for label in labels:
        found = kind.fullmatch(label)
        if found:
            digits.add(len(found[1]))
        elif fnmatchcase(label, loose):
            exact = False
    if exact:
        return (loose,)
    return tuple(f"{_literally(before)}{'[0-9]' * n}{_literally(after)}" for n in sorted(digits))


def _literally(text: str) -> str:
    """A glob that matches `text` alone."""
    return re.sub(r"([*?[])", r"[\1]", text)


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
