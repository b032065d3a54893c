"""Which runner, with which model: what is asked of the user once, and how it is started."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..engines.registry import ENGINES
from ..errors import CaptureError
from ..extras import has_package, needs
from ..models.made_of import PACKAGES, feed_files, feed_surroundings, model_files
from .layers import RerunError

Kind = str  # an engine of `engines.registry`, or:
EXTERNAL = "external"
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from layertui.capture.runners.child import main; main()"
)
_TIMEOUT = 600.0  # of a program of somebody else's


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """A runner of `kind`: `model` is a Hugging Face directory, or a file that the engine runs,
    `factory` a `package.module:function` that makes a torch module, `command` what starts another
    engine.

    `layers` is how many hidden layers the captured model had (None: all of them). `timeout` is
    in seconds, for the start and for each rerun; None is the kind's own.
    """

    kind: Kind
    model: str | None = None
    factory: str | None = None
    command: str | None = None
    dtype: str | None = None
    device: str = "auto"
    layers: int | None = None
    seed: int = 0
    attention: str | None = None
    module_api: str | None = None
    allow_unsupported: bool = False
    timeout: float | None = None

    def missing(self) -> str | None:
        """What must still be said, as a question; None when the runner can be started."""
        if self.kind == "external":
            return None if self.command else "which command runs this engine's layers again"
        if self.kind == "torch" and self.factory:
            return None
        return None if self.model else "which model made this capture"

    @property
    def seconds(self) -> float:
        """The time that the start and each rerun may take."""
        if self.timeout is not None:
            return self.timeout
        return ENGINES[self.kind].timeout if self.kind in ENGINES else _TIMEOUT

    @property
    def compiles(self) -> bool:
        """Whether a layer may be compiled for minutes before it runs."""
        return self.kind in ENGINES and ENGINES[self.kind].compiles

    def describe(self) -> str:
        """`max from checkpoints/llama`, for a heading."""
        what = self.command if self.kind == "external" else self.factory or self.model
        return f"{self.kind}: {what or '?'}"

    def start_command(self) -> list[str]:
        """What to execute. Raises `RerunError` for a command that is none, and where the
        framework that the layers run in is not installed.
        """
        self.check_installed()
        if self.kind != "external":
            places = [place for place in sys.path if place]  # not the working directory
            return [sys.executable, "-c", _START, json.dumps(places), json.dumps(asdict(self))]
        try:
            words = shlex.split(self.command or "")
        except ValueError as error:
            raise RerunError(f"--runner {self.command}: {error}") from error
        if not words:
            raise RerunError("--runner: an empty command")
        return words

    def check_installed(self) -> None:
        """Before a process is started: what it would say comes late, and in other words.

        Raises `RerunError`, which says how to get what is not installed.
        """
        if self.kind == "torch" and self.factory:
            if not has_package("torch"):
                raise RerunError(needs("torch", "running layers in PyTorch"))
        elif self.kind in ENGINES:
            try:
                ENGINES[self.kind].require("running layers")
            except CaptureError as error:
                raise RerunError(str(error)) from error

    def environment(self) -> dict[str, str]:
        """The environment of the process."""
        environment = dict(os.environ)
        if self.model is not None and os.path.isdir(self.model):
            environment["HF_HUB_OFFLINE"] = "1"  # everything lies in the directory
        return environment

    def absolute(self) -> RunnerSpec:
        """The same with a model path that holds in any working directory."""
        if self.model is None or not os.path.exists(self.model):
            return self
        return replace(self, model=os.path.realpath(self.model))

    def remembered(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)


def spec_from(content: Any) -> RunnerSpec | None:
    """A spec from its JSON form; None for anything else."""
    if not isinstance(content, dict) or content.get("kind") not in (*ENGINES, EXTERNAL):
        return None
    known = {field.name for field in fields(RunnerSpec)}
    texts = ("model", "factory", "command", "dtype", "attention", "module_api")
    if any(not isinstance(content.get(name), str | None) for name in texts):
        return None
    if type(content.get("layers")) not in (int, type(None)) or type(content.get("seed", 0)) != int:  # noqa: E721
        return None
    try:
        return RunnerSpec(**{key: value for key, value in content.items() if key in known})
    except TypeError:
        return None


def identity(spec: RunnerSpec) -> str | None:
    """What results of this runner may be remembered under: its settings, the packages, and the
    sizes and times of the files that it is made of. None where that cannot be told.

    Looked at are the model's directory, the code of the packages that run it, the folder of a
    factory's module, the words of a command that are files.
    """
    digest = blake2b(digest_size=16)
    content = asdict(replace(spec.absolute(), timeout=None))
    digest.update(json.dumps(content, sort_keys=True).encode())
    try:
        feed_files(digest, _files_of(spec))
        feed_surroundings(digest, PACKAGES.get(spec.kind, ()))
    except OSError:
        return None
    return digest.hexdigest()


def _files_of(spec: RunnerSpec) -> Iterator[str]:
    if spec.kind == "external":
        for word in spec.start_command():
            place = shutil.which(word) or word
            if os.path.isfile(place):
                yield place
    if spec.factory is not None:
        yield from _factory_files(spec.factory)
    if spec.model is not None and os.path.isfile(spec.model):
        beside = os.scandir(os.path.dirname(spec.model) or os.curdir)  # weights lie there too
        yield from (entry.path for entry in beside if entry.is_file())
    if spec.model is not None and os.path.isdir(spec.model):
        yield from model_files(spec.model)


def _factory_files(factory: str) -> Iterator[str]:
    """The factory's module and those beside it; its package is not imported to find it."""
    path = factory.partition(":")[0].split(".")
    for place in (str(Path.cwd()), *sys.path):
        stem = Path(place, *path)
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if os.path.isfile(candidate):
                yield from map(str, candidate.parent.glob("*.py"))
                return
