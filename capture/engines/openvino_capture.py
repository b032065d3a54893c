"""Captures of models that OpenVINO runs: `.xml` files, and ONNX files by their modules."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `openvino` and `onnx` are optional.
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..cases import Case, Rows
from ..dtypes import DTYPES
from ..environment import plain_environment
from ..errors import CaptureError
from ..extras import has_extra, needs
from ..models.run_directory import prepare_directory, refuse_in_use
from ..models.run_plan import Plan, Watcher
from ..sizes import byte_text, size_of
from .onnx_runtime.export import with_ids
from .onnx_runtime.graph import Graph, read_graph
from .onnx_runtime.inputs import Input, id_input, make_arrays, read_arrays
from .onnx_runtime.modules import ModuleCall
from .onnx_runtime.quantised import quantised_words
from .onnx_runtime.source import in_one_line
from .onnx_runtime.types import CODES
from .writer import CaptureWriter, Stored

_ENGINE = "OpenVINO"
_FIRST, _MOST = 32, 512  # values of a batch: at first, and however small they are
_BATCH_BYTES = 256 << 20
_NO_VALUES = ("Parameter", "Constant", "Result")
# What OpenVINO calls element types, where it is not the name here.
_TYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16",
          "boolean": "bool",
          **{f"{s}{b}": f"{n}{b}" for s, n in (("i", "int"), ("u", "uint"))
             for b in (8, 16, 32, 64)}}  # fmt: skip
_SIZES_SLOT = "position_ids"


def capture_openvino(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    """Run the one case and write its capture to `path`. Raises `CaptureError`."""
    if not has_extra("openvino"):
        raise CaptureError(needs("openvino", "running models in OpenVINO"))
    refuse_in_use(path, plan.overwrite)
    if not os.path.isfile(plan.model):
        raise CaptureError(f"{plan.model}: no such file; OpenVINO runs an .xml or an ONNX file")
    import openvino

    (case,) = plan.cases
    case = with_ids(case, plan.model)
    watcher.stage(f"reading {plan.model}")
    graph = read_graph(plan.model) if plan.model.lower().endswith(".onnx") else None
    core = openvino.Core()
    model = in_one_line(lambda: core.read_model(plan.model), plan.model, _ENGINE)
    _Run(plan, core, model, graph, watcher).write(path, case)
    return []


@dataclass(slots=True)
class _Run:
    """A model, the calls that are recorded, and where the values that these speak of are made."""

    plan: Plan
    core: Any
    model: Any
    graph: Graph | None
    watcher: Watcher
    calls: list[ModuleCall] = field(default_factory=list)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def write(self, path: str, case: Case) -> None:
        started = time.monotonic()
        self._choose()
        given, rows = self._inputs(case)
        prepare_directory(path, self.plan.overwrite)
        for note in self.notes:
            self.watcher.say(f"note       {note}")
        with CaptureWriter(path, self._header(case, rows)) as writer:
            self._record(writer, given)
        took = time.monotonic() - started
        self.watcher.say(f"captured   {path}  {byte_text(size_of(path))}  {took:.1f} s")

    def _choose(self) -> None:
        """Raises `CaptureError` where nothing is left to record."""
        calls = self._of_modules() if self.graph and self.graph.has_scopes else self._of_nodes()
        self.calls = [call for call in calls if self._wants(call.module)]
        if not self.calls:
            raise CaptureError(f"{self.plan.model}: no module is recorded; see --include")
        gone = [c.module for c in self.calls if any(v not in self.places for _, v in c.outputs)]
        if gone:
            shown = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
            self.notes.append(f"OpenVINO has no value for the outputs of {len(gone)} modules: "
                              f"{shown}")  # fmt: skip

    def _wants(self, module: str) -> bool:
        if self.plan.include and not any(fnmatchcase(module, g) for g in self.plan.include):
            return False
        return not any(fnmatchcase(module, glob) for glob in self.plan.exclude)

    def _of_modules(self) -> list[ModuleCall]:
        assert self.graph is not None
        for node in self.model.get_ordered_ops():
            for number in range(node.get_output_size() if node.get_type_name() != "Result" else 0):
                for name in node.output(number).get_names():
                    self.places[name] = (node.get_friendly_name(), number)
        found = self.graph.found
        left_out = len(found.several_values) + len(found.several_calls) + len(found.lost_ends)
        if left_out:
            self.notes.append(f"{left_out} modules are left out: what they return, or where they "
                              "end, is not told")  # fmt: skip
        return found.calls

    def _of_nodes(self) -> list[ModuleCall]:
        """Each output of each operation, by the operation's name."""
        calls: list[ModuleCall] = []
        for order, node in enumerate(self.model.get_ordered_ops()):
            if node.get_type_name() in _NO_VALUES:
                continue
            name, count = node.get_friendly_name(), node.get_output_size()
            for number in range(count):
                module = name if count == 1 else f"{name}.{number}"
                self.places[module] = (name, number)
                made = (("output", module),)
                calls.append(ModuleCall(module, 1, node.get_type_name(), (), made, (), order))
        return calls

    def _inputs(self, case: Case) -> tuple[dict[str, Any], Rows | None]:
        arrays = read_arrays(self.plan.inputs_file) if self.plan.inputs_file else {}
        inputs = [_input(one) for one in self.model.inputs]
        made = make_arrays(self.plan.model, inputs, case.ids, arrays)
        for one in inputs:
            made[one.name] = made[one.name].astype(DTYPES[_dtype(one.code)].storage)
        rows, target = case.ids, id_input(inputs)
        if rows is None and target is not None and made[target.name].ndim == 2:
            rows = tuple(tuple(int(n) for n in row) for row in made[target.name])
        shown = ", ".join(f"{n} {'x'.join(map(str, a.shape))}" for n, a in made.items())
        self.watcher.say(f"input      {shown}")
        return made, rows

    def _header(self, case: Case, rows: Rows | None) -> dict[str, Any]:
        import openvino

        environment = plain_environment()
        quantised = quantised_words(self.graph.index) if self.graph else None
        if quantised:
            environment["numerics"] = {"quantization": quantised}
        header = {
            "framework": "openvino", "framework_version": openvino.__version__.split("-")[0],
            "prompt": case.prompt, "device": self.plan.device.lower(),
            "input_ids": [list(row) for row in rows] if rows is not None else None,
            "notes": self.notes, "environment": environment,
            "run": {"model": os.path.realpath(self.plan.model)},
        }  # fmt: skip
        return {key: value for key, value in header.items() if value is not None}

    def _record(self, writer: CaptureWriter, given: dict[str, Any]) -> None:
        wanted = {value: None for call in self.calls for _, value in call.outputs}
        if self.plan.inputs:
            for call in self.calls:
                wanted.update(dict.fromkeys([*(v for _, v in call.inputs), *call.sizes]))
        stored: dict[str, Stored] = {}
        for name in given.keys() & wanted:
            stored[name] = writer.store(given[name], str(given[name].dtype))
        left = [v for v in wanted if v in self.places and v not in stored]
        done = 0
        for values in self._batches(left, given):
            for name, (array, dtype) in values.items():
                stored[name] = writer.store(array, dtype)
            done += len(values)
            self.watcher.layers(done, len(left))
        for call in self.calls:
            self._tell(call, stored, writer)

    def _tell(self, call: ModuleCall, stored: dict[str, Stored], writer: CaptureWriter) -> None:
        outputs = [(slot, v, stored[v]) for slot, v in call.outputs if v in stored]
        inputs = [(slot, v, stored[v]) for slot, v in call.inputs if v in stored]
        sizes = [v for v in call.sizes if v in stored]
        inputs += [(f"input_{_SIZES_SLOT}" if not n else f"input_size_{n}", v, stored[v])
                   for n, v in enumerate(sizes)]  # fmt: skip
        inputs = [one for one in inputs if self.plan.inputs and 0 not in one[2].shape]
        if outputs:
            writer.call(call.module, call.number, call.kind, inputs, outputs, {})

    def _batches(
        self, names: list[str], given: dict[str, Any]
    ) -> Iterator[dict[str, tuple[Any, str]]]:
        """Values of the model, some at a time: it runs once for each batch."""
        count, begin = _FIRST, 0
        while begin < len(names):
            made = self._values(names[begin : begin + count], given)
            yield made
            begin += count
            size = sum(array.nbytes for array, _ in made.values())
            count = max(1, min(_MOST, count * 4, len(made) * _BATCH_BYTES // max(size, 1)))

    def _values(self, names: list[str], given: dict[str, Any]) -> dict[str, tuple[Any, str]]:
        def run() -> dict[str, tuple[Any, str]]:
            model = self.model.clone()
            model.add_outputs([self.places[name] for name in names])
            # As exact as the device can: by default some devices multiply in bfloat16.
            hints = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32"}
            compiled = self.core.compile_model(model, self.plan.device, hints)
            results = compiled(given)
            numbers: dict[tuple[str, int], int] = {}
            for number, output in enumerate(model.outputs):
                source = output.get_node().input_value(0)
                place = source.get_node().get_friendly_name(), source.get_index()
                numbers.setdefault(place, number)
            found = {name: numbers[self.places[name]] for name in names}
            return {name: _array(results[number], compiled.outputs[number])
                    for name, number in found.items()}  # fmt: skip

        return in_one_line(run, self.plan.model, _ENGINE)


def _input(one: Any) -> Input:
    name = next(iter(one.get_names()), "") or one.get_node().get_friendly_name()
    shape = one.get_partial_shape()
    sizes = None if shape.rank.is_dynamic else tuple(
        None if size.is_dynamic else size.get_length() for size in shape
    )  # fmt: skip
    code = CODES.get(_TYPES.get(one.get_element_type().get_type_name(), ""), 0)
    return Input(name, code, sizes)


def _dtype(code: int) -> str:
    return next(name for name, number in CODES.items() if number == code)


def _array(values: Any, output: Any) -> tuple[Any, str]:
    kind = output.get_element_type().get_type_name()
    dtype = _TYPES.get(kind)
    if dtype is None:
        raise CaptureError(f"a value of the type {kind}")
    return values, dtype
