"""The program that runs llama.cpp and records its graph; started by `capture` beside it.

Failed assertions of native code end a process, and it prints what it likes, so this is one of its
own. The request arrives as one JSON line on standard input.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The package `llama_cpp` is optional.
import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from ...environment import loaded_versions, set_variables
from ...errors import CaptureError
from ...models.run_directory import prepare_directory
from ..child_process import Pipe, begin
from ..writer import CaptureWriter
from .ggml import Ggml
from .recording import Recording

_ERROR = 3  # GGML_LOG_LEVEL_ERROR


def main() -> None:
    """Entry point. Ends without the interpreter's teardown, in which native code may abort."""
    request, pipe = begin()
    try:
        _work(request, pipe)
        pipe.tell(done=True)
    except CaptureError as error:
        pipe.tell(problem=str(error))
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        pipe.tell(problem=f"llama_cpp says {type(error).__name__}: {said}")
    sys.stderr.flush()
    os._exit(0)


def _work(request: dict[str, Any], pipe: Pipe) -> None:
    engine = _Engine(request)
    rows = engine.rows()
    pipe.tell(rows=rows)
    prepare_directory(request["folder"], request["overwrite"])
    header = {**request["header"], **engine.header(), "input_ids": rows}
    with CaptureWriter(request["folder"], header) as writer:
        layers = engine.layers()
        recording = Recording(
            engine.ggml, writer, request, rows, lambda done: pipe.tell(layer=done, of=layers)
        )
        engine.run(rows, recording)
        recording.end()
    if recording.quantised:
        pipe.tell(note=recording.left_out())


class _Engine:
    """One model, loaded. Raises `CaptureError` with llama.cpp's own words where it cannot be."""

    def __init__(self, request: dict[str, Any]) -> None:
        import llama_cpp

        self._cpp: Any = llama_cpp
        self._request = request
        self._said: list[str] = []
        self._log = llama_cpp.llama_log_callback(self._listen)  # must live as long as the library
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        folder = os.environ.get("LLAMA_CPP_LIB_PATH")  # where the package itself looks, too
        self.ggml = Ggml(Path(folder) if folder else Path(self._cpp.__file__).parent / "lib")
        if request["gpu_layers"] and not llama_cpp.llama_supports_gpu_offload():
            raise CaptureError("--gpu-layers: this build of llama.cpp has no GPU")
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = request["gpu_layers"]
        self._model = llama_cpp.llama_model_load_from_file(
            os.fsencode(request["model"]), parameters
        )
        if not self._model:
            raise self._failure("cannot be loaded")
        if llama_cpp.llama_model_has_encoder(self._model):
            raise CaptureError(f"{request['model']}: models with an encoder are not run here")
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)

    def _listen(self, level: int, text: bytes, data: object) -> None:
        if level == _ERROR:
            self._said.append(text.decode("utf-8", "replace").strip())

    def _failure(self, what: str) -> CaptureError:
        said = next((line for line in self._said if line), "")[:300]
        return CaptureError(f"{self._request['model']}: {what}: llama.cpp says {said or 'nothing'}")

    def layers(self) -> int:
        return int(self._cpp.llama_model_n_layer(self._model))

    def header(self) -> dict[str, Any]:
        """What is known once the library is loaded."""
        commit, version = self.ggml.commit, self.ggml.version
        packages = loaded_versions()
        versions = {**packages, **({"ggml": version} if version else {})}
        system = self._cpp.llama_print_system_info().decode("utf-8", "replace")
        numerics = {**self._request["numerics"], "kv_cache": "float32", "flash_attention": False}
        return {
            "framework_version": commit or packages.get("llama_cpp"),
            "environment": {
                "versions": versions, "numerics": numerics, "hardware": {"cpu": system.strip(" |")},
                "variables": set_variables(),
            },
        }  # fmt: skip

    def rows(self) -> list[list[int]]:
        """The token ids to run, rows of one length. Raises `CaptureError`."""
        rows: list[list[int]] = self._request["rows"] or [self._tokens(self._request["prompt"])]
        size = self._cpp.llama_vocab_n_tokens(self._vocabulary)
        largest = max(max(row) for row in rows)
        if largest >= size:
            raise CaptureError(f"token id {largest}: the vocabulary has {size} tokens")
        return rows

    def _tokens(self, prompt: str) -> list[int]:
        cpp, text = self._cpp, prompt.encode()
        if cpp.llama_vocab_type(self._vocabulary) == cpp.LLAMA_VOCAB_TYPE_NONE:
            raise CaptureError(f"{self._request['model']}: no tokenizer in it; give --input-ids "
                               "instead of a prompt")  # fmt: skip
        room = len(text) + 16  # a token is a byte at least; some are added at the ends
        made = (cpp.llama_token * room)()
        count = cpp.llama_tokenize(self._vocabulary, text, len(text), made, room, True, True)
        if count < 0:
            raise CaptureError(f"the prompt has {-count} tokens, more than bytes")
        if not count:
            raise CaptureError("the prompt is empty: it has no tokens")
        return list(made[:count])

    def run(self, rows: list[list[int]], recording: Recording) -> None:
        """One pass over all rows, which is one graph. Raises `CaptureError`."""
        cpp, tokens = self._cpp, sum(map(len, rows))
        callback = cpp.ggml_backend_sched_eval_callback(recording)
        context = cpp.llama_init_from_model(self._model, self._settings(rows, tokens, callback))
        if not context:
            raise self._failure("cannot be run")
        batch = cpp.llama_batch_init(tokens, 0, 1)
        batch.n_tokens = tokens
        places = ((row, at, ids[at]) for row, ids in enumerate(rows) for at in range(len(ids)))
        for number, (row, position, token) in enumerate(places):
            batch.token[number], batch.pos[number] = token, position
            batch.n_seq_id[number], batch.seq_id[number][0] = 1, row
            batch.logits[number] = True
        status = cpp.llama_decode(context, batch)
        if status and recording.error is None:
            raise self._failure(f"ended with {status}")

    def _settings(self, rows: list[list[int]], tokens: int, callback: object) -> Any:
        """Everything in one batch, attention as written down, keys and values as computed."""
        cpp = self._cpp
        settings = cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = tokens
        settings.n_seq_max, settings.kv_unified = len(rows), True
        settings.n_threads = settings.n_threads_batch = self._request["threads"]
        settings.flash_attn_type = cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.type_k = settings.type_v = cpp.GGML_TYPE_F32
        settings.offload_kqv = settings.op_offload = bool(self._request["gpu_layers"])
        settings.cb_eval = callback
        return settings
