"""Reads the `data.pkl` of a torch file without unpickling it.

A pickle is a program for a small stack machine. This one runs only the instructions that build
plain containers, and every name that a pickle may ask for is in a table of inert stand-ins: there
is nothing to call, import or instantiate. Python's own `pickle.Unpickler` would run as fast, but
a five-byte instruction makes it allocate gigabytes.

Instructions: Python's `pickletools`. Names: torch/_utils.py, `Tensor._reduce_ex_internal`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ..dtypes import DTYPES
from ..errors import RecordError

MOST_BYTES = 64 << 20
_MOST_STEPS = 4_000_000  # about 80,000 tensors
_MOST_NODES = 1_000_000
_DEEPEST = 32
_DAMAGED = "damaged torch file: its pickle makes no sense"


class NeedsTorchError(Exception):
    """A file that is not known to be bad, but that only torch itself understands."""


class Storage(NamedTuple):
    """A storage entry `data/<key>`; `dtype` is None for bytes without a type."""

    dtype: str | None
    key: str
    elements: int


class Tensor(NamedTuple):
    """A view of a storage; nothing of it has been checked but the kinds of its parts."""

    dtype: str
    storage: Storage
    offset: int
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]


class Opaque(NamedTuple):
    """Something harmless that holds no tensor: a device, a set, a complex number."""

    name: str


class Pairs(list[Any]):
    """A dictionary, kept as a list of pairs: an untrusted key is never hashed, since a nest of
    tuples overruns the C stack and chosen numbers make a hash table slow.
    """


class StorageType(NamedTuple):
    """`torch.FloatStorage` and its like."""

    dtype: str | None


class ElementType(NamedTuple):
    """`torch.float32` and its like."""

    name: str


class Builder(NamedTuple):
    """A function that a pickle may name; `build` makes the stand-in for its result."""

    name: str
    build: Callable[[tuple[Any, ...]], Any]


def read_tensors(data: bytes) -> list[tuple[tuple[str, ...], Tensor]]:
    """The tensors in a pickle, with the keys that lead to each, in order; `()` for a bare one.

    Raises `RecordError` for a pickle that is damaged, too large or asks for anything but tensors
    and plain containers; `NeedsTorchError` for what torch may be able to read.
    """
    if len(data) > MOST_BYTES:
        raise RecordError(f"refused: a pickle of {len(data)} bytes, {MOST_BYTES} is the limit")
    return flatten(_Machine(data).run(), lambda leaf: isinstance(leaf, Tensor))


def flatten(root: Any, is_tensor: Callable[[Any], bool]) -> list[tuple[tuple[str, ...], Any]]:
    """Tensors in nested dicts, lists and tuples, in order. Raises `RecordError` for nests that
    are too deep or, by repetition, too large.
    """
    found: list[tuple[tuple[str, ...], Any]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    nodes = 0
    while waiting:
        path, node = waiting.pop()
        nodes += 1
        if nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise RecordError("refused: containers nest too deep or repeat too often")
        if is_tensor(node):
            found.append((path, node))
        elif isinstance(node, (dict, Pairs)):
            pairs = list(node.items() if isinstance(node, dict) else node)
            waiting.extend(((*path, _key(key)), value) for key, value in reversed(pairs))
        elif type(node) in (list, tuple):
            waiting.extend(
                ((*path, str(index)), node[index]) for index in range(len(node) - 1, -1, -1)
            )
    return found


def _key(key: Any) -> str:
    """A dictionary key as text; a tuple as its parts, as far as they are plain."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (int, float)):
        return str(key)
    if type(key) is tuple and all(isinstance(part, (str, int, float)) for part in key):
        return ",".join(str(part) for part in key)
    raise RecordError("refused: a dictionary key that is neither text nor number")


# -- stand-ins for what torch's pickles name


