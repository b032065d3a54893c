"""Captures of MAX runs: a child process runs the model, MAX itself writes the tensors.

A capture is a directory a step (`0/`, `1/`, ...) of `.max` files, MAX's log, which tells the
order, and `layertui.json`. Native code may print anything and may crash: what the child told
before it ended decides, not its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from ..cases import Case, Rows, write_index
from ..environment import set_variables
from ..errors import CaptureError, RecordError
from ..extras import has_extra, install_command, needs, require_torch
from ..models.run_directory import MAX_LOGS, prepare_directory, refuse_in_use
from ..models.run_plan import Plan, Watcher
from ..run_metadata import write_metadata
from ..sizes import byte_text, size_of
from .child_process import end_child, messages, search_path
from .max_refusals import crashed, explained

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from layertui.capture.engines.max_child import main; main()"
)
_LENGTH = 128  # tokens that the pipeline is planned for come in such portions: fewer compiles


def require_max() -> None:
    """Raises `CaptureError`, which says how to get it, when MAX is not installed."""
    if not has_extra("max"):
        raise CaptureError(needs("max", "MAX is not installed; running it"))


def capture_max(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    """Run every case and have MAX write its capture to `path`, or below it where there are
    several.

    Returns what went wrong, a line a case. Raises `CaptureError` when nothing could run. Ctrl-C
    ends the child and passes through; the captures hold what was done.
    """
    require_max()
    refuse_in_use(path, plan.overwrite)
    with tempfile.TemporaryDirectory(prefix="layertui-") as private:
        job = _job(plan, path, private, watcher)
        prepare_directory(path, plan.overwrite)
        for folder, rows, case in zip(job.folders, job.rows, plan.cases, strict=True):
            Path(folder).mkdir(parents=True, exist_ok=True)
            job.write(folder, rows, case, complete=False)
        keep_parameters(job, watcher)
        try:
            _Run(job, watcher).run()
        finally:
            job.close()
    return job.failures()


@dataclass(slots=True)
class Job:
    """A run of all cases in one child, and what came of it."""

    plan: Plan
    path: str
    request: dict[str, Any]
    folders: list[str]
    rows: list[Rows]
    notes: list[str] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    begun: int = 0
    problem: str | None = None

    def write(self, folder: str, rows: Rows, case: Case, complete: bool) -> None:
        fields = {
            "framework": "max", "framework_version": max_version(), "model": self.plan.model,
            "device": self.request["device"], "prompt": case.prompt,
            "input_ids": [list(row) for row in rows], "complete": complete, "notes": self.notes,
            "run": {**self.plan.settings(), "dtype": self.request["encoding"]},
            "environment": {"versions": {"max": max_version()}, "variables": set_variables()},
        }  # fmt: skip
        write_metadata(folder, {k: v for k, v in fields.items() if v is not None})

    def close(self) -> None:
        """Say in every capture whether it is whole; remove logs with nothing in them."""
        entries = []
        for number, case in enumerate(self.plan.cases):
            folder, done = self.folders[number], number in self.finished
            self.write(folder, self.rows[number], case, complete=done)
            empty = os.path.join(folder, MAX_LOGS[1])
            if os.path.isfile(empty) and os.path.getsize(empty) == 0:
                Path(empty).unlink()
            status = "done" if done else f"failed: {self.problem or 'stopped'}"
            entries.append({"name": case.name, "status": status, "prompt": case.prompt})
        if len(self.plan.cases) > 1:
            write_index(self.path, "max", entries)

    def failures(self) -> list[str]:
        several = len(self.plan.cases) > 1
        left = [n for n in range(len(self.folders)) if n not in self.finished]
        return [
            f"{self.plan.cases[n].name}: {self.problem}" if several else str(self.problem)
            for n in left
        ]


def keep_parameters(job: Job, watcher: Watcher) -> None:
    """Of the checkpoint that MAX loads; a factory's model is not known here."""
    from ..weights import open_weights
    from ..weights.recorded import link_parameters, sources_of_weights, write_parameters

    plan, first = job.plan, job.folders[0]
    if plan.factory is not None or plan.parameters == "none":
        return
    watcher.stage("keeping parameters", first)
    try:
        weights = open_weights(job.request["model"])
        write_parameters(first, plan.parameters, sources_of_weights(weights), weights.config)
        for folder in job.folders[1:]:
            link_parameters(first, folder)
    except CaptureError as error:
        watcher.say(f"note       parameters are not kept: {error}")
    except (OSError, RecordError) as error:
        words = getattr(error, "strerror", None) or error
        raise CaptureError(f"{first}: parameters cannot be written: {words}") from error


def _job(plan: Plan, path: str, private: str, watcher: Watcher) -> Job:
    several = len(plan.cases) > 1
    folders = [os.path.join(path, case.name) if several else path for case in plan.cases]
    folders = [str(Path(folder).resolve()) for folder in folders]
    if plan.factory is not None:
        rows = [case.ids or ((0,),) for case in plan.cases]
        model, encoding, limit = plan.model, plan.dtype or "float32", None
    else:
        model, encoding, limit, rows = _checkpoint(plan, private, watcher)
    steps = [plan.alone(case).steps for case in plan.cases]
    lengths = [max(map(len, each)) for each in rows]
    request = {
        "model": model, "encoding": encoding, "device": _device(plan), "batch": max(map(len, rows)),
        "max_length": _planned(lengths, steps, limit), "module_api": plan.module_api,
        "allow_unsupported": plan.allow_unsupported, "factory": plan.factory,
        "include": plan.include, "exclude": plan.exclude, "inputs": plan.inputs,
        "cases": [{"folder": f, "rows": r, "steps": s}
                  for f, r, s in zip(folders, rows, steps, strict=True)],
    }  # fmt: skip
    return Job(plan, path, request, folders, rows)


