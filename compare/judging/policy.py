"""The policies by name. A new one is a module in `policies` and a line of
`vocabulary.POLICY_CLASSES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module

from ..measuring.metrics import METRICS
from ..rules.rules import ThresholdRule
from ..vocabulary import POLICIES, POLICY_CLASSES
from .policies.base import Policy, PolicyError
from .policies.dtype import DtypePolicy
from .policies.fixed import FIXED, FixedPolicy
from .policies.noise import NoisePolicy

__all__ = [
    "FIXED", "DtypePolicy", "FixedPolicy", "NoisePolicy", "Policy", "PolicyError",
    "metrics_needed", "policy_named", "with_overrides",
]  # fmt: skip


def policy_named(
    name: str, thresholds: Mapping[str, float] | None = None, rtol: float | None = None,
    atol: float | None = None, overrides: tuple[ThresholdRule, ...] = (),
) -> Policy:  # fmt: skip
    """The policy that the command line asks for. Raises `PolicyError` in words.

    `default` is `noise`, or what is asked for by limits: thresholds make it `fixed`, replacing its
    rules of thumb, a tolerance `dtype`.
    """
    for metric in thresholds or {}:
        if metric not in METRICS:
            raise PolicyError(f"unknown metric {metric!r} (known: {', '.join(METRICS)})")
    for metric, limit in (thresholds or {}).items():
        if math.isnan(limit):
            raise PolicyError(f"the threshold of {metric} is not a number")
    if (rtol is None) != (atol is None):
        raise PolicyError("rtol and atol must be given together")
    if name == "default":
        name = "fixed" if thresholds else "noise" if rtol is None else "dtype"
    if name not in POLICY_CLASSES:
        raise PolicyError(f"unknown policy {name!r} (known: {', '.join(POLICIES)})")
    module, _, kind = POLICY_CLASSES[name].partition(":")
    found = getattr(import_module(module, __package__), kind)
    return found.from_limits(thresholds, rtol, atol, overrides)


def with_overrides(policy: Policy, overrides: tuple[ThresholdRule, ...]) -> Policy:
    """The same policy with the thresholds of a rules file, which replace those it had."""
    return policy.with_overrides(overrides)


def metrics_needed(policy: Policy) -> frozenset[str]:
    """The metrics that a policy's thresholds name; some are measured only on demand."""
    return policy.metrics
