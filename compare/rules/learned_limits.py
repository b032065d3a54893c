"""Limits by layer, learned from runs that are known to be good, and the file that holds them.

The file is JSON:

    {"schema": "layertui.thresholds/1", "made_from": [{"reference", "baseline", "pairs"}, ...],
     "percentile": 99, "margin": 1.5,
     "layers": {"layers.3.mlp.down_proj-output":
         {"relative_l2", "nmse", "max_abs", "cosine_distance"}, ...},
     "samples": {"layers.3.mlp.down_proj-output": 12, ...}}

A layer is a canonical module and a slot; its limit is the percentile over all runs, steps and
calls, times the margin. `cosine_distance` is 1 - cosine.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...capture.plurals import HAS, WAS, counted, which
from ..measuring.metrics import NUMBERS, MetricSpec
from ..model import Failure, Measurement, Row, by_values
from .rules import LayerLimits, RulesError, ThresholdRule

if TYPE_CHECKING:
    from ..aligned import Aligned, Results

SCHEMA = "layertui.thresholds/1"
_MOST_BYTES = 64 << 20
_SHOWN = 5  # names in a sentence


class BaselineError(Exception):
    """Runs that no limits can be made of; one line for the user."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile of a sequence that is not empty, linear between the two nearest ranks."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100.0
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def layer_of(row: Row) -> str:
    """What a limit belongs to: the canonical module and the slot, whatever the call."""
    return f"{row.canonical}-{row.slot}"


@dataclass(slots=True)
class Baselines:
    """Numbers of good runs, gathered by layer.

    `refused` has the layers that get no limit, with the reason: what cannot be compared in a run
    that is known to be good cannot be a measure of goodness.
    """

    made_from: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    gaps: int = 0
    models: list[str] = field(default_factory=list)

    def add(self, aligned: Aligned, results: Results) -> None:
        """Take in what was measured of a reference and a good run."""
        pairs = 0
        for row, result in zip(aligned.rows, results.measurements, strict=True):
            if row.kind != "pair":
                self.gaps += 1
                continue
            pairs += 1
            self._take(layer_of(row), row, by_values(result))
        self.made_from.append(
            {"reference": aligned.reference.path, "baseline": aligned.candidate.path,
             "pairs": pairs}
        )  # fmt: skip
        for side in (aligned.reference, aligned.candidate):
            if side.model:
                self.models.append(side.model)

    def _take(self, layer: str, row: Row, result: Measurement | Failure | None) -> None:
        if not isinstance(result, Measurement):
            reason = row.problem or (result.reason if result is not None else "not measured")
            self.refused.setdefault(layer, reason)
            return
        if result.nonfinite_mismatch or (result.count and not result.compared):
            self.refused.setdefault(layer, "NaN or Inf that the two sides do not share")
            return
        if not result.count:
            self.refused.setdefault(layer, "no elements")
            return
        known = self.samples.setdefault(layer, {name: [] for name in limited()})
        self.counts[layer] = self.counts.get(layer, 0) + 1
        for name, spec in limited().items():
            value = error_of(result, spec)
            if value is not None:
                known[name].append(value)

    def limits(self, percent: float, margin: float) -> dict[str, dict[str, float]]:
        """The limits of every layer. A metric that could not be computed in one of the runs has
        none. Raises `BaselineError` when there is not a single limit.
        """
        layers: dict[str, dict[str, float]] = {}
        for layer, known in self.samples.items():
            if layer in self.refused:
                continue
            found = {
                name: margin * percentile(values, percent)
                for name, values in known.items()
                if len(values) == self.counts[layer]
            }
            found = {name: value for name, value in found.items() if math.isfinite(value)}
            if found:
                layers[layer] = found
            else:
                self.refused[layer] = "no metric could be computed in every run"
        if not layers:
            raise BaselineError(
                "no limits can be learned: no pair of these runs could be compared"
                + (f" ({_some(self.refused)}: {next(iter(self.refused.values()))})"
                   if self.refused else "")
            )  # fmt: skip
        return layers

    def file(self, percent: float, margin: float) -> dict[str, Any]:
        """The content of a thresholds file. Raises `BaselineError`."""
        layers = self.limits(percent, margin)
        return {
            "schema": SCHEMA,
            "made_from": self.made_from,
            "percentile": percent,
            "margin": margin,
            "layers": layers,
            "samples": {layer: self.counts[layer] for layer in layers},
        }

    def notes(self, layers: Mapping[str, Mapping[str, float]]) -> list[str]:
        """What the user should know of the limits, in sentences."""
        said: list[str] = []
        if self.refused:
            said.append(
                f"{len(self.refused)} layers get no limit: {_some(self.refused)} "
                f"({next(iter(self.refused.values()))})"
            )
        exact = [name for name, found in layers.items() if not any(found.values())]
        if exact:
            said.append(
                f"{counted(len(exact), 'layer', WAS)} equal in every run, so that any difference "
                f"is above the limit: {_some(exact)}"
            )
        if self.gaps:
            said.append(f"{self.gaps} records had no partner")
        few = min((self.counts[layer] for layer in layers), default=0)
        if few < 3:
            said.append(
                f"some layers were seen only {few} time{'s' if few != 1 else ''}: a percentile "
                "needs several prompts and shapes"
            )
        return said


