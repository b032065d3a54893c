"""The tensors and arrays in a pickle, without unpickling it: `data.pkl` of a torch file, `.pkl`
files, and numpy's arrays of objects. See `pickle_machine`.

Names: torch/_utils.py, `Tensor._reduce_ex_internal`; numpy's `ndarray.__reduce__`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from ...dtypes import DTYPES
from ...errors import RecordError
from .pickle_machine import (
    DAMAGED,
    Builder,
    Bytes,
    Instance,
    Machine,
    Opaque,
    Pairs,
    Unknown,
)
from .pickled_objects import Array, ArrayType, Found, Refused, fields_of, flatten

MOST_BYTES = 64 << 20  # of a pickle that has to be unpacked


class NeedsTorchError(Exception):
    """A file that is not known to be bad, but that only torch itself understands."""


class Storage(NamedTuple):
    """A storage entry `data/<key>`; `dtype` is None for bytes without a type."""

    dtype: str | None
    key: str
    elements: int


class Embedded(NamedTuple):
    """A storage in a plain pickle: a torch file of the older format inside of it."""

    place: Bytes


class Tensor(NamedTuple):
    """A view of a storage; nothing of it has been checked but the kinds of its parts. A dtype that
    is empty is that of the `Embedded` storage.
    """

    dtype: str
    storage: Storage | Embedded
    offset: int
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]


class StorageType(NamedTuple):
    """`torch.FloatStorage` and its like."""

    dtype: str | None


class ElementType(NamedTuple):
    """`torch.float32` and its like."""

    name: str


def read_tensors(data: Any, at: int = 0, *, lenient: bool = False) -> Found:
    """The tensors and arrays in a pickle that begins at `at`, with the keys that lead to each, in
    order; `()` for a bare one. What cannot be read and may hold some is `Refused` in its place.

    Raises `RecordError` for a pickle that is damaged, too large or holds nothing but what is
    refused; `NeedsTorchError`, unless `lenient`, for what torch may be able to read.
    """
    found = flatten(read_tree(data, at, lenient=lenient), _is_leaf, refuse=True)
    if found and all(isinstance(leaf, Refused) for _, leaf in found):
        raise RecordError(found[0][1].why)
    return found


def read_tree(data: Any, at: int = 0, *, lenient: bool = False) -> Any:
    """The object that a pickle describes, of containers and stand-ins. Raises as above."""
    return _TensorMachine(data, _known_or_unknown if lenient else _known, at).run()


def embedded_storage(data: Any, embedded: Embedded) -> tuple[str, int, int]:
    """The dtype of an embedded storage, where its elements begin in `data`, and how many there are.

    Four pickles (magic number, version, system, the storage's description), one with its key, a
    number of 8 bytes, then the elements: `_legacy_save` of torch/serialization.py. Raises
    `RecordError`.
    """
    at, end = embedded.place.start, embedded.place.start + embedded.place.length
    parts: list[Any] = []
    view = memoryview(data)[:end]
    for _ in range(5):
        machine = _TensorMachine(view, _wanted, at)
        parts.append(machine.run())
        at = machine.at
    storage = parts[3]
    count = int.from_bytes(bytes(data[at : at + 8]), "little")
    if type(storage) is not Storage or storage.dtype is None or count != storage.elements:
        raise RecordError(DAMAGED)
    if at + 8 + count * DTYPES[storage.dtype].itemsize > end:
        raise RecordError("truncated: a tensor's storage in the pickle is cut short")
    return storage.dtype, at + 8, count


class _TensorMachine(Machine):
    def known_storage(self, parts: tuple[Any, ...]) -> Storage:
        kind, key, _, count = parts[1:5]
        if type(kind) is not StorageType or type(key) is not str or type(count) is not int:
            raise RecordError(DAMAGED)
        return Storage(kind.dtype, key, count)


def _is_leaf(node: Any) -> bool:
    return isinstance(node, (Tensor, Refused)) or (type(node) is Array and not node.of_objects)


# -- stand-ins for what torch's pickles name


def _tensor_v2(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides = args[:4]
    _no_metadata(args[6:])
    if isinstance(storage, Embedded):
        return _tensor("", storage, offset, shape, strides)
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise RecordError(DAMAGED)
    return _tensor(storage.dtype, storage, offset, shape, strides)


def _tensor_v3(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides, _, _, dtype = args[:7]
    _no_metadata(args[7:])
    if not isinstance(storage, Storage) or not isinstance(dtype, ElementType):
        raise RecordError(DAMAGED)
    return _tensor(dtype.name, storage, offset, shape, strides)


def _tensor(
    dtype: str, storage: Storage | Embedded, offset: Any, shape: Any, strides: Any
) -> Tensor:
    if type(offset) is not int or type(shape) is not tuple or type(strides) is not tuple:
        raise RecordError(DAMAGED)
    return Tensor(dtype, storage, offset, shape, strides)


def _no_metadata(rest: tuple[Any, ...]) -> None:
    """Metadata say that the stored bits are conjugated or negated."""
    if any(rest):
        raise NeedsTorchError("a tensor with conjugate or negative bit")


def _parameter(args: tuple[Any, ...]) -> Tensor:
    if not args or not isinstance(args[0], Tensor):
        raise RecordError(DAMAGED)
    return args[0]


def _ordered_dict(args: tuple[Any, ...]) -> Pairs:
    if args:
        raise RecordError(DAMAGED)
    return Pairs()


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) != 1 or type(args[0]) not in (tuple, list):
        raise RecordError(DAMAGED)
    return tuple(args[0])


def _opaque(name: str) -> Builder:
    return Builder(name, lambda args: Opaque(name))


_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip

_KNOWN: dict[str, Any] = {
    "torch._utils._rebuild_tensor_v2": Builder("_rebuild_tensor_v2", _tensor_v2),
    "torch._utils._rebuild_tensor_v3": Builder("_rebuild_tensor_v3", _tensor_v3),
    "torch._utils._rebuild_parameter": Builder("_rebuild_parameter", _parameter),
    "torch._utils._rebuild_parameter_with_state": Builder("_rebuild_parameter", _parameter),
    "collections.OrderedDict": Builder("OrderedDict", _ordered_dict),
    "torch.Size": Builder("Size", _size),
    "torch.device": _opaque("device"),
    "torch.storage.UntypedStorage": StorageType(None),
    **{f"torch.{name}": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.{name}": ElementType(name) for name in DTYPES},
    **{
        f"{home}.{name}": _opaque(name)
        for home in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "complex", "slice", "range")
    },
    **{
        f"{home}.{name}": Builder(name, lambda args: _bytes(args))
        for home in ("builtins", "__builtin__")
        for name in ("bytes", "bytearray")
    },
    "builtins.object": Opaque("object"),
    "__builtin__.object": Opaque("object"),
    "_codecs.encode": Builder("encode", lambda args: _encoded(args)),
    "collections.defaultdict": Builder("defaultdict", lambda args: Pairs()),
}


def _wanted(name: str) -> Any:
    return _KNOWN.get(name) or Unknown(name)


def _known(name: str) -> Any:
    if name.startswith(_TORCHS_OWN) and name not in _KNOWN:
        raise NeedsTorchError(name)
    return _wanted(name)


def _known_or_unknown(name: str) -> Any:
    if name.startswith(_TORCHS_OWN) and name not in _KNOWN:
        return Builder(name, lambda args: _only_torch(name))
    found = _wanted(name)
    return Builder(name, partial(_built_or_refused, found)) if type(found) is Builder else found


def _built_or_refused(builder: Builder, args: tuple[Any, ...]) -> Any:
    try:
        return builder.build(args)
    except NeedsTorchError as error:
        return _only_torch(str(error))


def _only_torch(what: str) -> Refused:
    return Refused(
        f"refused: only torch itself reads {what[:80]}, and not together with objects "
        "that it refuses"
    )


# What makes a tensor of some kind that only torch knows.
_TORCHS_OWN = ("torch._utils.", "torch._tensor.", "torch.storage.")


# -- stand-ins for what numpy's pickles name


def _array_state(args: tuple[Any, ...]) -> Array:
    return Array()


def _array_type(args: tuple[Any, ...]) -> ArrayType:
    kind = args[0] if args else None
    if isinstance(kind, str):
        return ArrayType(kind)
    if isinstance(kind, ElementType):
        return ArrayType(kind.name)
    return ArrayType("O")


def _scalar(args: tuple[Any, ...]) -> Array:
    if len(args) != 2 or type(args[0]) is not ArrayType:
        raise RecordError(DAMAGED)
    array = Array()
    array.dtype, array.values = args
    return array


def _from_buffer(args: tuple[Any, ...]) -> Array:
    """`numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`, of protocol 5."""
    if len(args) != 4 or type(args[1]) is not ArrayType or type(args[2]) is not tuple:
        raise RecordError(DAMAGED)
    array = Array()
    array.values, array.dtype, array.shape, array.fortran = (*args[:3], args[3] == "F")
    return array


def _jax_array(args: tuple[Any, ...]) -> Array:
    """`jax._src.array._reconstruct_array(function, arguments, state, ...)` of a numpy array."""
    if len(args) < 3:
        raise RecordError(DAMAGED)
    array = Array()
    array.set_state(args[2])
    return array


def _encoded(args: tuple[Any, ...]) -> Any:
    """Bytes, written as text by protocol 2."""
    return args[0] if args and type(args[0]) is str else Opaque("bytes")


def _bytes(args: tuple[Any, ...]) -> Any:
    """`bytes()`, `bytearray(b'...')`."""
    if not args:
        return ""
    return args[0] if isinstance(args[0], (Bytes, str)) else Opaque("bytes")


def _reconstructed(args: tuple[Any, ...]) -> Any:
    """`copyreg._reconstructor(class, base, state)`: an object whose state follows."""
    name = getattr(args[0], "name", None) if args else None
    return Instance(name or "?", (), False)


def _rebuilt_from_type(args: tuple[Any, ...]) -> Any:
    """`torch._tensor._rebuild_from_type_v2(function, type, arguments, state)`: a tensor of a
    subclass, or one that has attributes. A distributed tensor has its local part in its state.
    """
    if len(args) != 4:
        raise RecordError(DAMAGED)
    function, kind, arguments, state = args
    whole = Instance(getattr(kind, "name", None) or "?", (), False)
    whole.set_state(state)
    fields = fields_of(whole)
    if fields and fields[0][0] == "local":
        return fields[0][1]
    if type(function) is Builder and type(arguments) is tuple:
        return function.build(arguments)
    raise NeedsTorchError("a tensor of an unsupported kind")


def _embedded(args: tuple[Any, ...]) -> Embedded:
    if len(args) != 1 or type(args[0]) is not Bytes:
        raise NeedsTorchError("a storage in a pickle")
    return Embedded(args[0])


def _wrapper(args: tuple[Any, ...]) -> Opaque:
    return Opaque("wrapper")


_NUMPY: dict[str, Any] = {
    **{
        f"numpy.{core}.{name}": Builder(name, build)
        for core in ("core", "_core")
        for name, build in (
            ("multiarray._reconstruct", _array_state),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _from_buffer),
        )
    },
    "numpy.dtype": Builder("dtype", _array_type),
    "numpy.ndarray": Opaque("ndarray"),
    "jax._src.array._reconstruct_array": Builder("_reconstruct_array", _jax_array),
    "copyreg._reconstructor": Builder("_reconstructor", _reconstructed),
    "copy_reg._reconstructor": Builder("_reconstructor", _reconstructed),
    "torch._tensor._rebuild_from_type_v2": Builder("_rebuild_from_type_v2", _rebuilt_from_type),
    "torch.storage._load_from_bytes": Builder("_load_from_bytes", _embedded),
    "torch._utils._rebuild_wrapper_subclass": Builder("_rebuild_wrapper_subclass", _wrapper),
    **{f"ml_dtypes.{name}": ElementType(name) for name in DTYPES},
}
_KNOWN.update(_NUMPY)
