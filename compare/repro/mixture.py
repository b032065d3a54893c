"""Templates of mixtures of experts: the router's choice and scores, the sum with shared experts."""

from __future__ import annotations

import numpy as np

from ..laws.mixture.routing import Rule, chosen_of
from ..laws.mixture.shared_experts import ROUTED, SHARED
from .material import Material, Subject


def routing(subject: Subject) -> Material:
    """Logits, and which experts are to be chosen: of those that score alike within rounding the
    ones that a side chose.
    """
    rule: Rule = subject.place.fit.values["rule"]
    logits = subject.inputs("logits")
    chosen = [
        chosen_of(rule, case.inputs["logits"], case.units["logits"], case.more["chosen"])
        for case in subject.cases
    ]
    lines = ['logits = tensor(f"{side}_logits")']
    scores = "torch.sigmoid(logits)" if rule.scores == "sigmoid" else "logits.softmax(-1)"
    lines.append(f'scores = {scores} * tensor(f"{{side}}_chosen")')
    if rule.normalised:
        lines.append("scores = scores / scores.sum(-1, keepdim=True).clamp(min=1e-20)")
    lines.append(f"return {float(rule.factor)!r} * scores")
    sided = {
        "logits": logits,
        "chosen": (chosen[0].astype(np.float32), chosen[1].astype(np.float32)),
    }
    return Material(_expected(lines), {}, sided)


def shared_experts(subject: Subject) -> Material:
    """What the routed and the shared experts returned, and the gate of those."""
    kept = subject.by_size
    sided = {"routed": subject.inputs(ROUTED, kept), "shared": subject.inputs(SHARED, kept)}
    lines = ['shared = tensor(f"{side}_shared")']
    if subject.place.fit.values["gated"]:
        sided["gate"] = subject.inputs("gate")
        lines.append('shared = torch.sigmoid(tensor(f"{side}_gate")) * shared')
    lines.append('return tensor(f"{side}_routed") + shared')
    return Material(_expected(lines), {}, sided, kept)


def _expected(lines: list[str]) -> str:
    return "def expected(side):\n" + "".join(f"    {line}\n" for line in lines)
