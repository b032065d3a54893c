"""Models inside of wrappers: torch.compile's, DistributedDataParallel, peft's adapters; and the
processes that share one model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import torch

_OF_A_RANK = re.compile(r"(?:^|[^a-z])rank[-_ ]?\d+$", re.IGNORECASE)
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel")
_OF_ADAPTERS = ("peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "bias", "fan_in_fan_out",
                "rank_pattern", "alpha_pattern")  # fmt: skip
_DEEPEST = 8


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without what is wrapped around it."""
    for _ in range(_DEEPEST):
        inner = _inner(model)
        if inner is None:
            break
        model = inner
    return model


def plain_class(module: torch.nn.Module) -> type:
    """The class of a module, without what `fully_shard` and torch.compile put in its place."""
    kind = type(getattr(module, "_orig_mod", module))
    bases = (base for base in kind.__bases__ if kind.__name__ == f"FSDP{base.__name__}")
    return next(bases, kind)


def wrappers_of(model: torch.nn.Module) -> list[str]:
    """Classes of what is wrapped around a model, outermost first; empty without any."""
    found: list[str] = []
    inner = _inner(model)
    while inner is not None and len(found) < _DEEPEST:
        found.append(type(model).__name__)
        model, inner = inner, _inner(inner)
    return found


def adapters_of(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """What peft says of the adapters of a model that is not merged, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for module in model.modules():
        configs = getattr(module, "peft_config", None)
        for name, config in configs.items() if isinstance(configs, Mapping) else ():
            to_dict = getattr(config, "to_dict", None)
            said = to_dict() if callable(to_dict) else config
            if isinstance(said, Mapping):
                found.setdefault(str(name), {
                    key: said[key] if isinstance(said[key], (int, float)) else str(said[key])
                    for key in _OF_ADAPTERS if said.get(key) not in (None, {}, False)
                })  # fmt: skip
    return found


def rank_of_process() -> tuple[int, int] | None:
    """Rank and number of the processes that torch.distributed has joined; None for one alone."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    size = distributed.get_world_size()
    return (distributed.get_rank(), size) if size > 1 else None


def path_of_process(path: str) -> str:
    """`path`, or `path/rank<N>` where several processes run; one that names a rank stays."""
    process = rank_of_process()
    if process is None or _OF_A_RANK.search(os.path.basename(os.path.normpath(path))):
        return path
    return os.path.join(path, f"rank{process[0]}")


def _inner(model: torch.nn.Module) -> torch.nn.Module | None:
    compiled = getattr(model, "_orig_mod", None)
    if isinstance(compiled, torch.nn.Module):
        return compiled
    if type(model).__name__ in _WRAPPERS:
        inside = getattr(model, "module", None)
        return inside if isinstance(inside, torch.nn.Module) else None
    base = getattr(model, "get_base_model", None)  # a PeftModel
    if callable(base) and hasattr(model, "peft_config"):
        inside = base()
        return inside if isinstance(inside, torch.nn.Module) and inside is not model else None
    return None


def root_of(mesh: Any) -> Any:
    """The mesh of devices that a mesh is a part of; itself where torch does not tell."""
    root = getattr(mesh, "_get_root_mesh", None)  # torch has no public name for it
    try:
        return root() if callable(root) else mesh
    except (RuntimeError, TypeError):
        return mesh
