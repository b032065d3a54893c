"""The tables of all engines as one, ready to be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import registry
from .names import EngineNames

ALONE = "."  # no component is called that


@dataclass(frozen=True, slots=True)
class Tables:
    """`by_parent` has the names of components below `self_attn`, below `mlp`, and (under `ALONE`)
    of a module that stands alone at the top; `anywhere` serves below all others. `any_*` match
    what one of the patterns matches: one look, since most names have nothing to do with them.
    """

    quantities: tuple[tuple[re.Pattern[str], str, str | None], ...]
    paths: tuple[tuple[re.Pattern[str], str], ...]
    anywhere: Mapping[str, str]
    by_parent: Mapping[str, Mapping[str, str]]
    any_quantity: re.Pattern[str]
    any_path: re.Pattern[str]


_built: tuple[tuple[EngineNames, ...], Tables] | None = None


def known_names() -> Tables:
    """The tables of `registry.ENGINES`, built once."""
    global _built
    if _built is None or _built[0] is not registry.ENGINES:
        _built = registry.ENGINES, joined(registry.ENGINES)
    return _built[1]


def joined(engines: tuple[EngineNames, ...]) -> Tables:
    """The tables of several engines. Raises ValueError where two of them give one component two
    names: which engine a capture comes from is not known when its names are read.
    """
    anywhere = _merged((engine.name, engine.anywhere) for engine in engines)
    parents = {
        "self_attn": _merged((engine.name, engine.in_attention) for engine in engines),
        "mlp": _merged((engine.name, engine.in_mlp) for engine in engines),
        ALONE: _merged((engine.name, engine.at_top) for engine in engines),
    }
    quantities = [row for engine in engines for row in engine.quantities]
    paths = [row for engine in engines for row in engine.paths]
    return Tables(
        tuple((re.compile(pattern), module, slot) for pattern, module, slot in quantities),
        tuple((re.compile(pattern), replacement) for pattern, replacement in paths),
        anywhere,
        {parent: {**anywhere, **names} for parent, names in parents.items()},
        _any(row[0] for row in quantities),
        _any(row[0] for row in paths),
    )


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)")


def _merged(tables: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for engine, table in tables:
        for name, standard in table.items():
            if merged.setdefault(name, standard) != standard:
                raise ValueError(f"{engine}: {name} is {standard}, and {merged[name]} elsewhere")
    return merged
