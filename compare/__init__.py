"""Two captures compared: alignment, measurements, verdicts, reports. No terminal in here.

The names below are imported when they are first used: a test module that only imports the helper
does not pay for numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .testing import assert_captures_match

__all__ = ["assert_captures_match"]

_HOMES = {"assert_captures_match": "testing"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
