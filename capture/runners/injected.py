"""Reruns as a capture: every layer of the candidate with the inputs it was fed and its outputs.

The files that were handed to and fro become the shards of a capture in the native format, so that
it opens and compares like any other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..dtypes import DTYPES
from ..errors import CaptureError
from ..files import MANIFEST
from ..formats.manifest import MAJOR
from ..records import Locator


@dataclass(frozen=True, slots=True)
class RerunCall:
    """One layer that was run again; tensors by the slots that the candidate's capture has."""

    module: str
    module_class: str | None
    call: int
    step: int
    inputs: tuple[tuple[str, Locator], ...]
    outputs: tuple[tuple[str, Locator], ...]


def write_injected(folder: Path, calls: Iterable[RerunCall], about: dict[str, Any]) -> int:
    """Write the capture, copying the files that the locators name; returns the records written.

    `about` is the rest of the header: framework, version, model, notes. Raises `CaptureError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _written(folder, calls, about)
    except OSError as error:
        raise CaptureError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _written(folder: Path, calls: Iterable[RerunCall], about: dict[str, Any]) -> int:
    shards: dict[str, str] = {}
    count = size = 0
    with open(folder / MANIFEST, "w", encoding="utf-8") as manifest:

        def write(line: dict[str, Any]) -> None:
            manifest.write(json.dumps(line) + "\n")

        write({"layertui": MAJOR, **about})
        for number, call in enumerate(calls):
            for slot, place in (*call.inputs, *call.outputs):
                shard = shards.get(place.path)
                if shard is None:
                    shard = shards[place.path] = f"data-{len(shards) + 1:05}.safetensors"
                    shutil.copyfile(place.path, folder / shard)
                write(
                    {
                        "seq": count, "module": call.module, "slot": slot, "call": call.call,
                        "step": call.step, "class": call.module_class, "call_id": number,
                        "shape": list(place.shape), "dtype": place.dtype, "file": shard,
                        "key": _key_of(place), "same_as": None,
                    }
                )  # fmt: skip
                count += 1
                size += prod(place.shape) * DTYPES[place.dtype].itemsize
        write({"end": True, "records": count, "bytes": size})
    return count


def _key_of(place: Locator) -> str:
    """The key of a tensor in its file, by where it lies."""
    from ..formats import safetensors_file

    found = safetensors_file.locate_all(safetensors_file.read_file_header(place.path))
    for key, other in found.items():
        if isinstance(other, Locator) and other == place:
            return key
    raise CaptureError(f"{place.path}: changed while it was read")
