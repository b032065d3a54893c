"""Whether two checkpoints are of the same weights: read block by block, in bounded memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...capture.arrays import Array, load
from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.weights import Parameter, Weights
from ..canonical import NameRules
from ..casting import cast
from ..comparison import Comparison
from ..parameters import ModuleFacts, SideParameters, Weight, facts_of_rows
from .digests import check_own_weights
from .finding import ADVICE_ON_WEIGHTS, Finding, some
from .one_side import Cancelled

_BLOCK = 1 << 18  # elements that are compared at a time
_WORST = 3  # weights whose figures are said
_ROUNDINGS = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
_PARTS = slice(0, 1024), slice(1024, None)  # of a block: the first nearly always shows rounding
_EXPERT = re.compile(r"^(.*experts)\.(\d+)\.(gate_proj|up_proj|down_proj)$")
# What says nothing of what a model computes.
_CONFIG = re.compile(r"^(?:_name_or_path|_commit_hash|architectures|transformers_version|"
                     r"(?:torch_)?dtype|use_cache|auto_map|.*_token_id)$")  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """How a parameter of the reference differs from the candidate's.

    `differing` of `total` elements are not equal, `relative_l2` is that of the candidate's error.
    `rounded` says that nothing but rounding differs: of which side, to which dtype. `problem` is
    why the two cannot be compared, in words.
    """

    name: str
    differing: int = 0
    total: int = 0
    relative_l2: float = 0.0
    rounded: tuple[str, str] | None = None
    problem: str | None = None

    @property
    def words(self) -> str:
        """`model.norm.weight (3 of 64 elements, relative L2 1.2e-2)`."""
        if self.problem is not None:
            return f"{self.name} ({self.problem})"
        elements = "all" if self.differing == self.total else f"{self.differing} of"
        return f"{self.name} ({elements} {self.total} elements, relative L2 {self.relative_l2:.2g})"


@dataclass(slots=True)
class WeightsReport:
    """All parameters of two checkpoints: `compared` of them, those that differ, and the names of
    those that one side does not have.
    """

    compared: int = 0
    differences: list[WeightDifference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def check_weights(comparison: Comparison, cancelled: Cancelled = None) -> list[Finding]:
    """Findings about the checkpoints of two captures: against what the runs kept of theirs, and
    against each other where both are known and not the same.

    Reads them, block by block. Stops, with what it has, when `cancelled` says so.
    """
    models = comparison.models
    reference, candidate = models.reference, models.candidate
    found: list[Finding] = []
    if reference is not None:
        found += check_own_weights(comparison.reference, reference, "reference", cancelled)
    own = candidate if candidate is not None else reference
    if own is not None:
        found += check_own_weights(comparison.candidate, own, "candidate", cancelled)
    if reference is None or candidate is None or reference is candidate:
        return found
    rules = comparison.rules
    facts = facts_of_rows(
        comparison.rows, comparison.reference, comparison.candidate, comparison.rules
    )
    ours = SideParameters(reference, facts, rules.reference, rules.fused)
    theirs = _beside(ours, candidate, facts, rules.candidate)
    report = compare_weights(ours, theirs, cancelled)
    if report is None:
        return found
    report.missing = [] if candidate.partial else report.missing
    report.extra = [] if reference.partial else report.extra
    return [*found, *_findings(report), *_configs(reference, candidate)]


def compare_weights(
    reference: SideParameters, candidate: SideParameters, cancelled: Cancelled = None
) -> WeightsReport | None:
    """Compare two checkpoints parameter by parameter, in bounded memory; joined ones with their
    parts. None when `cancelled` said stop.
    """
    report = WeightsReport()
    used: set[str] = set()
    try:
        for module, name, parameter in _all_entries(reference):
            found = False
            for part, ours, theirs in _partners(reference, candidate, module, name, parameter):
                if theirs is None:
                    continue
                found = True
                used.update(theirs.names)
                _add(report, part, ours, theirs, cancelled)
            if not found:
                report.missing.append(parameter.name)
        for module, name, parameter in _all_entries(candidate):
            if parameter.name in used:
                continue
            ours, theirs = _weight(reference, module, name), _weight(candidate, module, name)
            if ours is not None and theirs is not None:
                _add(report, parameter.name, ours, theirs, cancelled)
            else:
                report.extra.append(parameter.name)
    except _StoppedError:
        return None
    return report


class _StoppedError(Exception):
    """`cancelled` said stop."""


def _beside(
    ours: SideParameters, candidate: Weights, facts: dict[str, ModuleFacts], names: NameRules
) -> SideParameters:
    """The candidate's parameters; what it has joined is cut to the widths of the reference's."""
    known = dict(facts)
    for module, name, parameter in ours.entries():
        fact = known.get(module, ModuleFacts())
        if name == "weight" and fact.width is None and parameter.locator.shape:
            weight = ours.weight(module)
            known[module] = replace(fact, width=weight.shape[0] if weight is not None else None)
    return SideParameters(candidate, known, names, ours.fused)


# -- pairs


def _all_entries(side: SideParameters) -> Iterator[tuple[str, str, Parameter]]:
    """Every parameter once; one whose canonical name is not its own goes by its own name."""
    named: set[str] = set()
    for entry in side.entries():
        named.add(entry[2].name)
        yield entry
    for name, parameter in side.weights.parameters.items():
        if name not in named:
            path, _, leaf = name.rpartition(".")
            yield path, leaf, parameter


def _partners(
    reference: SideParameters, candidate: SideParameters, module: str, name: str,
    parameter: Parameter,
) -> Iterator[tuple[str, Weight, Weight | None]]:  # fmt: skip
    """What is compared with what: a parameter with the candidate's, a stack of experts with the
    candidate's single ones.
    """
    ours = _weight(reference, module, name) or Weight(parameter)
    theirs = _weight(candidate, module, name)
    if theirs is not None or len(parameter.locator.shape) != 3:
        yield parameter.name, ours, theirs
        return
    parts = ("gate_proj", "up_proj") if name == "gate_up_proj" else (name,)
    for number in range(parameter.locator.shape[0]):
        for part in parts:
            one, other = _expert(reference, module, number, part), None
            if one is not None:
                other = _expert(candidate, module, number, part)
                yield f"{parameter.name}[{number}].{part}", one, other


def _weight(side: SideParameters, module: str, name: str) -> Weight | None:
    """A module's parameter, as numbers or, where it is quantised, as it is stored."""
    found = side.weight(module, name)
    if found is not None:
        return found
    match = _EXPERT.match(module)
    if match is not None and name == "weight":
        return _expert(side, match[1], int(match[2]), match[3])
    stored = side.find(module, name) or side.weights.parameters.get(f"{module}.{name}")
    return None if stored is None else Weight(stored)


