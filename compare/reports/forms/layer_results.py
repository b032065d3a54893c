"""The pairs of a comparison as a layer test has them: the embedding, of every layer its attention
and its feed-forward part with what is inside them, the final norm.

A result passes when every pair in it does: a fault in a part is never hidden by a whole that looks
well. Every pair of outputs is in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...judging.policy import policy_named, with_overrides
from ...matching.names.canonical import LAYER, ROOT
from ...matching.names.roles import (
    is_embedding,
    last_name,
    precedes_layers,
    role_of,
    standard_name,
)
from ...model import Measurement, Row, Verdict

if TYPE_CHECKING:
    from ...comparison import Comparison
    from ...judging.policy import Policy

BEFORE_LAYERS = -1  # the index of the embedding, and of what else stands before the layers
_PASSED = ("identical", "ok")
# What goes into these modules is a quantity of its own: what stands between two modules.
_QUANTITIES = {
    standard_name("attention_output"): "attention",  # the heads, before the output projection
    "post_attention_layernorm": "residual",
    "down_proj": "act(gate)*up",
}
_NAMES = {
    "input_layernorm": "input_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "pre_feedforward_norm",
    "post_feedforward_layernorm": "post_feedforward_norm",
}  # fmt: skip
# Pairs that stand for a whole part, the best first.
_WHOLE = {
    "attention": ("", standard_name("attention_output"), "residual"),
    "mlp": ("", "down_proj", "residual"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sublayer:
    """A pair inside a result: `name` is empty for the whole part itself."""

    name: str
    row: Row
    verdict: Verdict
    numbers: Measurement | None

    @property
    def passed(self) -> bool:
        return self.verdict.level in _PASSED


@dataclass(slots=True)
class LayerResult:
    """One tested layer. `index` is the layer's number, -1 before the layers, the number of layers
    behind them. `parts` are its pairs in execution order.
    """

    index: int
    name: str
    kind: str
    parts: list[Sublayer] = field(default_factory=list)

    @property
    def whole(self) -> Sublayer | None:
        """The pair whose numbers stand for all of it: outside of the layers the only one under
        any name. None where what it gives was not paired.
        """
        for name in _WHOLE.get(self.kind, ("",)):
            for part in self.parts:
                if part.name == name:
                    return part
        return self.parts[0] if len(self.parts) == 1 and self.kind not in _WHOLE else None

    @property
    def sublayers(self) -> list[Sublayer]:
        """Its other pairs."""
        return [part for part in self.parts if part is not self.whole]

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)


def fixed_policy(comparison: Comparison) -> Policy:
    """The comparison's own policy where that has fixed thresholds, else the rules of thumb."""
    policy = comparison.policy
    if policy.name == "fixed":
        return policy
    return with_overrides(policy_named("fixed"), comparison.rules.thresholds)


def layer_results(comparison: Comparison) -> list[LayerResult]:
    """The results in execution order, by fixed thresholds."""
    policy = fixed_policy(comparison)
    rows = [row for row in comparison.rows if row.kind == "pair" and _is_tested(row)]
    parts = {module for row in rows for module in _ancestors(row.canonical)}
    # Which norms a layer has is seen in what one side has alone, too.
    parts |= {row.canonical for row in comparison.rows if "feedforward" in row.canonical}
    layers = {
        int(match[1]) for row in comparison.rows if (match := LAYER.search(row.canonical))
    }  # fmt: skip
    behind = max(layers) + 1 if layers else 0
    found: dict[str, LayerResult] = {}
    for row in rows:
        index, name, kind, sublayer = _place(row, parts, behind)
        result = comparison.measurements[row.index]
        numbers = result if isinstance(result, Measurement) else None
        layer = found.setdefault(name, LayerResult(index, name, kind))
        layer.parts.append(Sublayer(sublayer, row, policy.judge(row, result), numbers))
    return list(found.values())


