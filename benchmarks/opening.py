"""How the benchmarks read results: two captures and the reference's checkpoint, measured."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import Policy


def compared(
    left: Path, right: Path, model: Path | None = None, policy: Policy | None = None
) -> Comparison:
    """Two captures, measured. `model` is the checkpoint of the reference, which serves both."""
    options: dict[str, Any] = {} if model is None else _models(model)
    comparison = open_comparison(str(left), str(right), policy=policy, **options)
    comparison.measure(use_cache=False, threads=1)
    return comparison


def _models(model: Path) -> dict[str, Any]:
    """The option with the checkpoint; none where layertui cannot use one."""
    if "models" not in inspect.signature(open_comparison).parameters:
        return {}
    from layertui.compare.weights.models import ModelPaths

    return {"models": ModelPaths(str(model))}


def cause_names(finding: Any) -> tuple[str, ...] | None:
    """The names of a finding's causes, the best first; None where none were tried."""
    causes = getattr(finding, "causes", None)
    return None if causes is None else tuple(cause.name for cause in causes)
