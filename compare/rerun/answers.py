"""A runner that is only started for what it was not asked before.

Its answers are kept by what they are answers to: the layer, the tensors that went in (their bytes),
the call. Errors are not kept: the layer is asked again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...capture.records import Locator
from ...capture.runners.guard import Guard
from ...capture.runners.layers import RerunError
from ...capture.runners.process import RunnerProcess, located_in
from ...capture.runners.protocol import Answer, Hello, decode, encode, read_hello
from .kept import KeptRuns
from .remembered import hello_message

Progress = Callable[[str], None]
Cancelled = Callable[[], bool]
_HELLO, _ANSWERS = "hello.json", "answers.json"


class KeptAnswers:
    """The answers of a runner of identity `key`: those of earlier runs, and new ones."""

    def __init__(self, kept: KeptRuns, key: str, folder: Path, *, use: bool = True) -> None:
        """Take what is kept, if it is of `use`, into `folder`, which must not exist."""
        self._kept, self.key, self._folder = kept, key, folder
        self.made = kept.take(key, folder) if use else None
        self.hello: Hello | None = None
        self._answers: dict[str, dict[str, Any]] = {}
        self.reused = self.new = 0
        if self.made is not None:
            self._read()
        folder.mkdir(parents=True, exist_ok=True)

    def _read(self) -> None:
        try:
            self.hello = read_hello(decode((self._folder / _HELLO).read_bytes()))
            self._answers = json.loads((self._folder / _ANSWERS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RerunError):
            self.hello, self._answers = None, {}

    def find(self, digest: str, into: Path) -> tuple[Answer, dict[str, Locator]] | None:
        """An earlier answer, its tensors copied to `into`."""
        known = self._answers.get(digest)
        if known is None:
            return None
        try:
            shutil.copyfile(self._folder / f"{digest}.safetensors", into)
            found = located_in(into)
            outputs = {slot: found[slot] for slot in known["slots"]}
            answer = Answer(known["seconds"], known["compile_seconds"], tuple(outputs))
        except (OSError, RerunError, KeyError, TypeError):
            return None
        self.reused += 1
        return answer, outputs

    def add(self, digest: str, answer: Answer, outputs: Mapping[str, Locator], into: Path) -> None:
        """A new answer, whose tensors lie in `into`."""
        shutil.copyfile(into, self._folder / f"{digest}.safetensors")
        self._answers[digest] = {**asdict(answer), "slots": list(outputs)}
        self.new += 1

    def greet(self, hello: Hello) -> None:
        """What the runner says of itself now; answers of one that said something else go."""
        if hello != self.hello:
            self._answers.clear()
        self.hello = hello

    def keep(self) -> None:
        """Keep all of them for later runs, if there are new ones."""
        if self.new and self.hello is not None:
            (self._folder / _HELLO).write_bytes(encode(hello_message(self.hello)))
            (self._folder / _ANSWERS).write_text(json.dumps(self._answers), encoding="utf-8")
            self._kept.keep(self.key, self._folder)


class AnsweringProcess(RunnerProcess):
    """A runner's process, started when something is asked that `answers` do not hold."""

    def __init__(
        self, command: Sequence[str], guard: Guard, answers: KeptAnswers, **more: Any
    ) -> None:
        super().__init__(command, guard, **more)
        self._answers = answers

    @property
    def alive(self) -> bool:
        """True while it can be asked, started or not."""
        return self.hello is not None and (self.pid is None or super().alive)

    def start(self, progress: Progress, cancelled: Cancelled) -> Hello:
        if self._answers.hello is not None:
            self.hello = self._answers.hello
            return self.hello
        return self._started(progress, cancelled)

    def rerun(
        self, layer: str, tensors: Path, into: Path, progress: Progress, cancelled: Cancelled,
        call: dict[str, Any] | None = None,
    ) -> tuple[Answer, dict[str, Locator]]:  # fmt: skip
        digest = _digest(layer, tensors, call)
        known = self._answers.find(digest, into)
        if known is not None:
            return known
        if self.pid is None:
            self._started(progress, cancelled)
        answer, outputs = super().rerun(layer, tensors, into, progress, cancelled, call)
        self._answers.add(digest, answer, outputs, into)
        return answer, outputs

    def _started(self, progress: Progress, cancelled: Cancelled) -> Hello:
        hello = super().start(progress, cancelled)
        self._answers.greet(hello)
        return hello


def _digest(layer: str, tensors: Path, call: dict[str, Any] | None) -> str:
    digest = blake2b(json.dumps([layer, call], sort_keys=True).encode(), digest_size=16)
    digest.update(tensors.read_bytes())
    return digest.hexdigest()
