"""Follows a pickle without unpickling it.

A pickle is a program for a small stack machine. This one runs only the instructions that build
plain containers, and whatever name a pickle asks for becomes an inert stand-in: there is nothing to
call, import or instantiate. Python's own `pickle.Unpickler` would run as fast, but a five-byte
instruction makes it allocate gigabytes.

What a program takes is bounded by its length, and that by `MOST_STEPS`: bytes of values are passed
over, never copied. Instructions: Python's `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import RecordError

MOST_STEPS = 4_000_000  # about 80,000 tensors
DAMAGED = "damaged file: invalid pickle"
_LONGEST_LINE = 400


class Opaque(NamedTuple):
    """Something harmless that holds no tensor: a device, a set, a complex number."""

    name: str


class Bytes(NamedTuple):
    """Bytes in the pickle itself, by their place in it."""

    start: int
    length: int


class Pairs(list[Any]):
    """A dictionary, kept as a list of pairs: an untrusted key is never hashed, since a nest of
    tuples overruns the C stack and chosen numbers make a hash table slow.
    """


class Builder(NamedTuple):
    """A function that a pickle may name; `build` makes the stand-in for its result."""

    name: str
    build: Callable[[tuple[Any, ...]], Any]


class Unknown(NamedTuple):
    """A class or function that nobody here knows."""

    name: str


class Instance:
    """What a pickle wants of a class or function that nobody here knows: never made, but what it
    would have been made of can be looked through.
    """

    __slots__ = ("called", "entries", "made_of", "name", "pairs", "state")

    def __init__(self, name: str, made_of: tuple[Any, ...], called: bool) -> None:
        self.name = name
        self.made_of = made_of
        self.called = called
        """True where a function or class was called with arguments, not a bare object made."""
        self.pairs = Pairs()
        self.entries: list[Any] = []
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state


_INT4 = struct.Struct("<i")
_FLOAT8 = struct.Struct(">d")


class Machine:
    """`run` follows one pickle to its STOP and gives the object it describes.

    `known` gives what a dotted name stands for; it may raise `RecordError`.
    """

    def __init__(self, data: Any, known: Callable[[str], Any], at: int = 0) -> None:
        self.data = data  # bytes, or a view of a file
        self.known = known
        self.at = at
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, operations = self.data, _OPERATIONS
        try:
            for _ in range(MOST_STEPS):
                code = data[self.at]
                self.at += 1
                if code == _STOP:
                    return self.stack.pop()
                operations[code](self)
        except RecordError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
            raise RecordError(DAMAGED) from error
        raise RecordError(f"refused: a pickle of more than {MOST_STEPS} instructions")

    def take(self, length: int) -> Any:
        start = self.at
        end = self.at = start + length
        if end > len(self.data):
            raise RecordError("truncated: the pickle ends too early")
        return self.data[start:end]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def line(self) -> str:
        start = self.at
        text = bytes(self.data[start : start + _LONGEST_LINE])
        end = text.index(b"\n")
        self.at = start + end + 1
        return str(text[:end], "utf-8")

    def since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise RecordError(DAMAGED)
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
            raise RecordError(DAMAGED)
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
        if type(target) is Instance:
            target = target.entries
        if type(target) is not list:
            raise RecordError(DAMAGED)
        target.extend(items)

    def set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill([key, value])

    def set_items(self) -> None:
        self.fill(self.since_mark())

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is Instance:
            target = target.pairs
        if type(target) is not Pairs or len(items) % 2:
            raise RecordError(DAMAGED)
        target.extend(zip(items[::2], items[1::2], strict=True))

    def set_marked(self) -> None:
        self.since_mark()
        self.stack.append(Opaque("frozenset"))

    def add_items(self) -> None:
        self.since_mark()
        if not isinstance(self.stack[-1], (Opaque, Instance)):
            raise RecordError(DAMAGED)

    # values

    def string(self, width: int) -> None:
        self.stack.append(str(self.take(self.number(width)), "utf-8", "backslashreplace"))

    def raw_bytes(self, width: int) -> None:
        length = self.number(width)
        self.stack.append(Bytes(self.at, length))
        self.at += length
        if self.at > len(self.data):
            raise RecordError("truncated: the pickle ends too early")

    def latin_string(self, width: int) -> None:
        self.stack.append(str(self.take(self.number(width)), "latin-1"))

    def long(self) -> None:
        length = self.number(1)
        if length > 16:
            raise RecordError(DAMAGED)
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
            raise RecordError(DAMAGED)
        self.stack.append(self.known(f"{module}.{name}"))

    def text_global(self) -> None:
        module = self.line()
        self.stack.append(self.known(f"{module}.{self.line()}"))

    def reduce(self) -> None:
        args = self.stack.pop()
        builder = self.stack.pop()
        if type(args) is not tuple:
            raise RecordError(DAMAGED)
        if type(builder) is Builder:
            self.stack.append(builder.build(args))
        elif type(builder) is Unknown:
            self.stack.append(Instance(builder.name, args, True))
        else:
            raise RecordError(DAMAGED)

    def new_object(self) -> None:
        args = self.stack.pop()
        kind = self.stack.pop()
        if type(args) is not tuple:
            raise RecordError(DAMAGED)
        if type(kind) is Builder:
            self.stack.append(kind.build(args))
        else:
            self.stack.append(Instance(getattr(kind, "name", None) or "?", args, False))

    def new_object_with_names(self) -> None:
        names = self.stack.pop()
        self.new_object()
        made = self.stack[-1]
        if type(made) is Instance and type(names) is Pairs:
            made.pairs.extend(names)

    def build(self) -> None:
        """Attributes of an object: torch's own hang on dicts and parameters, and hold no values."""
        state = self.stack.pop()
        target = self.stack[-1]
        if hasattr(target, "set_state"):
            target.set_state(state)
        elif not isinstance(target, (Pairs, tuple)) and type(target) is not list:
            raise RecordError(DAMAGED)

    def persistent(self) -> None:
        parts = self.stack.pop()
        if type(parts) is not tuple or len(parts) < 5 or parts[0] != "storage":
            raise RecordError(DAMAGED)
        self.stack.append(self.known_storage(parts))

    def known_storage(self, parts: tuple[Any, ...]) -> Any:
        """What a persistent id stands for; only torch's files have them."""
        raise RecordError(DAMAGED)

    def unsupported(self) -> None:
        code = self.data[self.at - 1]
        raise RecordError(f"refused: pickle instruction 0x{code:02x} builds no tensor or container")


