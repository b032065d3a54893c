"""Interleaved stages of a pipeline: every rank has several chunks of layers, in a list, and counts
the layers of each from 0 (`0.layers.1`, `module.1.decoder.layers.0`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ...plurals import counted
from ...records import Record
from ..coordinates import STAGE, Places

_CHUNK = re.compile(r"^(?P<around>(?:(?:model|module)[./])?)(?P<chunk>\d{1,3})[./](?=[A-Za-z])")
LAYER = re.compile(r"(?:^|(?<=[./]))(?:layers|h|blocks)[./](\d{1,6})(?=$|[./(-])")


def number_chunks(records: Sequence[Record], places: Places) -> list[str]:
    """Give layers the numbers of the whole model, in place, and leave out the chunk's; what was
    done, in words. Chunk c of stage s stands behind all stages' chunks before c.
    """
    layers: dict[tuple[int, int], set[int]] = defaultdict(set)
    for record in records:
        layer, chunk = LAYER.search(record.module), _CHUNK.search(record.module)
        if record.rank is None or layer is None:
            continue
        stage = places.get(record.rank, {}).get(STAGE)
        if stage is None or chunk is None or chunk.end() > layer.start():
            return []
        layers[stage, int(chunk["chunk"])].add(int(layer[1]))
    stages, chunks = ({key[at] for key in layers} for at in (0, 1))
    sizes = {len(numbers) for numbers in layers.values()}
    whole = len(layers) == len(stages) * len(chunks) and len(sizes) == 1
    counted_from_0 = all(numbers == set(range(len(numbers))) for numbers in layers.values())
    if not whole or not counted_from_0 or min(len(stages), len(chunks)) < 2:
        return []
    if stages != set(range(len(stages))) or chunks != set(range(len(chunks))):
        return []
    (size,) = sizes
    for record in records:
        chunk = _CHUNK.search(record.module)
        if record.rank is not None and chunk is not None:
            stage = places[record.rank][STAGE]
            before = (int(chunk["chunk"]) * len(stages) + stage) * size
            record.module = _renumbered(record.module, before)
            record.name = _renumbered(record.name, before)
    said = f"pipeline of {counted(len(stages), 'stage')} of {counted(len(chunks), 'chunk')} each"
    return [f"{said}: layers are numbered through"]


def _renumbered(name: str, before: int) -> str:
    """Without the chunk's number, and with so much more as the layer's."""
    name = _CHUNK.sub(lambda found: found["around"], name)
    layer = LAYER.search(name)
    if layer is None:
        return name
    return f"{name[: layer.start(1)]}{int(layer[1]) + before}{name[layer.end(1) :]}"
