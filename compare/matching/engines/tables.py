"""The tables of all engines as one, ready to be looked at, and which engine a capture is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from . import registry
from .names import EngineNames

ALONE = "."  # no component is called that
IN_LAYER = "layers."  # stands for the number of a layer
_ENOUGH_NAMES = 20_000  # that are looked at for the signs of an engine
_INNER_NUMBER = re.compile(r"(?<=[./_-])\d+(?=[./])")  # no sign asks which layer it is


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """`by_parent` has the names of components below `self_attn`, below `mlp`, (under `IN_LAYER`)
    directly in a layer, and (under `ALONE`) of a module that stands alone at the top; `anywhere`
    serves below all others. `any_*` match what one of the patterns matches: one look, since most
    names have nothing to do with them. `words` are all components that have a meaning.
    """

    quantities: tuple[tuple[re.Pattern[str], str, str | None], ...]
    paths: tuple[tuple[re.Pattern[str], str], ...]
    anywhere: Mapping[str, str]
    by_parent: Mapping[str, Mapping[str, str]]
    any_quantity: re.Pattern[str]
    any_path: re.Pattern[str]
    words: frozenset[str] = frozenset()


_built: dict[str | None, tuple[tuple[EngineNames, ...], Tables]] = {}


def known_names(engine: EngineNames | None = None) -> Tables:
    """The tables of `registry.ENGINES`, built once; those of a recognised `engine` come first."""
    key = None if engine is None else engine.name
    built = _built.get(key)
    if built is None or built[0] is not registry.ENGINES:
        tables = joined(registry.ENGINES)
        if engine is not None:
            tables = _over(engine, tables)
        built = _built[key] = registry.ENGINES, tables
    return built[1]


def _over(engine: EngineNames, others: Tables) -> Tables:
    """The general tables with those of a recognised engine before them."""
    own = joined((engine,))
    quantities = own.quantities + others.quantities
    paths = own.paths + others.paths
    by_parent = {
        parent: {**names, **own.by_parent[parent]} for parent, names in others.by_parent.items()
    }
    return Tables(
        quantities, paths, {**others.anywhere, **own.anywhere}, by_parent,
        _any(row[0].pattern for row in quantities), _any(row[0].pattern for row in paths),
        own.words | others.words,
    )  # fmt: skip


def joined(engines: tuple[EngineNames, ...]) -> Tables:
    """The tables of several engines, without those that must be recognised first, or of one.
    Raises ValueError where two of them give one component two names.
    """
    if len(engines) > 1:
        engines = tuple(engine for engine in engines if not engine.signs)
    anywhere = _merged((engine.name, engine.anywhere) for engine in engines)
    parents = {
        "self_attn": _merged((engine.name, engine.in_attention) for engine in engines),
        "mlp": _merged((engine.name, engine.in_mlp) for engine in engines),
        IN_LAYER: _merged((engine.name, engine.in_layer) for engine in engines),
        ALONE: _merged((engine.name, engine.at_top) for engine in engines),
    }
    quantities = [row for engine in engines for row in engine.quantities]
    paths = [row for engine in engines for row in engine.paths]
    words: set[str] = set()
    for table in (anywhere, *parents.values()):
        words.update(table, *(name.split(".") for name in table.values()))
    return Tables(
        tuple((re.compile(pattern), module, slot) for pattern, module, slot in quantities),
        tuple((re.compile(pattern), replacement) for pattern, replacement in paths),
        anywhere,
        {parent: {**anywhere, **names} for parent, names in parents.items()},
        _any(row[0] for row in quantities),
        _any(row[0] for row in paths),
        frozenset(words),
    )


def engine_named(name: str) -> EngineNames | None:
    """The engine of the registry that is called `name`, in capitals or not."""
    wanted = name.casefold()
    return next((e for e in registry.ENGINES if e.name.casefold() == wanted), None)


def recognised(names: Iterable[str]) -> EngineNames | None:
    """The first engine of the registry whose signs are all there."""
    some = (
        _INNER_NUMBER.sub("0", name) for name, _ in zip(names, range(_ENOUGH_NAMES), strict=False)
    )
    text = "\n".join(dict.fromkeys(some))
    for engine in registry.ENGINES:
        if any(all(_sign(sign).search(text) for sign in line) for line in engine.signs):
            return engine
    return None


@lru_cache(maxsize=256)
def _sign(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)")


def _merged(tables: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for engine, table in tables:
        for name, standard in table.items():
            if merged.setdefault(name, standard) != standard:
                raise ValueError(f"{engine}: {name} is {standard}, and {merged[name]} elsewhere")
    return merged
