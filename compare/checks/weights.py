"""Whether two checkpoints are of the same weights: read block by block, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ...capture.errors import RecordError
from ...capture.plurals import IS, counted, which
from ...capture.weights import Parameter, Weights
from ..comparison import Comparison
from ..matching.names.canonical import NameRules
from ..weights.parameters import ModuleFacts, SideParameters, Weight, facts_of_rows
from ..weights.weight_difference import StoppedError, WeightDifference, difference_of
from .digests import check_own_weights
from .finding import ADVICE_ON_WEIGHTS, Finding, some
from .one_side import Cancelled

_WORST = 3  # weights whose figures are printed
_EXPERT = re.compile(r"^(.*experts)\.(\d+)\.(gate_proj|up_proj|down_proj)$")
# What has no bearing on what a model computes.
_CONFIG = re.compile(r"^(?:_name_or_path|_commit_hash|architectures|transformers_version|"
                     r"(?:torch_)?dtype|use_cache|auto_map|.*_token_id)$")  # fmt: skip


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

    Reads them, block by block. Stops, with what it has, when `cancelled` returns True.
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
    theirs = parameters_beside(ours, candidate, facts, rules.candidate)
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
    parts. None when cancelled.
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
    except StoppedError:
        return None
    return report


def parameters_beside(
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
        found = difference_of(name, ours, theirs, cancelled)
    except (RecordError, OSError) as error:
        found = WeightDifference(name, problem=str(error))
    if found is not None:
        report.differences.append(found)


# -- words


def _findings(report: WeightsReport) -> Iterator[Finding]:
    real = [found for found in report.differences if found.rounded is None]
    real.sort(key=lambda found: (found.problem is None, -found.relative_l2))
    if real:
        worst = "; ".join(found.words for found in real[:_WORST])
        more = f"; and {len(real) - _WORST} more" if len(real) > _WORST else ""
        words = (
            f"{len(real)} of {counted(report.compared, 'weight')} "
            f"{which(len(real), 'differs', 'differ')}: {worst}{more}"
        )
        names = tuple(found.name for found in real)
        yield Finding("error", "weights", words, ADVICE_ON_WEIGHTS, records=names)
    for key in dict.fromkeys(found.rounded for found in report.differences):
        if key is not None:
            names = tuple(found.name for found in report.differences if found.rounded == key)
            count = counted(len(names), "weight")
            words = (
                f"{count} of the {key[0]} {which(len(names), 'is', 'are')} only rounded to {key[1]}"
            )
            yield Finding("note", "weights", words, "the limits of the less precise one apply",
                          records=names)  # fmt: skip
    for names, only, other in (
        (report.missing, "reference", "candidate"), (report.extra, "candidate", "reference"),
    ):  # fmt: skip
        if names:
            words = (
                f"{counted(len(names), 'weight')} of the {only} {which(len(names), *IS)} not in "
                f"the checkpoint of the {other}"
            )
            yield Finding("warning", "weights", words, "check whether the model uses them",
                          records=tuple(names))  # fmt: skip


def _configs(reference: Weights, candidate: Weights) -> Iterator[Finding]:
    left, right = _flattened(reference.config), _flattened(candidate.config)
    apart = [
        f"{key} ({left[key]!r} and {right[key]!r})"[:120]
        for key in left
        if key in right and left[key] != right[key] and not _CONFIG.match(key.rpartition(".")[2])
    ]
    if apart:
        words = f"the configs of the checkpoints differ in {some(apart)}"
        yield Finding("warning", "config", words, "make the settings match that should match")


def _flattened(config: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(config, dict):
        return {prefix: config}
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= _flattened(value, f"{prefix}.{key}" if prefix else str(key))
    return found
