"""Names and order for the values of an ONNX graph, from the `.onnx` file beside their dump.

The graph's order is the order; its own outputs, which runtimes list first, stand where they are
made. torch's exporter notes at each node in which modules it runs (`pkg.torch.onnx.name_scopes`):
the value that leaves a module is its output, where there is one, and the values inside go by the
module and their own name.

Only what is needed of the file is looked at, by the fields of `onnx.proto`: no package, nothing is
built, and weights are passed over.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ...errors import RecordError
from ...records import Record
from ...storage import open_file, size_of, storage_of
from ..context import Context

_MOST_BYTES = 2 << 30  # a protobuf message is no longer than that
_MOST_UNPACKED = 512 << 20
_MOST_NODES = 500_000
_MOST_FILES = 16
_ENDINGS = (".onnx", ".onnx.gz")
_SCOPES = b"pkg.torch.onnx.name_scopes"
_COVERED = 0.5  # share of a dump's values that a graph must have to be the one


@dataclass(slots=True)
class Graph:
    """`scopes` has for each value, in the graph's order, the modules that it is made in, from the
    outermost; empty where the file does not say.
    """

    file: str
    scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    used: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Each value that a node takes, with the modules of that node."""


def name_values(records: list[Record], folder: str, context: Context) -> list[Record]:
    """`records`, whose names are those of values, in the order and with the module names of the
    graph beside them; as they are where there is none.
    """
    graph = None
    if _has_graphs(folder, context):
        graph = _graph_of({record.name for record in records}, folder)
    if graph is None:
        return records
    places = {name: index for index, name in enumerate(graph.scopes)}
    ordered = sorted(records, key=lambda r: (r.step, places.get(r.name, len(places))))
    context.notes.append(f"order and module names from {graph.file}")
    owned = _owners(graph)
    named: list[Record] = []
    for record in ordered:
        named.extend(_named(record, graph, owned.get(record.name, ())))
    return named


def _named(record: Record, graph: Graph, owners: tuple[str, ...]) -> list[Record]:
    """The record as the output of each module that it is the last value of, innermost first."""
    scope = graph.scopes.get(record.name, ())
    if not scope:
        return [record]
    if not owners:
        inner = scope[-1]
        name = f"{inner}/{record.name}" if inner else record.name
        return [replace(record, name=name, module=name)]
    return [
        replace(record, name=f"{owner}-output", module=owner, slot="output") for owner in owners
    ]


def _owners(graph: Graph) -> dict[str, tuple[str, ...]]:
    """By value: the modules whose output it is, innermost first. A module that gives several values
    (a rotary embedding's cosine and sine) has none that could be called so.
    """
    last: dict[str, str] = {}
    leaving: dict[str, set[str]] = {}
    for value, scope in graph.scopes.items():
        for module in scope:
            if module:
                last[module] = value
    for value, scope in graph.used:
        for module in graph.scopes.get(value, ()):
            if module and module not in scope:
                leaving.setdefault(module, set()).add(value)
    owned: dict[str, list[str]] = {}
    for module, value in last.items():
        given = leaving.get(module, {value})
        if len(given) == 1:
            owned.setdefault(next(iter(given)), []).append(module)
    depth = lambda module: (-module.count("."), module)  # noqa: E731
    return {value: tuple(sorted(modules, key=depth)) for value, modules in owned.items()}


def _has_graphs(folder: str, context: Context) -> bool:
    """Whether there is a graph in the folder; looked for once."""
    key = f"onnx {folder}"
    if key not in context.trees:
        try:
            names = storage_of(folder).names(folder)
        except OSError:
            names = []
        context.trees[key] = next((n for n in names if n.lower().endswith(_ENDINGS)), None)
    return context.trees[key] is not None


