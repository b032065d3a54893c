"""Words that do not depend on what is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.measuring.metrics import METRICS
from ...compare.recipes.parse import STEP_NAMES
from ...compare.vocabulary import POLICIES
from ..commands import COMMANDS
from ..list.row_model import MODES

if TYPE_CHECKING:
    from .arguments import Kind


def words_of_kind(kind: Kind) -> list[str]:
    """All words of a kind, in the order in which they are offered."""
    if kind == "commands":
        return [command.name for command in COMMANDS]
    table: dict[Kind, list[str]] = {
        "metrics": list(METRICS),
        "policies": list(POLICIES),
        "limits": [f"{name}=" for name in (*METRICS, "rtol", "atol")],
        "modes": list(MODES),
        "sides": ["reference", "candidate"],
        "recipes": ["ref", "cand", *(f"{name}(" for name in STEP_NAMES)],
        "fresh": ["fresh"],
        "keep": ["pair", "kind", "save"],
        "by": ["component"],
    }
    return table.get(kind, [])
