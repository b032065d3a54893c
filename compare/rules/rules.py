"""What steers an alignment: names, fused parts, recipes, pairs by hand, thresholds, checkpoints,
parts of ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..matching.names.canonical import LAYER, NameRules
from ..weights.models import ModelPaths

if TYPE_CHECKING:
    from ...capture.ranks.layout import RankLayout
    from .shard_rules import ShardRule


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
