"""Captures of ONNX models: every module's inputs and outputs, or every node's outputs."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `onnx` and `onnxruntime` are optional.
import os
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...cases import Case, Rows, write_index
from ...environment import plain_environment
from ...errors import CaptureError
from ...models.run_directory import check_space, prepare_directory, refuse_in_use
from ...models.run_plan import Plan, Watcher
from ...plurals import IS, counted
from ...sizes import byte_text, size_of
from ..writer import CaptureWriter, Stored
from .export import is_onnx, onnx_file_of
from .graph import Graph, read_graph
from .inputs import id_input, inputs_of, make_inputs, read_arrays
from .modules import ModuleCall
from .optimised import optimise
from .parts import Runtime, providers_of
from .quantised import quantised_words
from .segments import run_all
from .source import require_onnx

_MOST_SIZES = 64  # elements of a list of sizes that is written down as an argument
_SIZES_SLOT = "position_ids"  # whole numbers made of sizes that are no short list
_SHOWN = 3


def capture_onnx(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    """Run every case and write its capture to `path`, or below it where there are several. A model
    that is no ONNX file is exported first, beside `path`.

    Returns what went wrong, a line a case. Raises `CaptureError` when nothing can run at all.
    """
    require_onnx()
    if plan.mode != "forward":
        raise CaptureError("--mode generate: ONNX models are run once here; use --mode forward")
    refuse_in_use(path, plan.overwrite)
    providers = providers_of(plan.provider or plan.device)
    file, cases = onnx_file_of(plan, path, watcher)
    watcher.stage(f"reading {file}")
    graph = read_graph(file)
    runtime = Runtime(graph.model, graph.index, providers)
    notes: list[str] = []
    if plan.optimised:
        runtime = Runtime(*optimise(graph.model, providers), providers)
    job = _Job(plan, graph, runtime, watcher, notes)
    failed: list[str] = []
    entries: list[dict[str, Any]] = []
    several = len(cases) > 1
    for number, case in enumerate(cases):
        folder = os.path.join(path, case.name) if several else path
        entry = {"name": case.name, "status": "done", "prompt": case.prompt}
        entries.append(entry)
        try:
            given, rows = job.inputs(case)
            if not number:
                prepare_directory(path, plan.overwrite)
            Path(folder).mkdir(parents=True, exist_ok=True)
            job.run(folder, given, rows, case)
        except CaptureError as error:
            if not several:
                raise
            failed.append(f"{case.name}: {error}")
            entry["status"] = f"failed: {error}"
    if several:
        write_index(path, "onnx", entries)
    return failed


@dataclass(slots=True)
class _Job:
    """One model and how it is run."""

    plan: Plan
    graph: Graph
    runtime: Runtime
    watcher: Watcher
    notes: list[str] = field(default_factory=list)

    def inputs(self, case: Case) -> tuple[dict[str, Any], Rows | None]:
        model, inputs = self.graph.model, inputs_of(self.graph.model, self.graph.index)
        arrays = read_arrays(self.plan.inputs_file) if self.plan.inputs_file else {}
        rows = case.ids
        given = make_inputs(model, inputs, rows, arrays)
        target = id_input(inputs)
        if rows is None and target is not None and target.name in arrays:
            ids = arrays[target.name]
            if ids.ndim == 2 and ids.dtype.kind in "iu":
                rows = tuple(tuple(int(number) for number in row) for row in ids)
        shown = ", ".join(f"{n} {'x'.join(map(str, v.shape()))}" for n, v in given.items())
        self.watcher.say(f"input      {shown}")
        return given, rows

    def run(self, folder: str, given: dict[str, Any], rows: Rows | None, case: Case) -> None:
        """Raises `CaptureError`."""
        started = time.monotonic()
        self.watcher.stage(f"running {case.title}", folder)
        calls, operations = self._chosen()
        recording = _Recording(self, calls, operations)
        settings = {
            **self.plan.settings(), "model": os.path.realpath(self.graph.model.path),
            "provider": self.runtime.providers[0], "optimised": self.plan.optimised,
        }  # fmt: skip
        header = {
            "framework": "onnx", "framework_version": runtime_version(),
            "model": self._exported(), "prompt": case.prompt,
            "device": self.runtime.providers[0].removesuffix("ExecutionProvider").lower(),
            "producer": self.graph.model.proto.producer_name,
            "environment": self._environment(),
            "input_ids": [list(row) for row in rows] if rows is not None else None,
            "notes": [*self.notes, *recording.notes()], "run": settings,
        }  # fmt: skip
        for note in header["notes"]:
            self.watcher.say(f"note       {note}")
        with CaptureWriter(folder, {k: v for k, v in header.items() if v is not None}) as writer:
            recording.write(writer, given, folder)
        took = time.monotonic() - started
        self.watcher.say(f"captured   {folder}  {byte_text(size_of(folder))}  {took:.1f} s")

    def _environment(self) -> dict[str, Any]:
        said = plain_environment()
        quantised = quantised_words(self.graph.index)
        return {**said, "numerics": {"quantization": quantised}} if quantised else said

    def _exported(self) -> str | None:
        """The checkpoint that the graph was made of. Not told for a file: its name would be taken
        for another model than the reference ran.
        """
        plan = self.plan
        return None if is_onnx(plan.model) else str(Path(plan.model).resolve())

    def _chosen(self) -> tuple[list[ModuleCall], list[int]]:
        """The calls, and the nodes, that are recorded. Raises `CaptureError` for none."""
        plan, graph = self.plan, self.graph
        calls = [call for call in graph.found.calls if self._wants(call.module)]
        every = plan.level == "op" or not graph.has_scopes
        nodes = [
            number
            for number in range(len(graph.index.nodes) if every else 0)
            if not graph.index.is_constant(number) and self._wants(graph.operation(number)[0])
        ]
        if not calls and not nodes:
            raise CaptureError(f"{graph.model.path}: no module is recorded; see --include")
        return calls, nodes

    def _wants(self, module: str) -> bool:
        plan = self.plan
        if plan.include and not any(fnmatchcase(module, glob) for glob in plan.include):
            return False
        return not any(fnmatchcase(module, glob) for glob in plan.exclude)


@dataclass(slots=True)
class _Recording:
    """What is taken of one run, in the order in which the graph makes it."""

    job: _Job
    calls: list[ModuleCall]
    operations: list[int]
    _stored: dict[str, Stored] = field(default_factory=dict)
    _sizes: dict[str, Any] = field(default_factory=dict)
    _vanished: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        graph, said = self.job.graph, []
        if not graph.has_scopes:
            said.append("the exporter did not note modules: values of nodes are recorded")
        quantised = quantised_words(graph.index)
        if quantised:
            said.append(f"the graph is quantised: {quantised}")
        for names, what in (
            (graph.found.several_values, "with several values whose order is not recorded"),
            (
                graph.found.several_calls,
                "which may run several times, unrecorded how often",
            ),
            (graph.found.lost_ends, "which end where the quantiser dropped the exporter's notes"),
        ):
            if names:
                shown = _shown(list(names))
                left_out = counted(len(names), "module", IS)
                said.append(f"{left_out} left out, {what}: {shown}")
        if self.job.plan.optimised:
            there = {*self.job.runtime.index.maker, *self.job.runtime.index.given}
            gone = [call.module or "the model" for call in self.calls
                    if any(value not in there for _, value in call.outputs)]  # fmt: skip
            values = [value for number in self.operations
                      for value in graph.index.outputs[number] if value not in there]  # fmt: skip
            if gone:
                said.append(f"optimised: the outputs of {counted(len(gone), 'module')} vanished: "
                            f"{_shown(gone)}")  # fmt: skip
            if values:
                vanished = counted(len(values), "value")
                said.append(f"optimised: {vanished} of nodes vanished: {_shown(values)}")
        return said

    def write(self, writer: CaptureWriter, given: dict[str, Any], folder: str) -> None:
        runtime, graph = self.job.runtime, self.job.graph
        wanted = {value for call in self.calls for _, value in call.outputs}
        wanted.update(v for number in self.operations for v in graph.index.outputs[number])
        taken: set[str] = set()
        if self.job.plan.inputs:
            taken.update(value for call in self.calls for _, value in call.inputs)
            taken.update(value for call in self.calls for value in call.sizes)
            taken.update(v for number in self.operations for v in graph.operands(number))
        there = {*runtime.index.maker, *runtime.index.given}
        for name in given.keys() & (taken | wanted):
            self._keep(name, given[name], writer)
        ready = _Ready(graph, self.calls, self.operations, there)
        total = len(runtime.index.nodes)
        for done, made, held in run_all(runtime, (wanted | taken) & there, given):
            for name, value in made.items():
                self._keep(name, value, writer)
            for what in ready.after(self._stored, runtime, done):
                self._tell(what, writer)
            writer.flush()
            self.job.watcher.layers(done, total)
            check_space(folder, sum(_size(value) for value in held.values()))

    def _keep(self, name: str, value: Any, writer: CaptureWriter) -> None:
        try:
            array, dtype = self.job.runtime.to_numpy(value)
        except CaptureError as error:
            self._stored[name] = Stored("float32", (), error=str(error))
            return
        if name in self.job.graph.index.sizes and array.ndim <= 1 and array.size <= _MOST_SIZES:
            self._sizes[name] = {"value": array.tolist(), "dtype": dtype}
        self._stored[name] = writer.store(array, dtype)

    def _tell(self, what: ModuleCall | int, writer: CaptureWriter) -> None:
        if isinstance(what, int):
            self._tell_node(what, writer)
            return
        outputs = [(s, v, self._stored[v]) for s, v in what.outputs if v in self._stored]
        if not self.job.plan.inputs:
            writer.call(what.module, what.number, what.kind, [], outputs, {})
            return
        inputs = [(s, v, self._stored[v]) for s, v in what.inputs if v in self._stored]
        empty = [(s, v, stored) for s, v, stored in inputs if 0 in stored.shape]  # a cache
        inputs = [one for one in inputs if one not in empty]
        arguments: dict[str, Any] = {
            value: {"value": [], "dtype": stored.dtype, "shape": list(stored.shape)}
            for _, value, stored in empty
        }
        numbered = 0
        for value in what.sizes:
            if value in self._sizes:
                arguments[value] = self._sizes[value]
            elif value in self._stored:
                slot = f"input_{_SIZES_SLOT}" if not numbered else f"input_size_{numbered}"
                inputs.append((slot, value, self._stored[value]))
                numbered += 1
        writer.call(what.module, what.number, what.kind, inputs, outputs, arguments)

    def _tell_node(self, number: int, writer: CaptureWriter) -> None:
        """A node is a module of its own inside its module; so is each of several outputs."""
        graph = self.job.graph
        module, name = graph.operation(number)
        outputs = graph.index.outputs[number]
        operands = graph.operands(number) if self.job.plan.inputs else []
        sizes = {value: self._sizes[value] for value in operands if value in self._sizes}
        inputs = [
            (f"input_{count}", value, self._stored[value])
            for count, value in enumerate(operands)
            if value in self._stored and value not in sizes
        ]
        for count, value in enumerate(outputs):
            if value in self._stored:
                named = name if len(outputs) == 1 else f"{name}.{count}"
                made = [("output", value, self._stored[value])]
                kind = graph.index.nodes[number].op_type
                writer.call(module, 1, kind, inputs, made, sizes, operation=named)


class _Ready:
    """Calls and nodes in the order in which the graph ends them, each once it can be told."""

    def __init__(
        self, graph: Graph, calls: list[ModuleCall], operations: list[int], there: set[str]
    ) -> None:  # fmt: skip
        told = [call for call in calls if any(value in there for _, value in call.outputs)]
        ended: list[tuple[int, int, ModuleCall | int]] = [
            *((call.last, 1, call) for call in told),
            *((number, 0, number) for number in operations),
        ]  # fmt: skip
        self._left = sorted(ended, key=lambda one: one[:2])
        self._graph, self._there = graph, there

    def after(self, stored: dict[str, Stored], runtime: Runtime, done: int) -> list[Any]:
        """What has all its values now; at the end of the graph, everything."""
        finished = done >= len(runtime.index.nodes)
        ready: list[Any] = []
        while self._left and (finished or self._is_there(self._left[0][2], stored)):
            ready.append(self._left.pop(0)[2])
        return ready

    def _is_there(self, what: ModuleCall | int, stored: dict[str, Stored]) -> bool:
        values = (self._graph.index.outputs[what] if isinstance(what, int)
                  else [value for _, value in what.outputs])  # fmt: skip
        return all(value in stored or value not in self._there for value in values)


def runtime_version() -> str | None:
    """The version of ONNX Runtime, whichever of its packages is installed."""
    for package in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _size(value: Any) -> int:
    return int(value.tensor_size_in_bytes()) if value.is_tensor() else 0
