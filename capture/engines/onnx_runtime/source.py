"""An ONNX model on disk: its graph without the large weights, and those as views of the file.

What lies in other files is looked up by the model's own words, so these are checked: a place
outside the model's directory is refused. ONNX Runtime itself opens no file.
"""

from __future__ import annotations

# pyright: reportMissingImports=false, reportMissingModuleSource=false
# The package `onnx` is optional.
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dtypes import DTYPES
from ...errors import CaptureError
from ...extras import has_extra, needs
from .types import FOREIGN_TO_NUMPY, HALF_BYTES, NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = ".onnx"
# What ONNX Runtime says before what is wrong: a number, a place in its sources, a function.
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:/\S+\.(?:h|cc):\d+ .*?\) (?=[A-Z]))?")
_MOST_BYTES = 2 << 30  # a protobuf message is no longer than that
_SMALL = 1024  # bytes of a weight that stays in the graph: shapes and axes are read there
_EXTERNAL = 1  # TensorProto.EXTERNAL


def require_onnx() -> None:
    """Raises `CaptureError`, which says how to get it, when ONNX Runtime is not installed."""
    if not has_extra("onnx"):
        raise CaptureError(needs("onnx", "running an ONNX model"))


@dataclass(slots=True)
class Model:
    """`proto` is the ModelProto, `weights` the initializers that were taken out of it: a numpy
    array of raw elements (as `DType.storage` has them) and the code of their type.
    """

    path: str
    proto: Any
    weights: dict[str, tuple[Any, int]] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def runtime_value(self, name: str) -> Any:
        """A weight as ONNX Runtime takes it; its bytes are not copied."""
        if name not in self._values:
            from onnxruntime import OrtValue

            array, code = self.weights[name]
            if code in FOREIGN_TO_NUMPY:
                made = OrtValue.ortvalue_from_numpy_with_onnx_type(array, code)
            else:
                made = OrtValue.ortvalue_from_numpy(array)
            self._values[name] = made
        return self._values[name]


def find_model_file(path: str) -> str:
    """The `.onnx` file that `path` means: itself, or the only one (or `model.onnx`) in it.

    Raises `CaptureError`.
    """
    if not os.path.lexists(path):
        raise CaptureError(f"{path}: no such file")
    if not os.path.isdir(path):
        return path
    files = sorted(name for name in os.listdir(path) if name.lower().endswith(SUFFIX))
    if "model.onnx" in files:
        return os.path.join(path, "model.onnx")
    if len(files) != 1:
        found = f"{len(files)} ONNX models ({', '.join(files[:4])})" if files else "no ONNX model"
        raise CaptureError(f"{path}: {found} in it; name one file")
    return os.path.join(path, files[0])


def open_model(path: str) -> Model:
    """Raises `CaptureError`, one line, for what is no ONNX model or lacks data."""
    require_onnx()
    path = find_model_file(path)
    model = Model(path, _parsed(path))
    files = _Files(path)
    for tensor in model.proto.graph.initializer:
        _take_out(tensor, model, files)
    for graph in _inner_graphs(model.proto):
        for tensor in graph.initializer:
            _embed(tensor, files)
    for node in _all_nodes(model.proto):
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _embed(tensor, files)
    if model.proto.graph.sparse_initializer:
        for sparse in model.proto.graph.sparse_initializer:
            for tensor in (sparse.values, sparse.indices):
                _embed(tensor, files)
    return model


