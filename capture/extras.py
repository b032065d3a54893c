"""The optional extras of the package, and the one line that says how to get a missing one."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import CaptureError

# The package whose presence means that an extra is installed.
_MAIN_PACKAGES = {"torch": ("torch", "transformers"), "max": ("max.pipelines",),
                  "plot": ("matplotlib",), "hdf5": ("h5py",), "zarr": ("zarr",),
                  "parquet": ("pyarrow",), "onnx": ("onnx", "onnxruntime"),
                  "openvino": ("openvino", "onnx"), "llamacpp": ("llama_cpp",),
                  "remote": ("fsspec",),
                  "cluster": ("dask", "distributed")}  # fmt: skip


def has_extra(extra: str) -> bool:
    """Whether all main packages of `extra` can be found; none of them is imported."""
    return all(has_package(name) for name in _MAIN_PACKAGES[extra])


def has_package(name: str) -> bool:
    """Whether the package `name` can be found; it is not imported, its parents are."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # no parent package; a stand-in in sys.modules
        return False


def install_command(extra: str) -> str:
    """The pip command that installs `extra` from wherever layertui itself came from.

    A checkout is named by its directory: an index need not have the package. See "Recording the
    Direct URL Origin of installed distributions" (PEP 610).
    """
    return f"pip install {_requirement(extra)}"


def require_torch(what: str, *, transformers: bool = True) -> None:
    """Raise `CaptureError`, which says how to get it, when `what` finds no torch."""
    if not (has_extra("torch") if transformers else has_package("torch")):
        raise CaptureError(needs("torch", what))


def needs(extra: str, what: str) -> str:
    """One line: `what` needs `extra`, and how to get it."""
    return f"{what} needs the extra {extra!r}: {install_command(extra)}"


def _requirement(extra: str) -> str:
    origin = _origin()
    url = origin.get("url", "")
    if "vcs_info" in origin:
        vcs = origin["vcs_info"].get("vcs", "git")
        return shlex.quote(f"layertui[{extra}] @ {vcs}+{url}")
    path = unquote(urlsplit(url).path) if url.startswith("file:") else ""
    if path and os.path.exists(path):
        place = "." if os.path.realpath(path) == os.path.realpath(Path.cwd()) else path
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return editable + shlex.quote(f"{place}[{extra}]")
    return shlex.quote(f"layertui[{extra}]")


def _origin() -> dict[str, Any]:
    """What pip noted about where the package came from; empty for an index."""
    try:
        noted = distribution("layertui").read_text("direct_url.json")
        content = json.loads(noted) if noted else {}
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
