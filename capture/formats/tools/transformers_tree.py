"""What transformers' `model_addition_debugger_context` writes: a tree of calls as JSON, with values
printed in it (`use_repr=True`) or in `.safetensors` files beside it.

    <Class>_debug_tree_FULL_TENSORS.json, <Class>_debug_tree_SUMMARY.json
    <Class>.model.layers.0.mlp_outputs.safetensors, ..._inputs_args_0..., ..._inputs_kwargs_NAME...

The tree is in the order of the calls, so outputs come behind those of the modules inside. A module
with others inside has no outputs there; that of a layer is what the next one takes. With
`do_prune_layers=True` the tree keeps the first and the last layer; files of the others are found by
their names. SUMMARY has statistics of the same tensors, and is read where FULL is missing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from ...dtypes import dtype_named
from ...errors import RecordError
from ...files import FoundFile
from ...records import Locator, Record
from ...storage import exists, storage_of
from .. import safetensors_file
from ..context import Context
from ..extents import checked_shape
from ..text.json_text import parsed, plain_text
from ..text.printed_values import printed_values
from ..text.tensor_print import load_dtype, number, parse_print, rounding

if TYPE_CHECKING:
    from ...values import Array, PartialValues

_TREE = re.compile(r"^(?P<start>.*_debug_tree)_(?P<kind>FULL_TENSORS|SUMMARY)\.json$")
_FILE = re.compile(
    r"^(?P<module>.+?)_(?P<side>inputs|outputs)(?:_(?:args|kwargs))?(?:_(?P<slot>.+))?\.safetensors$"
)
_SIZES = re.compile(r"torch\.Size\(\[([\d\s,]*)\]\)")
_SCALAR = re.compile(r"tensor\(([^,)]*)")
_LAYER = re.compile(r"^(?P<before>(?:.*\.)?)(?P<number>\d{1,6})$")
_INNER_LAYER = re.compile(r"(?<=\.)\d{1,6}(?=\.|$)")
_STATS = ("mean", "std", "min", "max")
_DEEPEST = 64


def recognise(found: FoundFile, context: Context) -> bool:
    """The two trees, and the files that lie beside one and are named as its tensors are."""
    base = os.path.basename(found.path)
    if _TREE.match(base):
        return True
    return _FILE.match(base) is not None and _tree_in(found.folder, context) is not None


def _tree_in(folder: str, context: Context) -> str | None:
    """The FULL tree in a folder; looked for once."""
    key = f"tree {folder}"
    if key not in context.trees:
        names = storage_of(folder).names(folder)
        full = [n for n in names if (m := _TREE.match(n)) and m["kind"] == "FULL_TENSORS"]
        context.trees[key] = min(full) if full else None
    return context.trees[key]


def list_records(found: FoundFile, context: Context) -> list[Record]:
    """Records in the order in which the modules returned; nothing for the files that a tree names.

    Raises `RecordError`, `OSError`.
    """
    match = _TREE.match(os.path.basename(found.path))
    if match is None:
        return []
    full = os.path.join(found.folder, f"{match['start']}_FULL_TENSORS.json")
    if match["kind"] == "SUMMARY" and exists(full):
        return []
    root = parsed(found.path)
    if not isinstance(root, dict) or not isinstance(root.get("module_path"), str):
        raise RecordError("not a tree of calls")
    calls = _Calls(found, context)
    calls.visit(root, (), 0)
    records = calls.records
    if match["kind"] == "FULL_TENSORS":
        records = _with_pruned(records, found, root["module_path"])
        context.ordered.update(record.path for record in records)
    if not records:
        raise RecordError("holds no tensor")
    _say_pruned(records, found, context)
    context.ordered.add(found.path)
    context.metadata["order_source"] = "tree of calls"
    context.metadata.setdefault("framework", "torch")
    return records


def read_header(record: Record) -> list[Record]:
    """Complete a record whose values lie in a file of its own. Raises `RecordError`, `OSError`."""
    if record.ready and record.locator is not None:
        return [record]
    located = safetensors_file.locate_all(safetensors_file.read_file_header(record.path))
    place = located.get(record.key) or next(iter(located.values()), None)
    if not isinstance(place, Locator):
        raise RecordError(str(place) if place else "holds no tensor")
    return [replace(record, locator=place, shape=place.shape, dtype=place.dtype)]


def load_values(locator: Locator) -> Array | PartialValues:
    """Values printed in the tree, rounded as printed. Raises `RecordError`, `OSError`."""
    node: Any = parsed(locator.path)
    try:
        for key in json.loads(locator.key):
            node = node[key]
        text = _text(node["value"])
    except (KeyError, IndexError, TypeError) as error:
        raise RecordError("the file has changed since it was listed") from error
    return printed_values(_printed(text, node), locator)


@dataclass(slots=True)
class _Leaf:
    """A tensor of the tree: where it stands there, and the slot that it is in."""

    node: dict[str, Any]
    where: tuple[str | int, ...]
    slot: str


class _Calls:
    """Goes through the tree, children first, and collects records."""

    def __init__(self, found: FoundFile, context: Context) -> None:
        self.found = found
        self.context = context
        self.records: list[Record] = []
        self.seen: dict[tuple[str, str], int] = {}

    def visit(self, node: dict[str, Any], where: tuple[str | int, ...], depth: int) -> None:
        if depth > _DEEPEST:
            raise RecordError("nested too deep")
        children = node.get("children")
        children = children if isinstance(children, list) else []
        for index, child in enumerate(children):
            if isinstance(child, dict) and isinstance(child.get("module_path"), str):
                self.visit(child, (*where, "children", index), depth + 1)
                following = children[index + 1] if index + 1 < len(children) else None
                if not child.get("outputs"):
                    self._output_of_layer(child, following, (*where, "children", index + 1))
        module = _module_of(node["module_path"])
        for leaf in (*_inputs(node, where), *_outputs(node, where)):
            self._add(module, leaf)

    def _output_of_layer(
        self, layer: dict[str, Any], following: Any, where: tuple[str | int, ...]
    ) -> None:
        """The output of a layer without one is what the module behind it takes: the next layer, or
        a norm.
        """
        own = _LAYER.match(layer["module_path"])
        if own is None or not isinstance(following, dict):
            return
        other = _LAYER.match(str(following.get("module_path")))
        if other and (other["before"], int(other["number"])) != (
            own["before"], int(own["number"]) + 1,
        ):  # fmt: skip
            return  # layers between the two were left out
        taken = next((leaf for leaf in _inputs(following, where) if leaf.slot == "input_0"), None)
        if taken is None:
            kwargs = [
                leaf for leaf in _inputs(following, where) if leaf.slot == "input_hidden_states"
            ]
            taken = kwargs[0] if kwargs else None
        if taken is not None:
            self._add(_module_of(layer["module_path"]), replace(taken, slot="output"))

    def _add(self, module: str, leaf: _Leaf) -> None:
        place = (module, leaf.slot)
        call = self.seen[place] = self.seen.get(place, 0) + 1
        again = f"({call})" if call > 1 else ""
        record = Record(
            f"{module}{again}-{leaf.slot}", module, leaf.slot, call, self.found.step,
            self.found.path, rank=self.found.rank,
        )  # fmt: skip
        try:
            _describe(record, leaf, self.found)
        except RecordError as error:
            record.error = str(error)
        self.records.append(record)


def _module_of(path: str) -> str:
    """The path below the model: without the name of its class."""
    return plain_text(path.partition(".")[2])


def _inputs(node: dict[str, Any], where: tuple[str | int, ...]) -> Iterator[_Leaf]:
    inputs = node.get("inputs")
    if isinstance(inputs, dict):
        for kind in ("args", "kwargs"):
            yield from _leaves(inputs.get(kind), (*where, "inputs", kind), "input", 0)


def _outputs(node: dict[str, Any], where: tuple[str | int, ...]) -> Iterator[_Leaf]:
    yield from _leaves(node.get("outputs"), (*where, "outputs"), "output", 0)


def _leaves(node: Any, where: tuple[str | int, ...], slot: str, depth: int) -> Iterator[_Leaf]:
    if depth > _DEEPEST:
        raise RecordError("nested too deep")
    if isinstance(node, dict) and isinstance(node.get("shape"), str) and "dtype" in node:
        yield _Leaf(node, where, slot)
    elif isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from _leaves(value, (*where, key), f"{slot}_{plain_text(key)}", depth + 1)


def _describe(record: Record, leaf: _Leaf, found: FoundFile) -> None:
    """Shape, dtype, statistics and where the values are. Raises `RecordError`."""
    node = leaf.node
    sizes = _SIZES.search(node["shape"])
    if sizes is None:
        raise RecordError(f"not a shape: {str(node['shape'])[:40]!r}")
    dtype = dtype_named(str(node["dtype"]))
    shape = checked_shape([int(n[:19]) for n in re.findall(r"\d+", sizes[1])], dtype.itemsize)
    stats = _statistics(node)
    value = node.get("value")
    if isinstance(value, str) and value.endswith(".safetensors"):
        name = value.removeprefix("./")
        path = os.path.join(found.folder, name)
        if "/" in name or os.sep in name or storage_of(path).is_link(path):
            raise RecordError("refused: the tree names a file outside its directory")
        record.path, record.key = path, "data"
        if not exists(path):
            raise RecordError(f"{name} is missing")
        return
    record.shape, record.dtype = shape, dtype.name
    if value is None:
        if not stats:
            raise RecordError("neither values nor statistics")
        record.stats = {**stats, "count": prod(shape)}
        return
    printed = _printed(_text(value), node)
    shown = len(printed.texts)
    record.locator = Locator(
        record.path, load_dtype(dtype.name), shape, reader="debug tree", key=json.dumps(leaf.where)
    )
    record.partial = None if shown == printed.total else (shown, printed.total)
    record.stats = {**rounding(printed.texts[:1000], dtype.name), **stats} or None


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if isinstance(value, str):
        return value
    raise RecordError("the value is not a printed tensor")


def _printed(text: str, node: dict[str, Any]) -> Any:
    """The print with the shape and dtype that stand beside it."""
    sizes = _SIZES.search(str(node["shape"]))
    behind = f", dtype={node['dtype']}" if "dtype=" not in text else ""
    end = text.rfind(")")
    if end < 0 or sizes is None:
        raise RecordError("the value is not a printed tensor")
    return parse_print(f"{text[:end]}{behind}) {sizes[0]}")


def _statistics(node: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in _STATS:
        match = _SCALAR.match(str(node.get(name)))
        if match:
            try:
                value = number(match[1].strip())
            except RecordError:
                continue
            if isfinite(value):
                found[name] = value
    return found


# Layers that the tree leaves out


def _with_pruned(records: list[Record], found: FoundFile, root: str) -> list[Record]:
    """`records` and those of files that the tree does not name, in the places of the first layer's
    of the same name, layer by layer.
    """
    known = {record.path for record in records}
    order: dict[str, int] = {}
    for index, record in enumerate(records):
        order.setdefault(_INNER_LAYER.sub("#", record.name, count=1), index)
    more: list[tuple[int, int, Record]] = []
    for name in sorted(storage_of(found.folder).names(found.folder)):
        match = _FILE.match(name)
        path = os.path.join(found.folder, name)
        if match is None or path in known or storage_of(path).is_link(path):
            continue
        if match["module"].partition(".")[0] != root.partition(".")[0]:
            continue
        module = _module_of(match["module"])
        slot = match["side"].removesuffix("s") + (f"_{match['slot']}" if match["slot"] else "")
        record = Record(
            f"{module}-{slot}", module, slot, 1, found.step, path, key="data", rank=found.rank
        )
        layer = _INNER_LAYER.search(record.name)
        place = order.get(_INNER_LAYER.sub("#", record.name, count=1), len(records))
        more.append((int(layer[0]) if layer else 1 << 30, place, record))
    if not more:
        return records
    more.sort(key=lambda item: item[:2])
    at = _behind_first_layer(records)
    return [*records[:at], *(record for _, _, record in more), *records[at:]]


def _behind_first_layer(records: list[Record]) -> int:
    """Where the second layer of the tree begins."""
    first = None
    for index, record in enumerate(records):
        layer = _INNER_LAYER.search(record.name)
        if layer is None:
            continue
        if first is not None and layer[0] != first:
            return index
        first = layer[0]
    return len(records)


def _say_pruned(records: list[Record], found: FoundFile, context: Context) -> None:
    numbers = {int(m[0]) for record in records if (m := _INNER_LAYER.search(record.name))}
    lost = sorted(set(range(max(numbers, default=0))) - numbers)
    if lost:
        context.notes.append(
            f"{os.path.basename(found.path)}: layers {lost[0]} to {lost[-1]} were left out by the "
            "writer (do_prune_layers=False keeps them)"
        )