def _tensor_v2(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides = args[:4]
    _no_metadata(args[6:])
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise RecordError(_DAMAGED)
    return _tensor(storage.dtype, storage, offset, shape, strides)


def _tensor_v3(args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides, _, _, dtype = args[:7]
    _no_metadata(args[7:])
    if not isinstance(storage, Storage) or not isinstance(dtype, ElementType):
        raise RecordError(_DAMAGED)
    return _tensor(dtype.name, storage, offset, shape, strides)


def _tensor(dtype: str, storage: Storage, offset: Any, shape: Any, strides: Any) -> Tensor:
    if type(offset) is not int or type(shape) is not tuple or type(strides) is not tuple:
        raise RecordError(_DAMAGED)
    return Tensor(dtype, storage, offset, shape, strides)


def _no_metadata(rest: tuple[Any, ...]) -> None:
    """Metadata say that the stored bits are conjugated or negated."""
    if any(rest):
        raise NeedsTorchError("a tensor with conjugate or negative bit")


def _parameter(args: tuple[Any, ...]) -> Tensor:
    if not args or not isinstance(args[0], Tensor):
        raise RecordError(_DAMAGED)
    return args[0]


def _ordered_dict(args: tuple[Any, ...]) -> Pairs:
    if args:
        raise RecordError(_DAMAGED)
    return Pairs()


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) != 1 or type(args[0]) not in (tuple, list):
        raise RecordError(_DAMAGED)
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
        for name in ("set", "frozenset", "complex", "bytearray")
    },
    "_codecs.encode": _opaque("bytes"),
}


def _known(name: str) -> Any:
    found = _KNOWN.get(name)
    if found is None:
        if name.startswith("torch."):
            raise NeedsTorchError(name)
        shown = "".join(c if c.isprintable() else "?" for c in name[:80])
        raise RecordError(
            f"refused: pickle wants {shown}, only tensors and plain containers are read"
        )
    return found


# -- the stack machine

_INT4 = struct.Struct("<i")
_FLOAT8 = struct.Struct(">d")


class _Machine:
    """`run` follows one pickle to its STOP and gives the object it describes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, operations = self.data, _OPERATIONS
        try:
            for _ in range(_MOST_STEPS):
                code = data[self.at]
                self.at += 1
                if code == _STOP:
                    return self.stack.pop()
                operations[code](self)
        except RecordError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
            raise RecordError(_DAMAGED) from error
        raise RecordError(f"refused: a pickle of more than {_MOST_STEPS} instructions")

    def take(self, length: int) -> bytes:
        start = self.at
        end = self.at = start + length
        if end > len(self.data):
            raise RecordError("truncated: the pickle of a torch file ends too early")
        return self.data[start:end]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        text = self.data[self.at : end]
        self.at = end + 1
        return text.decode("utf-8")

    def since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise RecordError(_DAMAGED)
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    # containers

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def tuple_marked(self) -> None:
        self.stack.append(tuple(self.since_mark()))

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise RecordError(_DAMAGED)
        items = tuple(self.stack[-count:])
        self.stack[-count:] = [items]

    def list_marked(self) -> None:
        self.stack.append(self.since_mark())

    def dict_marked(self) -> None:
        items = self.since_mark()
        self.stack.append(Pairs())
        self.fill(items)

    def append(self) -> None:
        item = self.stack.pop()
        self.extend([item])

    def appends(self) -> None:
        self.extend(self.since_mark())

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise RecordError(_DAMAGED)
        target.extend(items)

    def set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill([key, value])

    def set_items(self) -> None:
        self.fill(self.since_mark())

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not Pairs or len(items) % 2:
            raise RecordError(_DAMAGED)
        target.extend(zip(items[::2], items[1::2], strict=True))

    def set_marked(self) -> None:
        self.since_mark()
        self.stack.append(Opaque("frozenset"))

    def add_items(self) -> None:
        self.since_mark()
        if not isinstance(self.stack[-1], Opaque):
            raise RecordError(_DAMAGED)

    # values

    def string(self, width: int) -> None:
        self.stack.append(self.take(self.number(width)).decode("utf-8", "backslashreplace"))

    def raw_bytes(self, width: int) -> None:
        self.take(self.number(width))
        self.stack.append(Opaque("bytes"))

    def latin_string(self, width: int) -> None:
        self.stack.append(self.take(self.number(width)).decode("latin-1"))

    def long(self) -> None:
        length = self.number(1)
        if length > 16:
            raise RecordError(_DAMAGED)
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    # memo

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # names

    def stack_global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise RecordError(_DAMAGED)
        self.stack.append(_known(f"{module}.{name}"))

    def text_global(self) -> None:
        module = self.line()
        self.stack.append(_known(f"{module}.{self.line()}"))

    def reduce(self) -> None:
        args = self.stack.pop()
        builder = self.stack.pop()
        if type(builder) is not Builder or type(args) is not tuple:
            raise RecordError(_DAMAGED)
        self.stack.append(builder.build(args))

    def build(self) -> None:
        """Attributes of an object: torch's own hang on dicts and parameters, and hold no values."""
        self.stack.pop()
        if type(self.stack[-1]) not in (Pairs, Tensor, Opaque):
            raise RecordError(_DAMAGED)

    def persistent(self) -> None:
        parts = self.stack.pop()
        if type(parts) is not tuple or len(parts) < 5 or parts[0] != "storage":
            raise RecordError(_DAMAGED)
        kind, key, _, count = parts[1:5]
        if type(kind) is not StorageType or type(key) is not str or type(count) is not int:
            raise RecordError(_DAMAGED)
        self.stack.append(Storage(kind.dtype, key, count))

    def unsupported(self) -> None:
        code = self.data[self.at - 1]
        raise RecordError(f"refused: pickle instruction 0x{code:02x} builds no tensor or container")