def layers_pass(comparison: Comparison, results: Sequence[LayerResult]) -> bool:
    """Whether the whole passes: every layer does, and what is asked of the whole holds."""
    if comparison.policy.name == "fixed" and comparison.exit_status():
        return False
    whole = comparison.counts.unreadable == 0 and not comparison.outcome().of_the_whole
    return whole and bool(results) and all(layer.passed for layer in results)


def _is_tested(row: Row) -> bool:
    if row.role in ("output", "value"):
        return True
    return row.slot == "input_0" and last_name(row.canonical) in _QUANTITIES


def _ancestors(module: str) -> list[str]:
    """`layers.0.mlp.up_proj` and every module around it."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _place(row: Row, modules: set[str], behind: int) -> tuple[int, str, str, str]:
    """Index, name and kind of the result that a row belongs to, and its name in there."""
    match = LAYER.search(row.canonical)
    suffix = f"_step_{row.step}" if row.step else ""
    suffix += f"_call_{row.call}" if row.call > 1 else ""
    if match is None:
        before = is_embedding(row.canonical) or precedes_layers(row.canonical)
        name = _outside(row) + suffix
        return BEFORE_LAYERS if before else behind, name, name, _slot(row, "")
    layer = row.canonical[: match.end()]
    path = row.canonical[match.end() :].lstrip(".")
    kind, sublayer = _inside(row, layer, path, modules)
    stack = row.canonical[: match.start()].replace(".", "_")
    name = f"{stack}_" if stack else ""
    name += f"layer_{match[1]}{'_' if kind else ''}{kind}{suffix}"
    return int(match[1]), name, kind, sublayer


def _outside(row: Row) -> str:
    record = row.reference
    if is_embedding(row.canonical) and last_name(row.canonical) == standard_name("embedding"):
        return "embedding"
    if row.canonical == "norm" and role_of("norm", record.module_class if record else None):
        return "final_norm"
    return "output" if row.canonical == ROOT else row.canonical.replace(".", "_")


def _inside(row: Row, layer: str, path: str, modules: set[str]) -> tuple[str, str]:
    """The part of a layer (`attention`, `mlp`, another module's name, or nothing: the layer), and
    the name in there.
    """
    has_mlp = f"{layer}.mlp" in modules or f"{layer}.block_sparse_moe" in modules
    if not path:  # what the layer gives is the sum behind the feed-forward part
        return ("mlp", _slot(row, "residual")) if has_mlp else ("", _slot(row, ""))
    first, _, rest = path.partition(".")
    role = role_of(first)
    if row.role == "input":
        quantity = _QUANTITIES[last_name(path)]
        if quantity == "residual" and _norms_follow(layer, modules):
            quantity = "attention_output"  # the norm stands in front of the sum
        return ("attention" if quantity != "act(gate)*up" else "mlp"), quantity
    if role == "attention":
        kind = "attention" if first == standard_name("attention") else first
        return kind, _slot(row, _named(rest))
    if role == "mlp" or role == "experts":
        return "mlp", _slot(row, _named(rest))
    if role == "norm":
        follows = "attention" in first and _norms_follow(layer, modules)
        attention = first == "input_layernorm" or follows
        return "attention" if attention else "mlp", _slot(row, _named(first))
    return first, _slot(row, _named(rest))


def _norms_follow(layer: str, modules: set[str]) -> bool:
    """Whether the norm behind the attention normalises what the attention gives, and not what goes
    into the feed-forward part: that has norms of its own then.
    """
    own = (f"{layer}.pre_feedforward_layernorm", f"{layer}.post_feedforward_layernorm")
    return not modules.isdisjoint(own)


def _named(path: str) -> str:
    return _NAMES.get(path, path)


def _slot(row: Row, name: str) -> str:
    """The name, with the slot where it is not the main output."""
    if row.slot in ("output", "value"):
        return name
    return f"{name}-{row.slot}" if name else row.slot
