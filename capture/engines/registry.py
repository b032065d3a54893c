"""The engines that layertui itself runs: models captured, layers run again.

What starts an engine is named, not imported: most commands use none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..errors import CaptureError
from ..extras import has_extra, needs

EXPORTERS = ("dynamo", "torchscript")  # torch's, of ONNX files
_HERE = __name__.rpartition(".")[0]
_RUNNERS = _HERE.rpartition(".")[0] + ".runners"


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is the word on the command line, and the framework that its captures name. `dump` is
    what the capture of a candidate is called; `title` is the engine's name in sentences.

    `capture` is called with a plan, a path and a watcher; `runner` with the settings of a
    `RunnerSpec`, a private directory and what is told of progress. `timeout` is in seconds, for a
    runner's start and each rerun; `compiles` says that these may take minutes. `files` are endings
    of files that it runs, beside directories of Hugging Face.
    """

    name: str
    extra: str
    dump: str
    title: str
    capture: str
    runner: str
    timeout: float = 600.0
    compiles: bool = False
    files: tuple[str, ...] = ()

    def capture_function(self) -> Callable[[Any, str, Any], list[str]]:
        return _named(self.capture, _HERE)

    def runner_function(self) -> Callable[[dict[str, Any], str, Callable[[str], None]], Any]:
        return _named(self.runner, _RUNNERS)

    def require(self, what: str) -> None:
        """Raises `CaptureError`, which says how to get it, when the engine is not installed: `what`
        (`running layers`) needs it.
        """
        if not has_extra(self.extra):
            raise CaptureError(needs(self.extra, f"{what} in {self.title}"))

    def runs(self, model: str) -> bool:
        """Whether `model` is a file of the engine's own format."""
        return model.lower().endswith(self.files) if self.files else False


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("max", "max", "max_dump", "MAX", ".max_capture:capture_max",
               ".max_engine:MaxEngine", timeout=3600.0, compiles=True),
        Engine("torch", "torch", "torch_dump", "PyTorch", ".torch_capture:capture_torch",
               ".torch_layers:open_layers"),
        Engine("onnx", "onnx", "onnx_dump", "ONNX Runtime", ".onnx_runtime.capture:capture_onnx",
               ".onnx_layers:OnnxLayers", files=(".onnx",)),
    )
}  # fmt: skip
# These run whole models only: their layers cannot be run again.
OPENVINO = Engine("openvino", "openvino", "openvino_dump", "OpenVINO",
                  ".openvino_capture:capture_openvino", "", files=(".xml", ".onnx"))  # fmt: skip
LLAMA_CPP = Engine("llamacpp", "llamacpp", "llamacpp_dump", "llama.cpp",
                   ".llamacpp.capture:capture_llama_cpp", "", files=(".gguf",))  # fmt: skip


def engine_of(framework: str | None) -> Engine | None:
    """The engine that made a capture; None where it is none of these."""
    return ENGINES.get(framework or "")


def _named(place: str, package: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module, package), name)
