"""Captures of llama.cpp: a child process runs a `.gguf` file and records every value of its graph.

Where the package `llama_cpp` is missing, llama.cpp's own program `llama-eval-callback` is run,
whose log is the capture.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, Any

from ...cases import Case
from ...environment import usable_cores
from ...errors import CaptureError, RecordError
from ...extras import has_extra, needs
from ...formats.gguf_file import list_tensors
from ...models.run_directory import refuse_in_use
from ...models.run_plan import Plan, Watcher
from ...records import Locator
from ...sizes import byte_text, size_of
from ...weights.gguf_config import config_of, interleaved_heads, quantised_words
from ..child_process import end_child, messages, search_path
from .ending import last_line
from .program import PROGRAM, find_program, run_program

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from layertui.capture.engines.llamacpp.child import main; main()"
)
_FIRST_OF_SEVERAL = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def capture_llama_cpp(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    """Run the one case and write its capture to `path`. Raises `CaptureError`."""
    refuse_in_use(path, plan.overwrite)
    (case,) = plan.cases
    if case.prompt is None and case.ids is None:
        raise CaptureError("nothing to run: give --prompt or --input-ids")
    header = _header(plan, case)
    program = None if has_extra("llamacpp") else find_program()
    if program is None and not has_extra("llamacpp"):
        raise CaptureError(needs("llamacpp", "running models in llama.cpp")
                           + f" (it compiles for minutes), or {PROGRAM} on the PATH")  # fmt: skip
    started = time.monotonic()
    if program is not None:
        run_program(program, plan, path, header, watcher)
    else:
        _Run(plan, path, header, watcher).run(case)
    took = time.monotonic() - started
    watcher.say(f"captured   {path}  {byte_text(size_of(path))}  {took:.1f} s")
    return []


def _header(plan: Plan, case: Case) -> dict[str, Any]:
    """What the file says, which must be a GGUF file, whole. Raises `CaptureError`."""
    model = plan.model
    if not os.path.isfile(model):
        raise CaptureError(f"{model}: no such file; llama.cpp runs a .gguf file")
    said: dict[str, Any] = {
        "framework": "llama.cpp", "prompt": case.prompt,
        "device": "gpu" if plan.gpu_layers else "cpu",
        "run": {"model": os.path.realpath(model), "gpu_layers": plan.gpu_layers},
    }  # fmt: skip
    found = _metadata_of(model)
    if found is not None:
        metadata, tensors = found
        words = quantised_words(tensors)
        said["environment"] = {"numerics": {"quantization": words} if words else {}}
        said["config"] = config_of(metadata, words)
        said["run"]["interleaved_heads"] = interleaved_heads(metadata)
    return {key: value for key, value in said.items() if value is not None}


def _metadata_of(model: str) -> tuple[dict[str, Any], list[tuple[str, Locator | str]]] | None:
    """What a file has; None for the first of several without tensors of its own. Raises
    `CaptureError`.
    """
    try:
        metadata, tensors = list_tensors(model)
    except RecordError as error:
        if _FIRST_OF_SEVERAL.search(model):
            return None
        raise CaptureError(f"{model}: {error}") from error
    except OSError as error:
        raise CaptureError(f"{model}: cannot be read: {error.strerror or error}") from error
    cut = next((why for _, why in tensors if isinstance(why, str) and "truncated" in why), None)
    if cut is not None:
        raise CaptureError(f"{model}: {cut}")
    return metadata, tensors


@dataclass(slots=True)
class _Run:
    """One child process, from its start to what it told last."""

    plan: Plan
    path: str
    header: dict[str, Any]
    watcher: Watcher
    problem: str | None = None
    _done: bool = field(default=False)

    def run(self, case: Case) -> None:
        """Raises `CaptureError` for whatever kept the child from finishing."""
        self.watcher.stage(f"loading {self.plan.model}", self.path)
        reading, writing = os.pipe()
        with (
            open(reading, encoding="utf-8", errors="replace") as told,
            tempfile.TemporaryFile() as log,
        ):
            try:
                child = self._started(writing, log)
            finally:
                os.close(writing)
            try:
                self._listen(child, told, case)
            finally:
                end_child(child)
            if self.problem is None and not self._done:
                self.problem = _ending(child.returncode, log)
        if self.problem is not None:
            raise CaptureError(self.problem)

    def _started(self, writing: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(search_path()), str(writing)],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
            pass_fds=(writing,), start_new_session=True,  # Ctrl-C is heard here, once
        )  # fmt: skip

    def _request(self, case: Case) -> dict[str, Any]:
        plan = self.plan
        environment = self.header.get("environment", {})
        return {
            "model": plan.model, "folder": self.path, "prompt": case.prompt, "rows": case.ids,
            "overwrite": plan.overwrite, "level": plan.level, "include": plan.include,
            "exclude": plan.exclude, "gpu_layers": plan.gpu_layers, "threads": usable_cores(),
            "header": self.header, "numerics": environment.get("numerics", {}),
        }  # fmt: skip

    def _listen(self, child: subprocess.Popen[bytes], told: IO[str], case: Case) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(self._request(case)).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            return
        for message in messages(told):
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "rows" in message:
            rows = message["rows"]
            self.watcher.say(f"input      input_ids {len(rows)}x{len(rows[0])}")
            self.watcher.stage("running the capture", self.path)
        elif "layer" in message:
            self.watcher.layers(int(message["layer"]), int(message["of"]))
        elif "note" in message:
            self.watcher.say(f"note       {message['note']}")
        elif "problem" in message:
            self.problem = str(message["problem"])
        self._done = self._done or "done" in message


def _ending(status: int, log: IO[bytes]) -> str:
    """One line for a child that ended before it was done, with what it printed last."""
    said = last_line(log)
    how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    return f"llama.cpp ended {how} before it was done" + (f": {said}" if said else "")
