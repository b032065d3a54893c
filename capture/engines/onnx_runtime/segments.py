"""All values of a graph, some at a time: every node runs once, and memory stays bounded.

The graph is cut into segments in its own order. A segment is given what later nodes of earlier
segments left for it; values that nobody needs any longer are let go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .parts import Runtime

BATCH_BYTES = 256 << 20  # of wanted values that a segment is to give
_FIRST, _MOST = 8, 512  # wanted values of a segment: at first, and however small they are


def run_all(
    runtime: Runtime, wanted: Iterable[str], given: Mapping[str, Any], batch: int = BATCH_BYTES
) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Run the graph on the inputs `given`. After each segment: how many nodes have run, the wanted
    values that it made, and every value that is held. Raises `CaptureError`.
    """
    index = runtime.index
    wanted = set(wanted)
    held: dict[str, Any] = dict(given)
    last = {value: users[-1] for value, users in index.users.items()}
    count, begin = _FIRST, 0
    while begin < len(index.nodes):
        end, made = _segment(runtime, begin, count, wanted)
        values = [v for n in range(begin, end) for v in _kept(runtime, n, end, wanted, last)]
        if values:
            results = dict(zip(values, runtime.run(values, held), strict=True))
        else:
            results = {}
        held.update(results)
        found = {value: results[value] for value in made if value in results}
        yield end, found, held
        size = sum(_bytes(value) for value in found.values())
        room = int(len(found) * batch / size) if size else _MOST
        count = max(1, min(room, count * 4, _MOST))
        for value in [v for v in held if last.get(v, -1) < end]:
            del held[value]
        begin = end


def _segment(
    runtime: Runtime, begin: int, count: int, wanted: set[str]
) -> tuple[int, list[str]]:  # fmt: skip
    """Where the segment from `begin` on ends, and the wanted values in it."""
    index = runtime.index
    made: list[str] = []
    end = begin
    while end < len(index.nodes) and len(made) < count:
        made += [value for value in index.outputs[end] if value in wanted]
        end += 1
    return end, made


def _kept(
    runtime: Runtime, number: int, end: int, wanted: set[str], last: Mapping[str, int]
) -> list[str]:
    """Of a node's values those that are wanted, or taken behind the segment."""
    index = runtime.index
    if index.is_constant(number):  # computed with whoever takes it
        return [value for value in index.outputs[number] if value in wanted]
    return [v for v in index.outputs[number] if v in wanted or last.get(v, -1) >= end]


def _bytes(value: Any) -> int:
    try:
        return int(value.tensor_size_in_bytes())
    except Exception:  # no tensor
        return 0