def _parsed(path: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if not os.path.isfile(path):
            raise CaptureError(f"{path}: not a file")
        if os.path.getsize(path) >= _MOST_BYTES:
            raise CaptureError(f"{path}: larger than an ONNX file can be; weights of 2 GB and more "
                               "lie in a file beside it")  # fmt: skip
        proto = onnx.ModelProto()
        with open(path, "rb") as file:
            proto.ParseFromString(file.read())
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise CaptureError(f"{path}: is no ONNX model, or a truncated one") from error
    if not proto.ir_version or not proto.graph.node or not proto.opset_import:
        raise CaptureError(f"{path}: is no ONNX model: it holds no graph")
    known = onnx.defs.onnx_opset_version()
    for used in proto.opset_import:
        if used.domain in ("", "ai.onnx") and used.version > known:
            raise CaptureError(
                f"{path}: made for opset {used.version}; the installed onnx knows opset {known}: "
                "update it, or export for an older opset"
            )
    return proto


# --- weights


class _Files:
    """The files beside a model, mapped into memory."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = os.path.dirname(path) or os.curdir
        # A link to a model, as the cache of the hub has it, may have its data beside the target.
        places = self._folder, os.path.dirname(os.path.realpath(path))
        self._allowed = tuple(os.path.realpath(place) for place in places)
        self._maps: dict[str, Any] = {}

    def view(self, tensor: Any, nbytes: int) -> memoryview:
        """The bytes of a tensor outside the model. Raises `CaptureError`."""
        said = {entry.key: entry.value for entry in tensor.external_data}
        location = said.get("location", "")
        what = f"{self._path}: the weight {tensor.name or 'of a constant'!r}"
        try:
            offset = int(said.get("offset") or 0)
            length = int(said.get("length") or nbytes)
        except ValueError:
            raise CaptureError(f"{what} lies at no place: its offset is no number") from None
        data = self._mapped(location, what)
        if length != nbytes or offset < 0:
            raise CaptureError(f"{what} has {length} bytes at {offset}; its shape needs {nbytes}")
        if offset + nbytes > len(data):
            raise CaptureError(f"{what} is truncated: {location} ends before it does")
        return memoryview(data)[offset : offset + nbytes]

    def _mapped(self, location: str, what: str) -> Any:
        if location in self._maps:
            return self._maps[location]
        parts = Path(location).parts
        if not location or Path(location).is_absolute() or ".." in parts or "\\" in location:
            raise CaptureError(f"{what} is said to lie outside the model's directory: refused")
        full = os.path.join(self._folder, location)
        real = os.path.realpath(full)
        if os.path.dirname(real) != real and not any(
            os.path.commonpath([real, place]) == place for place in self._allowed
        ):
            raise CaptureError(f"{what}: {location} leads outside the model's directory: refused")
        if not os.path.lexists(full):
            raise CaptureError(f"{what} lies in {location}, which is missing beside the model")
        if not os.path.isfile(real):
            raise CaptureError(f"{what}: {location} is no plain file")
        try:
            with open(real, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                made = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise CaptureError(f"{full}: cannot be read: {error.strerror or error}") from error
        self._maps[location] = made
        return made


def _take_out(tensor: Any, model: Model, files: _Files) -> None:
    """Put a large weight beside the graph, which then only refers to it."""
    import numpy as np

    code = tensor.data_type
    if code not in NAMES:
        _embed(tensor, files)
        return
    storage = DTYPES[NAMES[code]].storage
    count = _count(tensor)
    nbytes = count * np.dtype(storage).itemsize
    if tensor.data_location == _EXTERNAL:
        raw: Any = files.view(tensor, nbytes)
        if nbytes <= _SMALL:
            _embed(tensor, files)
            return
    elif tensor.raw_data and nbytes > _SMALL:
        raw = tensor.raw_data
        if len(raw) != nbytes:
            raise CaptureError(f"{model.path}: the weight {tensor.name!r} has {len(raw)} bytes; "
                               f"its shape needs {nbytes}")  # fmt: skip
        tensor.ClearField("raw_data")
    else:
        return
    array = np.frombuffer(raw, storage).reshape(tuple(tensor.dims))
    if not array.flags.aligned:
        array = array.copy()
    model.weights[tensor.name] = array, code
    tensor.data_location = _EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", "beside"), ("offset", "0"), ("length", str(nbytes))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _embed(tensor: Any, files: _Files) -> None:
    """Bring a tensor that lies elsewhere into the graph."""
    if tensor.data_location != _EXTERNAL:
        return
    count = _count(tensor)
    if tensor.data_type in HALF_BYTES:
        nbytes = -(-count // 2)
    elif tensor.data_type in NAMES:
        nbytes = count * DTYPES[NAMES[tensor.data_type]].itemsize
    else:
        raise CaptureError(f"the weight {tensor.name!r} has elements of an unknown type")
    tensor.raw_data = bytes(files.view(tensor, nbytes))
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def _count(tensor: Any) -> int:
    if any(size < 0 for size in tensor.dims):
        raise CaptureError(f"the weight {tensor.name!r} has a negative size")
    return prod(tensor.dims)


# --- graphs in attributes


def graphs_of(node: Any) -> Iterator[Any]:
    """The graphs in a node's attributes: branches, bodies of loops."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _all_nodes(proto: Any) -> Iterator[Any]:
    left = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while left:
        node = left.pop()
        yield node
        for graph in graphs_of(node):
            left.extend(graph.node)


def _inner_graphs(proto: Any) -> Iterator[Any]:
    for node in _all_nodes(proto):
        yield from graphs_of(node)


def in_one_line(make: Callable[[], Any], what: str, engine: str = "ONNX Runtime") -> Any:
    """What `make` gives; whatever the engine raises becomes one line. Raises `CaptureError`."""
    try:
        return make()
    except CaptureError:
        raise
    except MemoryError as error:
        raise CaptureError(f"{what}: not enough memory") from error
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = _CODE.sub("", lines[0])[:300] if lines else type(error).__name__
        raise CaptureError(f"{what}: {engine} says {said}") from error
