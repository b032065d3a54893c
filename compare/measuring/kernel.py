"""Which arithmetic measures blocks: the compiled pass, or numpy. No numpy is imported here, so that
`layertui --where` answers at once.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

NO_KERNEL = "LAYERTUI_NO_KERNEL"
_INTERFACE = 4  # of the compiled pass that this code calls (`c/pass.h`)


def compiled_module() -> ModuleType | None:
    """The compiled pass; None where numpy does its work."""
    return None if os.environ.get(NO_KERNEL) or _is_stale() else _installed()


@cache
def _installed() -> ModuleType | None:
    try:
        return importlib.import_module(".compiled", __package__)
    except ImportError:  # installed without a compiler, or built for another machine
        return None


def _is_stale() -> bool:
    """Whether it was built from other sources, as in a checkout that was updated."""
    module = _installed()
    return module is not None and getattr(module, "interface", 0) != _INTERFACE


def instruction_sets() -> list[str]:
    """What the compiled pass can use of this processor, best first; empty where numpy does it."""
    module = compiled_module()
    return [] if module is None else module.instructions()


def in_use() -> str:
    """What measures blocks, in words."""
    if os.environ.get(NO_KERNEL):
        return f"numpy ({NO_KERNEL} is set)"
    if _is_stale():
        return "numpy (the compiled pass is of another version; `pip install -e .` builds it anew)"
    sets = instruction_sets()
    return f"compiled ({sets[0]})" if sets else "numpy (installed without a compiler)"