def _graph_of(names: set[str], folder: str) -> Graph | None:
    """The graph in `folder` that has most of these values."""
    try:
        files = sorted(storage_of(folder).names(folder))
    except OSError:
        return None
    best: tuple[int, Graph] | None = None
    files = [name for name in files if name.lower().endswith(_ENDINGS)]
    for name in files[:_MOST_FILES]:
        try:
            graph = read_graph(f"{folder}/{name}")
        except (RecordError, OSError):
            continue
        count = len(names & graph.scopes.keys())
        if count >= _COVERED * len(names) and (best is None or count > best[0]):
            best = count, graph
    return best[1] if best else None


def read_graph(path: str) -> Graph:
    """The values of the graph in an `.onnx` file, or one packed by gzip. Raises `RecordError`,
    `OSError`.
    """
    size = size_of(path)
    if size > _MOST_BYTES:
        raise RecordError("larger than an ONNX file can be")
    if path.lower().endswith(".gz"):
        with open_file(path) as file:
            packed = file.read_at(0, size)
        engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = memoryview(engine.decompress(packed, _MOST_UNPACKED))
        except zlib.error as error:
            raise RecordError("damaged gzip") from error
    else:
        data = storage_of(path).map(path, 0, size) if size else memoryview(b"")
    graph = Graph(path.rpartition("/")[2])
    for number, part in _fields(data):
        if number == 7:
            _read_graph(part, graph)
    _drop_wrapper(graph)
    return graph


def _read_graph(data: memoryview, graph: Graph) -> None:
    for count, (number, part) in enumerate(_fields(data)):
        if count > _MOST_NODES:
            raise RecordError("refused: a graph of too many nodes")
        if number == 1:
            _read_node(part, graph)
        elif number == 12:
            graph.outputs.extend(_text(name) for field, name in _fields(part) if field == 1)


def _read_node(data: memoryview, graph: Graph) -> None:
    values: list[str] = []
    taken: list[str] = []
    scope: tuple[str, ...] = ()
    for number, part in _fields(data):
        if number == 1:
            taken.append(_text(part))
        elif number == 2:
            values.append(_text(part))
        elif number == 9:
            pair = dict(_fields(part))
            if bytes(pair.get(1, b"")) == _SCOPES:
                scope = listed_scopes(_text(pair.get(2, memoryview(b""))))
    for value in values:
        if value:
            graph.scopes.setdefault(value, scope)
    graph.used.extend((value, scope) for value in taken)


_QUOTED = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_ONE = r"(?:'[^'\\]*'|\"[^\"\\]*\")"
_LIST = re.compile(rf"\[\s*{_ONE}(?:\s*,\s*{_ONE})*\s*\]")


def listed_scopes(text: str) -> tuple[str, ...]:
    """`['', 'model', 'model.layers.0', 'linear']` without the node's own name at the end; empty
    for any other text.
    """
    if _LIST.fullmatch(text) is None:
        return ()
    listed = [match[1] or match[2] or "" for match in _QUOTED.finditer(text)]
    return tuple(listed[:-1])


def without_wrapper(
    scopes: Iterable[tuple[str, ...]],
) -> Callable[[tuple[str, ...]], tuple[str, ...]] | None:
    """What drops the wrapper from a scope, where the model was an attribute of what was exported:
    then all paths begin with that attribute.
    """
    known = list(scopes)
    tops = {scope[1] for scope in known if len(scope) > 1}
    if len(tops) != 1:
        return None
    top = tops.pop()
    if not any(name.startswith(f"{top}.") for scope in known for name in scope):
        return None
    return lambda scope: tuple(name.removeprefix(f"{top}.") for name in scope if name != top)


def _drop_wrapper(graph: Graph) -> None:
    shorten = without_wrapper(graph.scopes.values())
    if shorten is None:
        return
    graph.scopes = {value: shorten(scope) for value, scope in graph.scopes.items()}
    graph.used = [(value, shorten(scope)) for value, scope in graph.used]


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message, in order; others are passed over.

    Raises `RecordError` for what is no message.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise RecordError("truncated: a field extends beyond the end of the file")
            yield tag >> 3, data[at : at + length]
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise RecordError("not a protobuf message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise RecordError("not a protobuf message")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _text(data: memoryview) -> str:
    return bytes(data[:1000]).decode("utf-8", "backslashreplace")
