"""The process in which layertui's own runners run: torch, or MAX.

Whatever the framework prints, native code included, goes to standard error: the descriptor of the
protocol is kept aside before anything is imported.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..engines.registry import ENGINES
from ..errors import CaptureError
from .layers import LayerInfo, RerunError, RerunOutputs
from .protocol import PROTOCOL, encode

if TYPE_CHECKING:
    import torch

_EVERY = 1.0  # seconds between two reports of the same work


class Engine(Protocol):
    """One framework's model."""

    framework: str
    framework_version: str
    flags: Mapping[str, bool]
    notes: list[str]

    def layers(self) -> list[LayerInfo]: ...

    def run(self, name: str, tensors: dict[str, Any], call: dict[str, Any] | None) -> RerunOutputs:
        """Run one layer. Raises `RerunError`."""
        ...


def main() -> None:
    """Entry point: the settings of a `RunnerSpec` are the last argument. Ends without the
    interpreter's teardown, in which native code may abort.
    """
    requests, answers = _kept_aside()
    settings = json.loads(sys.argv[-1])
    status = 0
    try:
        _Server(requests, answers).serve(
            lambda directory, progress: _engine(settings, directory, progress)
        )
    except BrokenPipeError:
        status = 1
    os._exit(status)


def _kept_aside() -> tuple[IO[bytes], IO[bytes]]:
    """The protocol's streams; descriptors 0 and 1 become harmless."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _engine(settings: dict[str, Any], directory: str, progress: Callable[[str], None]) -> Engine:
    return ENGINES[settings["kind"]].runner_function()(settings, directory, progress)


class _Server:
    """Answers one request at a time; a thread reads, so that a cancelled one is never begun."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        self._writing = threading.Lock()
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[int] = set()
        self._stage: tuple[int | None, str, float] | None = None
        self._about: int | None = None

    def serve(self, make: Callable[[str, Callable[[str], None]], Engine]) -> None:
        """Say hello when the model is there, then answer until standard input ends."""
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._tick, daemon=True).start()
        asked = self._waiting.get()
        if asked.get("protocol") != PROTOCOL:
            self._tell(type="error", text=f"this runner speaks version {PROTOCOL} of the protocol")
            return
        try:
            engine = make(asked["directory"], self._progress)
            layers = [_described(layer) for layer in engine.layers()]
        except Exception as error:
            self._stage = None
            self._tell(type="error", text=in_words(error))
            return
        self._stage = None
        self._tell(
            type="hello", protocol=PROTOCOL, framework=engine.framework, layers=layers,
            framework_version=engine.framework_version, notes=engine.notes, **engine.flags,
        )  # fmt: skip
        while True:
            self._answer(engine, self._waiting.get())

    def _answer(self, engine: Engine, message: dict[str, Any]) -> None:
        number = self._about = message["id"]
        if number in self._cancelled:
            self._tell(type="error", id=number, text="cancelled")
            return
        try:
            load, save = _files_of(engine)
            found = engine.run(message["layer"], load(message["tensors"]), message.get("call"))
            save(found.outputs, message["into"])
        except Exception as error:
            self._stage = None
            self._tell(type="error", id=number, text=in_words(error))
            return
        self._stage = None
        self._tell(
            type="outputs", id=number, slots=list(found.outputs), seconds=found.seconds,
            compile_seconds=found.compile_seconds,
        )  # fmt: skip

    def _read(self) -> None:
        for line in self._requests:
            message = json.loads(line)
            if message["type"] == "cancel":
                self._cancelled.add(message["id"])
            else:
                self._waiting.put(message)
        os._exit(1)  # the parent is gone

    def _progress(self, text: str) -> None:
        """What is done now; repeated with its seconds until something else is."""
        self._stage = (self._about, text, time.monotonic())
        self._tell(type="progress", id=self._about, text=text)

    def _tick(self) -> None:
        while True:
            time.sleep(_EVERY)
            stage = self._stage
            if stage is None:
                continue
            about, text, since = stage
            took = time.monotonic() - since
            if took >= _EVERY:
                self._tell(type="progress", id=about, text=f"{text} {took:.0f} s")

    def _tell(self, **message: Any) -> None:
        with self._writing:
            self._answers.write(encode(message))
            self._answers.flush()


def in_words(error: Exception) -> str:
    """An exception as one line; details go to the log."""
    if isinstance(error, RerunError | CaptureError):
        return str(error)
    import traceback

    traceback.print_exc()
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name or error!s} is not installed"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = f": {lines[0]}" if lines else ""
    return f"{type(error).__name__}{said}"[:400]


def _described(layer: LayerInfo) -> dict[str, Any]:
    said: dict[str, Any] = {"name": layer.name, "class": layer.module_class,
                            "inputs": list(layer.inputs)}  # fmt: skip
    return said if layer.reruns else {**said, "reruns": False, "why": layer.why}


def _files_of(engine: Engine) -> tuple[Callable[[str], Any], Callable[[Any, str], None]]:
    """How tensors are read and written. ONNX Runtime takes numpy arrays, and needs no torch."""
    if engine.framework == "onnx":
        from .array_files import read_arrays, write_arrays

        return read_arrays, write_arrays
    return _loaded, _save


def _loaded(path: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _save(outputs: dict[str, torch.Tensor], path: str) -> None:
    from safetensors.torch import save_file

    if not outputs:
        raise RerunError("this layer returns no tensors")
    save_file({slot: tensor.detach().cpu().contiguous().clone()
               for slot, tensor in outputs.items()}, path)  # fmt: skip