def _push(make: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(make())


def _instructions() -> dict[bytes, Callable[[Machine], Any]]:
    return {
        b"\x80": lambda m: m.take(1),  # PROTO
        b"\x95": lambda m: m.take(8),  # FRAME
        b"(": Machine.mark,
        b"0": lambda m: m.stack.pop(),
        b"1": Machine.since_mark,  # POP_MARK
        b"2": lambda m: m.stack.append(m.stack[-1]),  # DUP
        b"}": _push(Pairs),
        b"]": _push(list),
        b")": _push(tuple),
        b"\x8f": _push(lambda: Opaque("set")),
        b"t": Machine.tuple_marked,
        b"l": Machine.list_marked,
        b"d": Machine.dict_marked,
        b"\x85": lambda m: m.tuple_of(1),
        b"\x86": lambda m: m.tuple_of(2),
        b"\x87": lambda m: m.tuple_of(3),
        b"a": Machine.append,
        b"e": Machine.appends,
        b"s": Machine.set_item,
        b"u": Machine.set_items,
        b"\x90": Machine.add_items,
        b"\x91": Machine.set_marked,
        b"N": _push(lambda: None),
        b"\x88": _push(lambda: True),
        b"\x89": _push(lambda: False),
        b"K": lambda m: m.stack.append(m.number(1)),
        b"M": lambda m: m.stack.append(m.number(2)),
        b"J": lambda m: m.stack.append(_INT4.unpack(m.take(4))[0]),
        b"\x8a": Machine.long,
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
        b"c": Machine.text_global,
        b"\x93": Machine.stack_global,
        b"R": Machine.reduce,
        b"\x81": Machine.new_object,
        b"\x92": Machine.new_object_with_names,
        b"b": Machine.build,
        b"Q": Machine.persistent,
    }


_STOP = ord(".")
_OPERATIONS: list[Callable[[Machine], Any]] = [Machine.unsupported] * 256
for _code, _operation in _instructions().items():
    _OPERATIONS[_code[0]] = _operation
