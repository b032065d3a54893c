"""What is still going on behind a comparison that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.comparison import Comparison


def checking_laws(comparison: Comparison) -> bool:
    """Whether layers are still to be checked against their laws, everything being measured."""
    return comparison.judges_by_laws and comparison.laws is None and comparison.complete


def laws_progress(comparison: Comparison) -> str:
    """`checking layers 120/424`; nothing unless that is going on."""
    if not checking_laws(comparison):
        return ""
    done, total = comparison.laws_progress
    if not total:
        return "checking layers"
    return f"checking layers {done}/{total}" if done < total else "looking for causes"
