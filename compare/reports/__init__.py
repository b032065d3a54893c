"""Reports of a comparison, in the forms of `registry`. None is imported before it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .form import Part, ReportForm, Settings
    from .registry import FORMATS, FORMS, SEVERAL, part_of, whole

__all__ = ["FORMATS", "FORMS", "SEVERAL", "Part", "ReportForm", "Settings", "part_of", "whole"]


def __getattr__(name: str) -> Any:
    """What the registry has, loaded when it is first asked for: the words of numbers need none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.registry"), name)
