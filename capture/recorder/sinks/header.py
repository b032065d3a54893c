"""The first line of a manifest: what runs, on what, and how it was started."""

from __future__ import annotations

import inspect
import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ...formats.manifest import MAJOR
from ..environment import environment_of
from ..wrappers import adapters_of, plain_class, rank_of_process, root_of, unwrapped, wrappers_of

# What dimensions of a mesh of devices are called, and the kind of parallelism that it is.
KINDS_OF_DIMENSIONS = {
    **{kind: kind for kind in ("tp", "pp", "dp", "ep", "cp", "sp")},
    "tensor": "tp", "model": "tp", "data": "dp", "fsdp": "dp", "replicate": "dp", "shard": "dp",
    "dp_replicate": "dp", "dp_shard": "dp", "context": "cp", "expert": "ep", "pipeline": "pp",
}  # fmt: skip


def header_line(model: torch.nn.Module | None, options: dict[str, Any]) -> dict[str, Any]:
    """The header; `options` are what the user asked of the recording."""
    return {
        "layertui": MAJOR,
        "framework": "torch",
        "framework_version": str(torch.__version__),
        **(_about(model) if model is not None else {}),
        "argv": [_text(part) for part in sys.argv],
        "seed": torch.initial_seed(),
        "started": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": {
            "node": platform.node(), "system": platform.platform(),
            "python": platform.python_version(), "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "options": options,
        **_process(),
        **_mesh(model),
        **_split(model),
        **environment_of(model),
    }  # fmt: skip


def _process() -> dict[str, int]:
    process = rank_of_process()
    return {} if process is None else {"rank": process[0], "world_size": process[1]}


def _mesh(model: torch.nn.Module | None) -> dict[str, Any]:
    """Where this process stands in the mesh of devices that weights lie on (DTensors): by kind of
    parallelism its place and the number of places, the outer kind first. Nothing where dimensions
    have no names that are known.
    """
    meshes = [
        mesh for weight in (model.parameters() if model is not None else ())
        if (mesh := getattr(weight, "device_mesh", None)) is not None
    ]  # fmt: skip
    found: dict[str, tuple[int, int]] = {}
    for mesh in dict.fromkeys(root_of(mesh) for mesh in meshes):
        names, places = mesh.mesh_dim_names or (), mesh.get_coordinate() or ()
        for name, place, count in zip(names, places, mesh.shape, strict=False):
            kind = KINDS_OF_DIMENSIONS.get(name)
            if kind is not None:
                outer = found.get(kind, (0, 1))
                found[kind] = outer[0] * count + place, outer[1] * count
        if found:
            break
    said = [[kind, place, count] for kind, (place, count) in found.items() if count > 1]
    return {"mesh": said} if said else {}


def _axis_of_split(weight: Any) -> tuple[bool, int | None]:
    """Whether the forward pass has a part of a weight (DTensor) only, and the axis along which it
    is cut, if that is one. Parts of data-parallel processes (FSDP) are gathered before.
    """
    placements = getattr(weight, "placements", ())
    names = getattr(getattr(weight, "device_mesh", None), "mesh_dim_names", None) or ()
    cut = [
        placement for number, placement in enumerate(placements)
        if not placement.is_replicate()
        and KINDS_OF_DIMENSIONS.get(names[number] if number < len(names) else "") != "dp"
    ]  # fmt: skip
    return bool(cut), getattr(cut[0], "dim", None) if len(cut) == 1 else None


def _split(model: torch.nn.Module | None) -> dict[str, Any]:
    """By module, where processes have parts of its weights (DTensors): the axis along which its
    matrix is split and the size of the whole; nothing where it is no matrix, or split otherwise.
    """
    found: dict[str, list[int]] = {}
    for name, module in unwrapped(model).named_modules() if model is not None else ():
        for own, weight in module.named_parameters(recurse=False):
            cut, axis = _axis_of_split(weight)
            if not cut:
                continue
            sizes = tuple(weight.shape)
            table = isinstance(module, torch.nn.Embedding)
            if own == "weight" and len(sizes) == 2 and axis in (0, 1) and not table:
                found[name] = [axis, sizes[axis]]
            else:
                found.setdefault(name, [])
    return {"split": found} if found else {}


def _about(model: torch.nn.Module) -> dict[str, Any]:
    inner = unwrapped(model)
    kind = plain_class(inner)
    config = getattr(inner, "config", None)
    name = getattr(inner, "name_or_path", None) or getattr(config, "_name_or_path", None)
    more = {"aliases": _aliases(model), "wrappers": wrappers_of(model),
            "adapters": adapters_of(model)}  # fmt: skip
    return {
        "model": _place(name) if isinstance(name, str) and name else kind.__name__,
        "model_class": kind.__name__,
        "model_source": _source(kind),
        "dtype": _main_dtype(model),
        "device": ", ".join(dict.fromkeys(str(p.device) for p in model.parameters())) or None,
        "training": inner.training,
        **{name: value for name, value in more.items() if value},
    }


def _aliases(model: torch.nn.Module) -> dict[str, str]:
    """Other names of modules that are used in several places, and the name they are recorded by."""
    first = {id(module): name for name, module in model.named_modules()}
    return {
        name: first[id(module)]
        for name, module in model.named_modules(remove_duplicate=False)
        if first[id(module)] != name
    }


def _place(name: str) -> str:
    """The whole path of a model's directory, to be found from anywhere; else the hub's name."""
    return _text(str(Path(name).resolve()) if os.path.isdir(name) else name)


def _source(kind: type) -> str | None:
    """The file of a class, from its package on: `transformers/models/llama/modeling_llama.py`."""
    try:
        path = inspect.getfile(kind)
    except (TypeError, OSError):
        return None
    depth = kind.__module__.count(".") + 1
    parts = Path(path).parts
    return _text("/".join(parts[-depth:])) if kind.__module__ != "__main__" else _text(parts[-1])


def _main_dtype(model: torch.nn.Module) -> str | None:
    """The floating-point dtype of most weights."""
    weights: dict[str, int] = {}
    for weight in model.parameters():
        if weight.is_floating_point():
            name = str(weight.dtype).removeprefix("torch.")
            weights[name] = weights.get(name, 0) + weight.numel()
    return max(weights, key=lambda name: weights[name]) if weights else None


def _text(value: str) -> str:
    """Without half characters, which file names may have and JSON readers refuse."""
    return value.encode("utf-8", "replace").decode()