def _checkpoint(
    plan: Plan, private: str, watcher: Watcher
) -> tuple[str, str, int | None, list[Rows]]:
    """Where MAX loads the model from, its encoding, its longest text, and the ids of each case."""
    from ..models.checkpoint import load_config, own_dtype_name, stage_for_max
    from ..models.model_inputs import make_rows

    config = load_config(plan)
    rows = [make_rows(case, plan, config) for case in plan.cases]
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    encoding = plan.dtype or own_dtype_name(config)
    return stage_for_max(plan, config, private, watcher), encoding, limit, rows


def _planned(lengths: list[int], steps: list[int], limit: int | None) -> int:
    """Tokens that the pipeline is made for: of the longest case, `limit` at most."""
    longest, tokens, new = max(
        (tokens + new, tokens, new) for tokens, new in zip(lengths, steps, strict=True)
    )
    rounded = -(-longest // _LENGTH) * _LENGTH
    if limit is None:
        return rounded
    if longest > limit:
        raise CaptureError(f"{tokens} tokens and {new} new ones: the model takes {limit}")
    return min(rounded, limit)


def _device(plan: Plan) -> str:
    """`cpu`, `cuda`, or `auto`, with which MAX takes the first accelerator there is.

    Raises `CaptureError` for one GPU of several.
    """
    if plan.device.startswith("cuda:"):
        raise CaptureError(f"--device {plan.device}: MAX runs on the first GPU here, --device cuda")
    if plan.device != "auto":
        return plan.device
    require_torch("--device auto", transformers=False)
    import torch

    return "auto" if torch.cuda.is_available() else "cpu"


def max_version() -> str | None:
    """The version of the installed package `max`, None without one."""
    try:
        return version("max")
    except PackageNotFoundError:
        return None


class _Run:
    """One child process, from its start to what it told last."""

    def __init__(self, job: Job, watcher: Watcher) -> None:
        self._job = job
        self._watcher = watcher
        self._done = False

    def run(self) -> None:
        """Raises `CaptureError` when the child failed before the first case began."""
        job = self._job
        self._watcher.stage("loading into MAX (compiles for minutes the first time)",
                            job.folders[0])  # fmt: skip
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8", errors="replace") as told:
            try:
                child = self._started(writing)
            finally:
                os.close(writing)
            try:
                self._listen(child, told)
            finally:
                end_child(child)
        if not self._done and job.problem is None:
            job.problem = self._crash(child.returncode)
        self._check_files()

    def _started(self, writing: int) -> subprocess.Popen[bytes]:
        job = self._job
        environment = dict(os.environ)
        if os.path.isdir(job.request["model"]):
            environment["HF_HUB_OFFLINE"] = "1"  # everything lies in the directory
        with (
            open(os.path.join(job.folders[0], MAX_LOGS[0]), "ab") as errors,
            open(os.path.join(job.folders[0], MAX_LOGS[1]), "ab") as output,
        ):
            return subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(search_path()), str(writing)],
                stdin=subprocess.PIPE, stdout=output, stderr=errors, env=environment,
                pass_fds=(writing,), start_new_session=True,  # Ctrl-C is heard here, once
            )  # fmt: skip

    def _listen(self, child: subprocess.Popen[bytes], told: IO[str]) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(self._job.request).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            return
        for message in messages(told):
            self._take(message)
            if self._done:
                return

    def _take(self, message: dict[str, Any]) -> None:
        job, watcher = self._job, self._watcher
        if "model" in message:
            watcher.say(f"model      {message['model']}  {message['source']}")
        elif "note" in message:
            job.notes.append(str(message["note"]))
            watcher.say(f"note       {message['note']}")
        elif "case" in message:
            job.begun = number = int(message["case"])
            shape = f"{len(job.rows[number])}x{len(job.rows[number][0])}"
            watcher.say(f"input      input_ids {shape}")
            watcher.stage(f"running {job.plan.cases[number].title}", job.folders[number])
        elif "step" in message:
            watcher.layers(int(message["step"]), job.request["cases"][job.begun]["steps"])
        elif "finished" in message:
            number = int(message["finished"])
            job.finished.add(number)
            case = job.plan.cases[number]
            shown = os.path.join(job.path, case.name) if len(job.plan.cases) > 1 else job.path
            watcher.say(f"captured   {shown}  {byte_text(size_of(job.folders[number]))}")
        elif "missing" in message:
            job.problem = f"MAX lacks the package {message['missing']!r}: {install_command('max')}"
        elif "error" in message:
            said = str(message["error"])
            job.problem = explained(said, job.plan) or f"MAX says {said} (see {self._log()})"
        elif "problem" in message:
            job.problem = str(message["problem"])
        self._done = self._done or "done" in message

    def _crash(self, status: int) -> str:
        if status >= 0:
            return f"MAX ended with status {status} before it was done (see {self._log()})"
        return crashed(signal.Signals(-status).name, self._log(), self._job.plan)

    def _log(self) -> str:
        return os.path.join(self._job.folders[self._job.begun], MAX_LOGS[0])

    def _check_files(self) -> None:
        """A case in which MAX wrote nothing did not succeed, whatever was told."""
        job = self._job
        for number in sorted(job.finished):
            first = os.path.join(job.folders[number], "0")
            if not any(name.endswith(".max") for name in os.listdir(first)):
                job.finished.discard(number)
                job.problem = job.problem or "MAX ran, but wrote no tensors; see --include"