def _expert(side: SideParameters, experts: str, number: int, part: str) -> Weight | None:
    return (
        side.expert(experts, number, part)
        if part in ("gate_proj", "up_proj", "down_proj")
        else None
    )


# -- numbers


def _add(
    report: WeightsReport, name: str, ours: Weight, theirs: Weight, cancelled: Cancelled
) -> None:
    report.compared += 1
    try:
        found = _difference(name, ours, theirs, cancelled)
    except (RecordError, OSError) as error:
        found = WeightDifference(name, problem=str(error))
    if found is not None:
        report.differences.append(found)


def _difference(
    name: str, ours: Weight, theirs: Weight, cancelled: Cancelled
) -> WeightDifference | None:
    if ours.shape != theirs.shape:
        shapes = f"{list(ours.shape)} and {list(theirs.shape)}"
        return WeightDifference(name, problem=f"shapes {shapes}")
    kinds = [DTYPES[weight.dtype].kind for weight in (ours, theirs)]
    if kinds[0] != kinds[1] or (kinds[0] != "float" and ours.dtype != theirs.dtype):
        return WeightDifference(name, problem=f"stored as {ours.dtype} and {theirs.dtype}")
    differing, error, energy = 0, 0.0, 0.0
    for a, b in _blocks(_flat(ours), _flat(theirs), cancelled):
        x = a.astype(np.float64).reshape(-1)
        energy += float(np.dot(x, x))
        if a.dtype == b.dtype and np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            continue
        x -= b.reshape(-1)
        squares = float(np.dot(x, x))
        if not math.isfinite(squares):  # NaN and Inf on both sides are equal
            a, b = a.reshape(-1), b.reshape(-1)
            x[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
            squares = float(np.dot(x, x))
        differing += int(np.count_nonzero(x))
        error += squares
    if not differing:
        return None
    relative = math.sqrt(error / energy) if energy else math.inf
    rounded = _rounding(ours, theirs, cancelled) if kinds[0] == "float" else None
    return WeightDifference(name, differing, prod(ours.shape), relative, rounded)


def _rounding(ours: Weight, theirs: Weight, cancelled: Cancelled) -> tuple[str, str] | None:
    """Which side is the other one rounded, and to what; None where more than that differs."""
    left = {("candidate", dtype) for dtype in _ROUNDINGS}
    left |= {("reference", dtype) for dtype in _ROUNDINGS}
    for a, b in _blocks(_flat(ours), _flat(theirs), cancelled):
        for side, dtype in tuple(left):
            exact, coarse = (a, b) if side == "candidate" else (b, a)
            if not _rounds(exact.reshape(-1), coarse.reshape(-1), dtype):
                left.discard((side, dtype))
        if not left:
            return None
    return min(left, key=lambda found: -DTYPES[found[1]].mantissa_bits)


def _rounds(exact: Array, coarse: Array, dtype: str) -> bool:
    return all(
        np.array_equal(cast(exact[part], dtype), coarse[part], equal_nan=True) for part in _PARTS
    )


def _blocks(ours: Weight, theirs: Weight, cancelled: Cancelled) -> Iterator[tuple[Array, Array]]:
    rows = ours.shape[0]
    step = max(1, _BLOCK // max(1, prod(ours.shape[1:])))
    if _is_stored_numbers(ours):
        for start in range(0, rows, step):
            if cancelled is not None and cancelled():
                raise _StoppedError
            stop = min(start + step, rows)
            yield ours.between(start, stop), theirs.between(start, stop)
        return
    one, other = load(ours.parameter.locator), load(theirs.parameter.locator)
    for start in range(0, rows, step):
        if cancelled is not None and cancelled():
            raise _StoppedError
        yield _plain(one[start : start + step]), _plain(other[start : start + step])


def _plain(stored: Array) -> Array:
    """Whole numbers as they are, complex ones as pairs."""
    array = np.ascontiguousarray(stored)
    return array.view(f"f{array.itemsize // 2}") if array.dtype.kind == "c" else array


def _is_stored_numbers(weight: Weight) -> bool:
    return DTYPES[weight.dtype].kind == "float"


def _flat(weight: Weight) -> Weight:
    """Stacks as one matrix, so that a block need not hold a whole expert."""
    place = weight.parameter.locator
    if len(place.shape) < 3 or place.strides is not None or place.reader != "raw" or weight.more:
        return weight
    flat = replace(place, shape=(prod(place.shape[:-1]), place.shape[-1]))
    return Weight(Parameter(weight.parameter.name, flat))


# -- words


def _findings(report: WeightsReport) -> Iterator[Finding]:
    real = [found for found in report.differences if found.rounded is None]
    real.sort(key=lambda found: (found.problem is None, -found.relative_l2))
    if real:
        worst = "; ".join(found.words for found in real[:_WORST])
        more = f"; and {len(real) - _WORST} more" if len(real) > _WORST else ""
        words = f"{len(real)} of {report.compared} weights differ: {worst}{more}"
        names = tuple(found.name for found in real)
        yield Finding("error", "weights", words, ADVICE_ON_WEIGHTS, records=names)
    for key in dict.fromkeys(found.rounded for found in report.differences):
        if key is not None:
            names = tuple(found.name for found in report.differences if found.rounded == key)
            words = f"{len(names)} weights of the {key[0]} are rounded to {key[1]}, no more"
            yield Finding("note", "weights", words, "the limits of the coarser one hold",
                          records=names)  # fmt: skip
    for names, only, other in (
        (report.missing, "reference", "candidate"), (report.extra, "candidate", "reference"),
    ):  # fmt: skip
        if names:
            words = f"{len(names)} weights of the {only} are not in the checkpoint of the {other}"
            yield Finding("warning", "weights", words, "look whether they have a part in the model",
                          records=tuple(names))  # fmt: skip


def _configs(reference: Weights, candidate: Weights) -> Iterator[Finding]:
    left, right = _flattened(reference.config), _flattened(candidate.config)
    apart = [
        f"{key} {left[key]!r} and {right[key]!r}"[:120]
        for key in left
        if key in right and left[key] != right[key] and not _CONFIG.match(key.rpartition(".")[2])
    ]
    if apart:
        words = f"the configs of the checkpoints differ in {some(apart)}"
        yield Finding("warning", "config", words, "make them equal where they should be")


def _flattened(config: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(config, dict):
        return {prefix: config}
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= _flattened(value, f"{prefix}.{key}" if prefix else str(key))
    return found
