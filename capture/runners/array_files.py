"""The files of the protocol for engines that take numpy arrays: raw elements with their dtypes."""

from __future__ import annotations

import json
from typing import Any

from ..dtypes import BY_SAFETENSORS, DTYPES
from .layers import RerunError

Arrays = dict[str, tuple[Any, str]]


def read_arrays(path: str) -> Arrays:
    """The tensors of a safetensors file."""
    import numpy as np

    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    found: Arrays = {}
    for slot, entry in header.items():
        if slot != "__metadata__":
            dtype = BY_SAFETENSORS[entry["dtype"]]
            begin, end = entry["data_offsets"]
            array = np.frombuffer(data[begin:end], dtype.storage).reshape(entry["shape"])
            found[slot] = array, dtype.name
    return found


def write_arrays(arrays: Arrays, path: str) -> None:
    """Raises `RerunError` for none, and for elements that the format has no name for."""
    import numpy as np

    if not arrays:
        raise RerunError("this layer gives no tensors")
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for slot, (array, name) in sorted(arrays.items(), key=lambda one: -DTYPES[one[1][1]].itemsize):
        raw = np.ascontiguousarray(array, DTYPES[name].storage).tobytes()
        code = DTYPES[name].safetensors
        if code is None:
            raise RerunError(f"{slot} has elements of the type {name}")
        offsets = [end, end + len(raw)]
        header[slot] = {"dtype": code, "shape": list(array.shape), "data_offsets": offsets}
        parts.append(raw)
        end += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(parts)
