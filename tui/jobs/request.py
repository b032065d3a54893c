"""What is to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.judging.policy import Policy
    from ...compare.rules.rules import Rules
    from ...compare.weights.models import ModelPaths


@dataclass(frozen=True)
class Request:
    """What to compare, and how. `case` is that of folders of captures that both sides are in."""

    reference: str
    candidate: str
    rules: Rules | None = None
    policy: Policy | None = None
    raw: str | None = None
    rtol: float | None = None
    atol: float | None = None
    ulp: bool = False
    models: ModelPaths | None = None
    min_coverage: float = 0.5
    allow_early_end: bool = False
    case: str = ""
    rules_path: str | None = None  # the file that the rules came from, beside which notes lie
