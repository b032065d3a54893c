"""Laws held against their places on an executor: a task is some places, and the answer is their
local errors.

What is read for a place stays where it was read; where a cause is looked for afterwards, it is read
again here.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from ..laws.evaluate import Place, one_by_one
from ..laws.evaluation import Evaluation
from ..laws.law import Scene, Site
from ..laws.registry import LAWS
from ..tasks.on_executor import answer_of, in_parts, packed

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
        given = packed(replace(scene, cancelled=None))
        parts = in_parts([(law.name, sites) for law, sites in places], self.workers * _PARTS)
        flying = [(part, self.executor.submit(evaluate_places, given, part)) for part in parts]
        try:
            for part, future in flying:
                yield from answer_of(future, scene.cancelled) or evaluate_places(given, part)
        finally:
            for _, future in flying:
                future.cancel()


def evaluate_places(parcel: bytes, places: Sequence[NamedPlace]) -> list[Evaluation | None]:
    """On a worker: the places of a scene that was packed."""
    scene: Scene = pickle.loads(parcel)
    laws = {law.name: law for law in LAWS}
    found = one_by_one(scene, [(laws[name], sites) for name, sites in places])
    return [one and replace(one, cases=None) for one in found]
