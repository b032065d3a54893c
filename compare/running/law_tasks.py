"""Laws held against their places on an executor: a task is some places, and the answer is their
local errors.

What is read for a place stays where it was read; where a cause is looked for afterwards, it is read
again here.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from typing import Any

from ...capture.records import Locator
from ..laws.evaluate import Place, one_by_one
from ..laws.evaluation import Evaluation
from ..laws.law import Scene, Site
from ..laws.registry import LAWS
from ..measuring.pair_reader import CancelledError
from ..tasks.elsewhere import with_whole_path

_LOOK = 0.05  # seconds between two looks whether to stop
_PARTS = 4  # tasks for each worker: places take unequal times
NamedPlace = tuple[str, list[Site]]
"""The name of a law, and the alternatives of one target."""


@dataclass(frozen=True, slots=True)
class OnExecutor:
    """Evaluates places as `laws.evaluate.one_by_one` does, `workers` tasks at a time."""

    executor: Executor
    workers: int

    def __call__(self, scene: Scene, places: Sequence[Place]) -> Iterator[Evaluation | None]:
        """In the order of `places`. Raises `CancelledError`. A part that a worker fails is
        evaluated here.
        """
        packed = _packed(scene)
        parts = _parts([(law.name, sites) for law, sites in places], self.workers * _PARTS)
        flying = [(part, self.executor.submit(evaluate_places, packed, part)) for part in parts]
        try:
            for part, future in flying:
                yield from _answer(future, scene) or evaluate_places(packed, part)
        finally:
            for _, future in flying:
                future.cancel()


def evaluate_places(packed: bytes, places: Sequence[NamedPlace]) -> list[Evaluation | None]:
    """On a worker: the places of a scene that was packed."""
    scene: Scene = pickle.loads(packed)
    laws = {law.name: law for law in LAWS}
    found = one_by_one(scene, [(laws[name], sites) for name, sites in places])
    return [one and replace(one, cases=None) for one in found]


def _answer(future: Future[list[Evaluation | None]], scene: Scene) -> list[Evaluation | None]:
    """What a worker found; empty where it could not."""
    while True:
        if scene.cancelled is not None and scene.cancelled():
            raise CancelledError
        try:
            return future.result(_LOOK)
        except FutureTimeout:
            done = future.done() and not future.cancelled()
            if done and future.exception() is not None:  # the task itself raised it
                return []
        except Exception:
            return []


def _parts(places: list[NamedPlace], most: int) -> list[list[NamedPlace]]:
    size = -(-len(places) // most) or 1
    return [places[at : at + size] for at in range(0, len(places), size)]


class _Packer(pickle.Pickler):
    """Records are found from whatever directory a worker works in."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Locator:
            return NotImplemented
        whole = with_whole_path(obj)
        return NotImplemented if whole.path == obj.path else whole.__reduce_ex__(4)


def _packed(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(replace(scene, cancelled=None))
    return buffer.getvalue()
