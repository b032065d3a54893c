"""What the result of a run depends on besides its options: the model's files, the packages that run
it, the environment, the machine. Two runs with the same digest give the same tensors.

Files are not read. They are known by place, size and time of change; those of models, which are
often written anew under the same name, by inode and change of status as well.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ..environment import usable_cores
from .run_plan import Plan

_SHARED = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy")
PACKAGES = {
    "torch": _SHARED,
    "max": (*_SHARED, "max", "modular", "mojo"),
    "onnx": (*_SHARED, "onnx", "onnxscript", "onnxruntime"),
}
"""The packages that take part in a run, by framework."""

_MOST_FILES = 5000  # of a model
_CODE = (".py", ".so", ".dylib", ".dll", ".pyd", ".mojo", ".mojopkg", ".json")
_NO_CODE = ("__pycache__", "include")
# Variables of these names change how often sums are split, which kernels run, what is imported.
_VARIABLES = (
    "ATEN_", "BLIS_", "CUBLAS_", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "HF_", "HIP_", "KMP_", "LD_",
    "MAX_", "MKL_", "MODULAR_", "MOJO_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHONPATH",
    "PYTORCH_", "ROCR_", "TORCH", "TRANSFORMERS_",
)  # fmt: skip


def run_identity(plan: Plan, framework: str) -> str | None:
    """What a capture by this plan may be kept under; None where that cannot be told: a model of
    the hub or of a factory.
    """
    if plan.factory is not None or not os.path.isdir(plan.model):
        return None
    digest = blake2b(digest_size=16)
    said = asdict(replace(plan, overwrite=False)), os.path.realpath(plan.model), framework
    digest.update(json.dumps(said, sort_keys=True).encode())
    try:
        feed_files(digest, model_files(plan.model))
        feed_surroundings(digest, PACKAGES[framework])
    except OSError:
        return None
    return digest.hexdigest()


def model_files(model: str) -> Iterator[str]:
    """All files below a model's directory. Raises `OSError` where a link leads to a directory,
    which is not looked into.
    """
    for folder, folders, names in os.walk(model):
        for name in folders:
            if Path(folder, name).is_symlink():
                raise OSError(f"{name} leads to another directory")
        yield from (os.path.join(folder, name) for name in names)


def feed_files(digest: blake2b, files: Iterable[str]) -> None:
    """Let `digest` depend on these files. Raises `OSError`, also where there are none or too many
    of them.
    """
    paths = sorted(set(files))
    if not 0 < len(paths) <= _MOST_FILES:
        raise OSError(f"{len(paths)} files")
    for path in paths:
        status = os.stat(path)
        said = (os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns,
                status.st_ctime_ns)  # fmt: skip
        digest.update(repr(said).encode())


def feed_surroundings(digest: blake2b, packages: Iterable[str]) -> None:
    """Let `digest` depend on the code of `packages` (as it lies on disk, edited or not), on this
    package's own, on the environment and on the machine. Raises `OSError` where the code of one is
    not found.
    """
    for name in packages:
        digest.update(f"{name} {_version(name)}".encode())
        _feed_code(digest, name)
    _feed_folder(digest, str(Path(__file__).parents[1]))
    digest.update(_environment())


def _feed_code(digest: blake2b, package: str) -> None:
    try:
        found = find_spec(package)
    except (ModuleNotFoundError, ValueError):
        return
    if found is None:
        return
    places = found.submodule_search_locations
    if not places:
        feed_files(digest, [str(found.origin)])
    for place in places or ():
        if not os.path.isdir(place):
            raise OSError(f"the code of {package} lies in no directory")
        _feed_folder(digest, place)


def _feed_folder(digest: blake2b, folder: str) -> None:
    """Every file of code below `folder`: an edit of a framework's source leaves its version."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NO_CODE)
        for name in sorted(names):
            if name.endswith(_CODE) or ".so." in name:
                status = os.stat(os.path.join(place, name))
                said = place, name, status.st_size, status.st_mtime_ns
                digest.update(repr(said).encode())


@cache
def _environment() -> bytes:
    """As it was when it was first asked for: frameworks set variables when they are imported."""
    variables = sorted(item for item in os.environ.items() if item[0].startswith(_VARIABLES))
    host = platform.node(), platform.platform(), platform.python_version()
    machine = *host, usable_cores(), _graphics()
    return repr((variables, machine)).encode()


def _graphics() -> tuple[str, ...]:
    """NVIDIA's driver and devices, as Linux tells them."""
    place = Path("/proc/driver/nvidia")
    try:
        devices = sorted(path.name for path in (place / "gpus").iterdir())
        return ((place / "version").read_text(), *devices)
    except OSError:
        return ()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
