"""Results that were summed up in another order: the same but for the last digits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

# Differences of what nearly cancels: they have the digits of their terms, some units here.
_CANCELLING = ("mean", "offset", "scale_se", "fit_residual")


def assert_nearly(found: Any, want: Any, where: str = "") -> None:
    """Data classes, JSON and tuples alike: floats to one part in a million, all else exactly."""
    if dataclasses.is_dataclass(want) and not isinstance(want, type):
        assert type(found) is type(want), where
        found, want = vars_of(found), vars_of(want)
    if isinstance(want, dict):
        assert found.keys() == want.keys(), where
        for key, value in want.items():
            assert_nearly(found[key], value, f"{where}.{key}")
    elif isinstance(want, list | tuple):
        assert len(found) == len(want), where
        for at, value in enumerate(want):
            assert_nearly(found[at], value, f"{where}[{at}]")
    elif isinstance(want, float):
        least = 1e-5 if where.endswith(_CANCELLING) else 1e-12
        assert found == pytest.approx(want, rel=1e-6, abs=least, nan_ok=True), where
    else:
        assert found == want, where


def vars_of(data: Any) -> dict[str, Any]:
    """The fields of a data class, one level deep."""
    return {part.name: getattr(data, part.name) for part in dataclasses.fields(data)}
