"""The child process that reads what only torch can read. Started by `torch_client`.

Speaks JSON lines: a request on stdin, its answer on stdout. `{"list": PATH}` is answered by
`{"tensors": [{"index", "keys", "dtype", "shape"} or {"index", "keys", "error"}, ...]}`,
`{"load": PATH, "index": n, "into": FILE}` by `{"dtype", "shape"}` after the plain bytes of the
tensor, in C order, have been written to FILE. What goes wrong is answered by `{"error": TEXT}`.

Files are read with `weights_only=True`: torch then builds tensors and plain containers and refuses
everything else that a pickle may ask for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from math import prod
from typing import Any

from ...dtypes import DTYPES
from ...errors import RecordError
from ..extents import checked_shape, refuse_bomb
from .tensor_pickle import flatten

OLDEST_TORCH = (2, 6)  # before it, `weights_only` could be tricked (CVE-2025-32434)
_SPARE_BYTES = 1 << 30
_UNSUPPORTED = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)")
_UNPICKLER = re.compile(r"(?:WeightsUnpickler error: |(?=Trying to ))(.+)")


def main() -> None:
    """Answer requests until stdin ends. What torch prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    reader = _Reader()
    for line in sys.stdin.buffer:
        answers.write(json.dumps(reader.answer(json.loads(line))) + "\n")
        answers.flush()


class _Reader:
    """Remembers the file read last: one file may hold thousands of tensors."""

    def __init__(self) -> None:
        self.read: tuple[str, int, int] | None = None
        self.tensors: list[tuple[tuple[str, ...], Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if "list" in request:
                return {"tensors": self._list(request["list"])}
            return self._load(request["load"], request["index"], request["into"])
        except RecordError as error:
            return {"error": str(error)}
        except Exception as error:
            return {"error": _words(error)}

    def _list(self, path: str) -> list[dict[str, Any]]:
        self._open(path)
        size = os.path.getsize(path)
        listed: list[dict[str, Any]] = []
        for index, (keys, tensor) in enumerate(self.tensors):
            try:
                dtype, shape = _described(tensor, size)
                said = {"dtype": dtype, "shape": shape}
            except RecordError as error:
                said = {"error": str(error)}
            listed.append({"index": index, "keys": keys, **said})
        return listed

    def _load(self, path: str, index: int, into: str) -> dict[str, Any]:
        self._open(path)
        if not 0 <= index < len(self.tensors):
            raise RecordError("the file has changed since it was listed")
        dtype, shape = _described(self.tensors[index][1], os.path.getsize(path))
        _write(self.tensors[index][1], into)
        return {"dtype": dtype, "shape": shape}

    def _open(self, path: str) -> None:
        state = os.stat(path)
        current = (path, state.st_mtime_ns, state.st_size)
        if self.read != current:
            self.read, self.tensors = None, []
            self.tensors = _read(path, state.st_size)
            self.read = current


def _read(path: str, size: int) -> list[tuple[tuple[str, ...], Any]]:
    import torch

    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        raise RecordError(f"needs torch {wanted} or newer to be read, this is {torch.__version__}")
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    with _bounded_memory(2 * size + _SPARE_BYTES):
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    return flatten(loaded, lambda leaf: isinstance(leaf, torch.Tensor))


@contextlib.contextmanager
def _bounded_memory(more: int) -> Iterator[None]:
    """Let the process map only `more` bytes beyond what it has, where the system can say so.

    A file of the old format names the sizes of its storages before their bytes come.
    """
    try:
        import resource

        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _described(tensor: Any, size: int) -> tuple[str, tuple[int, ...]]:
    """Name of the element type and shape of the plain form; raises `RecordError`."""
    if tensor.is_nested or tensor.is_meta:
        raise RecordError("a nested tensor is not read" if tensor.is_nested else "has no values")
    dtype = "float32" if tensor.is_quantized else str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise RecordError(f"unknown dtype {dtype!r}")
    shape = checked_shape(list(tensor.shape), DTYPES[dtype].itemsize)
    refuse_bomb(prod(shape) * DTYPES[dtype].itemsize, size)
    return dtype, shape


def _write(tensor: Any, into: str) -> None:
    """Write the plain bytes: dequantized, dense, conjugated, in C order."""
    import torch

    plain = tensor.detach()
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    plain = plain.resolve_conj().resolve_neg().contiguous()
    plain.reshape(-1).view(torch.uint8).numpy().tofile(into)


def _words(error: Exception) -> str:
    text = str(error)
    refused = _UNSUPPORTED.search(text)
    if refused:
        return f"refused: pickle wants {refused[1]}, only tensors and plain containers are read"
    said = _UNPICKLER.search(text)  # after a paragraph about options that are not ours
    lines = [said[1]] if said else [line.strip() for line in text.splitlines() if line.strip()]
    return f"torch cannot read it: {type(error).__name__}: {(lines or ['?'])[0][:160]}"
