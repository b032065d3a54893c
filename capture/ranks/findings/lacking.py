"""What one rank lacks, and others of the same run have: steps, layers, and single records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...names import natural_key
from ...records import Record
from ..coordinates import STAGE, Places
from ..deciding import Decision
from ..groups import Group
from ..names_of_parts import kind_of_module

LACKS = "a rank that should have it has not"
_LAYERS = ("layers", "h", "blocks")
# What a rank lacks holds at least this share of the records that its other layers, or steps, hold:
# what the first rank alone writes, as sampled tokens, is less.
_SHARE = 0.5
_NAMED = 3

Unit = tuple[int, str]  # a step, and a layer; outside of layers its path is empty
Told = Sequence[tuple[Group, Decision]]


def layer_of(module: str) -> str:
    """The path of the layer that a module is in; empty outside of layers."""
    parts = module.split(".")
    for place, part in enumerate(parts[:-1]):
        if part in _LAYERS and parts[place + 1].isdecimal():
            return ".".join(parts[: place + 2])
    return ""


@dataclass(slots=True)
class Lacking:
    """By rank, the steps and layers that it lacks, of those that have all of its own and more: so
    stages of a pipeline, which have other layers, lack none.
    """

    steps: dict[str, list[int]] = field(default_factory=dict)
    layers: dict[str, list[str]] = field(default_factory=dict)

    def has(self, record: Record) -> bool:
        """Whether some rank lacks the step, or the layer, of a record."""
        layer = layer_of(record.module)
        return any(record.step in steps for steps in self.steps.values()) or any(
            layer in layers for layers in self.layers.values()
        )

    def words(self) -> list[str]:
        """`rank2 lacks step 4, which other ranks have`."""
        found: list[str] = []
        for rank in sorted({*self.steps, *self.layers}, key=natural_key):
            steps = [str(step) for step in sorted(self.steps.get(rank, ()))]
            layers = sorted(self.layers.get(rank, ()), key=natural_key)
            what = [
                some for some in (_some("step", steps), ", ".join(layers[:_NAMED])) if some
            ]  # fmt: skip
            more = ", ..." if len(layers) > _NAMED else ""
            found.append(f"{rank} lacks {' and '.join(what)}{more}, which other ranks have")
        return found


def lacking(records: Sequence[Record], places: Places) -> Lacking:
    """What ranks lack whole that others of the same stage have; nothing of what few ranks have."""
    stages: dict[int, dict[str, dict[Unit, int]]] = defaultdict(dict)
    for record in records:
        if record.rank is not None:
            stage = stages[places.get(record.rank, {}).get(STAGE, 0)]
            own = stage.setdefault(record.rank, defaultdict(int))
            own[record.step, layer_of(record.module)] += 1
    found = Lacking()
    for counts in stages.values():
        _add_lacking(found, counts)
    return found


def _add_lacking(found: Lacking, counts: Mapping[str, Mapping[Unit, int]]) -> None:
    by_step = {rank: _by(own, 0) for rank, own in counts.items()}
    by_layer = {rank: _by(own, 1) for rank, own in counts.items()}
    for rank in counts:
        steps = _lacks(rank, by_step)
        layers = [layer for layer in _lacks(rank, by_layer) if layer]
        if steps:
            found.steps[rank] = [int(step) for step in steps]
        if layers:
            found.layers[rank] = [str(layer) for layer in layers]


def _by(own: Mapping[Unit, int], place: int) -> dict[int | str, int]:
    found: dict[int | str, int] = defaultdict(int)
    for unit, count in own.items():
        if place == 0 or unit[1]:
            found[unit[place]] += count
    return dict(found)


def _lacks(rank: str, counts: Mapping[str, Mapping[int | str, int]]) -> list[int | str]:
    """What most of the others have, all of what this rank has, and as many records of it."""
    own = counts[rank]
    fuller = [there for other, there in counts.items() if other != rank and set(own) < set(there)]
    if not own or 2 * len(fuller) < len(counts):
        return []
    least = {unit: min(there[unit] for there in fuller) for unit in own}
    return [
        unit for unit in set.intersection(*(set(there) for there in fuller)) - set(own)
        if min(there[unit] for there in fuller) >= _SHARE * max(least.values())
    ]  # fmt: skip


def odd_records(told: Told, ranks: Sequence[str], known: Lacking) -> list[str]:
    """Records that one rank lacks, or has in another shape, though they are joined of all ranks in
    other layers, or are parts of what stands outside of layers; and those that ranks have in other
    dtypes, or with more axes: which rank, in words. Experts are those that tokens chose.
    """
    usual = {
        _kind(group) for group, decision in told
        if decision.way.kind != "apart" and group.count == len(ranks)
    }  # fmt: skip
    found: dict[str, list[str]] = defaultdict(list)
    for group, decision in told:
        if decision.way.kind != "apart" or "expert" in group.module or known.has(group.first):
            continue
        known_part = decision.why == LACKS and not layer_of(group.first.module)
        for words in _odd_forms(group, ranks, known_part or _kind(group) in usual):
            found[words].append(group.first.name)
    return [
        f"{words} {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
        for words, names in found.items()
    ]


def layers_twice(told: Told, places: Places) -> list[str]:
    """Layers that two stages of a pipeline have, with other values: which, in words."""
    found: dict[str, list[str]] = {}
    for group, decision in told:
        layer = layer_of(group.first.module)
        stages = {places.get(record.rank or "", {}).get(STAGE, -1) for record in group.records}
        if decision.way.kind == "apart" and layer and len(stages) > 1 and -1 not in stages:
            found.setdefault(layer, [f"{STAGE}{stage}" for stage in sorted(stages)])
    return [f"{layer} is on {' and '.join(stages)}, with other values"
            for layer, stages in found.items()]  # fmt: skip


def _kind(group: Group) -> tuple[str, str]:
    return kind_of_module(group.module), group.slot


def _odd_forms(group: Group, ranks: Sequence[str], usual: bool) -> list[str]:
    """What is wrong with the record of some ranks, that are not most of them."""
    there = {record.rank or "": record for record in group.records}
    gone = [rank for rank in ranks if rank not in there]
    if gone:
        return [f"{rank} lacks" for rank in gone] if usual and 2 * len(gone) < len(ranks) else []
    if any(record.shape is None or record.error for record in there.values()):
        return []  # one that cannot be read is a row of its own
    shapes = {rank: record.shape or () for rank, record in there.items()}
    axes = {rank: len(shape) for rank, shape in shapes.items()}
    dtypes = {rank: record.dtype for rank, record in there.items()}
    found = [f"{rank} has the dtype {dtypes[rank]}, and others another, of"
             for rank in _odd(dtypes, True)]  # fmt: skip
    odd = _odd(axes, True) or (_odd(shapes, False) if usual else [])
    return found + [f"{rank} has another shape of" for rank in odd]


def _odd(forms: Mapping[str, object], half: bool) -> list[str]:
    """Ranks that have not what most have; where it is `half` of them, the later ones."""
    by_form: dict[object, list[str]] = defaultdict(list)
    for rank, form in forms.items():
        by_form[form].append(rank)
    most = max(by_form.values(), key=len)
    odd = [rank for rank in forms if rank not in most]
    return odd if 2 * len(odd) < len(forms) + half else []


def _some(word: str, numbers: Sequence[str]) -> str:
    if not numbers:
        return ""
    more = ", ..." if len(numbers) > _NAMED else ""
    return f"{word}{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:_NAMED])}{more}"