def limited() -> dict[str, MetricSpec]:
    """The metrics that limits are learned of, by the names that those have."""
    return {spec.limit_name: spec for spec in NUMBERS.values() if spec.limit}


def error_of(result: Measurement, spec: MetricSpec) -> float | None:
    """A metric of which more is worse; 0 where the sides are equal and a ratio has no meaning.
    None when it cannot be computed.
    """
    value = result.metric(spec.name)
    value = None if value is None else spec.error(value)
    if value is None and (result.identical or result.max_abs == 0):
        return 0.0
    return value if value is None or math.isfinite(value) else None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


# Reading


def load_thresholds(path: str) -> LayerLimits:
    """Read a thresholds file. Raises `RulesError`, one line, for anything that is not one."""
    content = _content(path)
    schema = content.get("schema")
    if schema != SCHEMA:
        raise RulesError(f"{path}: {_foreign(content, schema)}")
    layers = content.get("layers")
    if not isinstance(layers, dict) or not layers:
        raise RulesError(f"{path}: damaged: no layers in it")
    name = os.path.basename(path)
    rules = {layer: _layer(path, name, layer, limits) for layer, limits in layers.items()}
    return LayerLimits(name, (), rules)


def _content(path: str) -> dict[str, Any]:
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise RulesError(f"{path}: too large for a thresholds file")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise RulesError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RulesError(
            f"{path}: not a thresholds file (no valid JSON); make one with layertui thresholds"
        ) from error
    if not isinstance(content, dict):
        raise RulesError(f"{path}: not a thresholds file; make one with layertui thresholds")
    return content


def _foreign(content: dict[str, Any], schema: object) -> str:
    if isinstance(schema, str) and re.fullmatch(r"layertui\.thresholds/\d+", schema):
        return f"written in the format {schema}, this layertui reads {SCHEMA}; install a newer one"
    if "abs_diff" in content and "cos_sim_avg" in content:
        return (
            "the format aiu, whose norms grow with a tensor's size and are not limits; "
            "make a thresholds file with layertui thresholds"
        )
    return f"not a thresholds file (no schema {SCHEMA!r}); make one with layertui thresholds"


def _layer(path: str, file: str, layer: str, limits: object) -> ThresholdRule:
    where = f"{path}: layer {layer[:100]!r}"
    if not isinstance(limits, dict) or not limits:
        raise RulesError(f"{where}: damaged: no limits")
    found: list[tuple[str, float]] = []
    known = limited()
    for name, value in limits.items():
        if name not in known:
            raise RulesError(f"{where}: unknown metric {name!r} (known: {', '.join(known)})")
        limit = _limit(value)
        if limit is None:
            raise RulesError(f"{where}: {name} must be a finite number, not negative")
        spec = known[name]
        # Verdicts know a likeness itself.
        found.append((spec.name, limit if spec.greater_is_worse else 1.0 - limit))
    return ThresholdRule(f"{file}: {layer}", tuple(found))


def _limit(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


# Applying


def coverage_notes(rules: Iterable[ThresholdRule], rows: Iterable[Row]) -> list[str]:
    """Which layers a thresholds file has no limits for, and which of its layers are not there."""
    said: list[str] = []
    layers = dict.fromkeys(layer_of(row) for row in rows if row.kind == "pair")
    for rule in rules:
        if not isinstance(rule, LayerLimits):
            continue
        unknown = [layer for layer in layers if layer not in rule.layers]
        unused = [layer for layer in rule.layers if layer not in layers]
        if unknown:
            said.append(
                f"{rule.match} has no limits for {len(unknown)} of {len(layers)} layers, which "
                f"the policy judges: {_some(unknown)}"
            )
        if unused:
            layers = counted(len(unused), "layer")
            have = which(len(unused), *HAS)
            said.append(f"{layers} of {rule.match} {have} no pair here: {_some(unused)}")
    return said
