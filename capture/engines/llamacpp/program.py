"""`llama-eval-callback`, which llama.cpp builds among its examples: its log is a capture of the
first and last values of each axis, and of sums.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

from ...environment import set_variables
from ...errors import CaptureError
from ...models.run_directory import prepare_directory
from ...models.run_plan import Plan, Watcher
from ...run_metadata import write_metadata
from .ending import last_line

PROGRAM = "llama-eval-callback"
LOG = "eval.log"


def find_program() -> str | None:
    """Where the program is, None where it is not on the PATH."""
    return shutil.which(PROGRAM)


def run_program(
    program: str, plan: Plan, path: str, header: dict[str, Any], watcher: Watcher
) -> None:
    """Run the plan's prompt and keep the log in `path`. Raises `CaptureError`."""
    (case,) = plan.cases
    if case.prompt is None:
        raise CaptureError(f"--input-ids: {PROGRAM} runs a prompt; the extra llamacpp runs ids")
    if plan.include or plan.exclude or plan.level != "module":
        raise CaptureError(f"--include, --exclude, --level: {PROGRAM} prints every value; the "
                           "extra llamacpp chooses")  # fmt: skip
    prepare_directory(path, plan.overwrite)
    note = f"a log of {PROGRAM}: the first and last values of each axis, and sums"
    watcher.say(f"note       {note}; the extra llamacpp records whole tensors")
    watcher.stage(f"running {PROGRAM}", path)
    command = [program, "-m", plan.model, "-p", case.prompt, "-ngl", str(plan.gpu_layers),
               "-fa", "off", "-ctk", "f32", "-ctv", "f32"]  # fmt: skip
    numerics = header.get("environment", {}).get("numerics", {})
    said = {**header, "notes": [note], "complete": False,
            "environment": {"numerics": numerics, "variables": set_variables()}}  # fmt: skip
    log = os.path.join(path, LOG)
    try:
        write_metadata(path, said)
        with open(log, "wb") as file:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file,
                                  stderr=subprocess.STDOUT, check=False)  # fmt: skip
        if done.returncode == 0:
            write_metadata(path, {**said, "complete": True})
            return
        with open(log, "rb") as file:
            words = f": {last_line(file)}" if os.path.getsize(log) else ""
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error
    raise CaptureError(f"{PROGRAM} ended with status {done.returncode}{words} (see {log})")