def _push(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make())


def _instructions() -> dict[bytes, Callable[[_Machine], Any]]:
    return {
        b"\x80": lambda m: m.take(1),  # PROTO
        b"\x95": lambda m: m.take(8),  # FRAME
        b"(": _Machine.mark,
        b"0": lambda m: m.stack.pop(),
        b"1": _Machine.since_mark,  # POP_MARK
        b"2": lambda m: m.stack.append(m.stack[-1]),  # DUP
        b"}": _push(Pairs),
        b"]": _push(list),
        b")": _push(tuple),
        b"\x8f": _push(lambda: Opaque("set")),
        b"t": _Machine.tuple_marked,
        b"l": _Machine.list_marked,
        b"d": _Machine.dict_marked,
        b"\x85": lambda m: m.tuple_of(1),
        b"\x86": lambda m: m.tuple_of(2),
        b"\x87": lambda m: m.tuple_of(3),
        b"a": _Machine.append,
        b"e": _Machine.appends,
        b"s": _Machine.set_item,
        b"u": _Machine.set_items,
        b"\x90": _Machine.add_items,
        b"\x91": _Machine.set_marked,
        b"N": _push(lambda: None),
        b"\x88": _push(lambda: True),
        b"\x89": _push(lambda: False),
        b"K": lambda m: m.stack.append(m.number(1)),
        b"M": lambda m: m.stack.append(m.number(2)),
        b"J": lambda m: m.stack.append(_INT4.unpack(m.take(4))[0]),
        b"\x8a": _Machine.long,
        b"G": lambda m: m.stack.append(_FLOAT8.unpack(m.take(8))[0]),
        b"X": lambda m: m.string(4),
        b"\x8c": lambda m: m.string(1),
        b"\x8d": lambda m: m.string(8),
        b"U": lambda m: m.latin_string(1),
        b"T": lambda m: m.latin_string(4),
        b"C": lambda m: m.raw_bytes(1),
        b"B": lambda m: m.raw_bytes(4),
        b"\x8e": lambda m: m.raw_bytes(8),
        b"\x96": lambda m: m.raw_bytes(8),  # BYTEARRAY8
        b"q": lambda m: m.put(m.number(1)),
        b"r": lambda m: m.put(m.number(4)),
        b"\x94": lambda m: m.put(len(m.memo)),  # MEMOIZE
        b"h": lambda m: m.get(m.number(1)),
        b"j": lambda m: m.get(m.number(4)),
        b"c": _Machine.text_global,
        b"\x93": _Machine.stack_global,
        b"R": _Machine.reduce,
        b"b": _Machine.build,
        b"Q": _Machine.persistent,
    }


_STOP = ord(".")
_OPERATIONS: list[Callable[[_Machine], Any]] = [_Machine.unsupported] * 256
for _code, _operation in _instructions().items():
    _OPERATIONS[_code[0]] = _operation
