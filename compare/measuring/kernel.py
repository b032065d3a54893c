"""Which arithmetic measures blocks: the compiled pass, or numpy. No numpy is imported here, so that
`layertui --where` answers at once.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

NO_KERNEL = "LAYERTUI_NO_KERNEL"


def compiled_module() -> ModuleType | None:
    """The compiled pass; None where numpy does its work."""
    return None if os.environ.get(NO_KERNEL) else _installed()


@cache
def _installed() -> ModuleType | None:
    try:
        return importlib.import_module(".compiled", __package__)
    except ImportError:  # installed without a compiler, or built for another machine
        return None


def instruction_sets() -> list[str]:
    """What the compiled pass can use of this processor, best first; empty where numpy does it."""
    module = compiled_module()
    return [] if module is None else module.instructions()


def in_use() -> str:
    """What measures blocks, in words."""
    if os.environ.get(NO_KERNEL):
        return f"numpy ({NO_KERNEL} is set)"
    sets = instruction_sets()
    return f"compiled ({sets[0]})" if sets else "numpy (installed without a compiler)"
