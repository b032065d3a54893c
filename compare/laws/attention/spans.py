"""Which tokens ask and which are looked at: those of this step and of all before it, or, in cross
attention, those of an encoder, which are the same in every step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from ..law import Scene, Site
from ..numerics.sequences import Rows, rows_of, sequence_lengths

_CROSS = re.compile(r"(?i)encoder_attn|encdec|cross_?att")


@dataclass(frozen=True)
class Spans:
    """Sequence and place of all queries of a step and of all keys that they may see; `count` is how
    many tokens the step has, `parts` which steps recorded those keys, and how many each. `crossed`:
    they are those of an encoder.
    """

    queries: Rows
    keys: Rows
    count: int
    parts: tuple[tuple[int, int], ...]
    crossed: bool = False

    @property
    def past(self) -> int:
        """Keys of earlier steps, which stand first."""
        return 0 if self.crossed else len(self.keys.place) - self.count


def spans_of(scene: Scene, site: Site, name: str = "k") -> Spans | None:
    """The spans of attention; `name` is the source whose record tells how many tokens an encoder
    has. None where a step is not recorded, or batches do not fit.
    """
    step, keys = site.target.step, site.source(name)
    if keys and _CROSS.search(keys[0].module):
        return _of_an_encoder(scene, site, name)
    counts = _token_counts(scene, site)
    if counts is None:
        return None
    parts = tuple(enumerate(counts))
    found = _rows(scene, site, parts)
    if found is None:
        return None
    every = Rows(
        np.concatenate([r.sequence for r in found]), np.concatenate([r.place for r in found])
    )
    return Spans(found[step], every, counts[step], parts)


def _of_an_encoder(scene: Scene, site: Site, name: str) -> Spans | None:
    step, (source, *_) = site.target.step, site.source(name)
    target = scene.reference.known.get(site.target)
    for earlier in range(step, -1, -1):  # an encoder runs once: its keys are kept
        key = replace(source, step=earlier)
        known = scene.reference.known.get(key)
        if known is None or target is None:
            continue
        count, keys = scene.tables.rows(target), scene.tables.rows(known)
        lengths = [sequence_lengths(scene, site.target, count), sequence_lengths(scene, key, keys)]
        if len(lengths[0]) != len(lengths[1]):
            return None
        rows = [rows_of(each, np.zeros(len(each), np.int64)) for each in lengths]
        return Spans(rows[0], rows[1], count, ((earlier, keys),), crossed=True)
    return None


def _rows(scene: Scene, site: Site, parts: tuple[tuple[int, int], ...]) -> list[Rows] | None:
    """Sequence and place of the tokens of every step."""
    lengths = [
        sequence_lengths(scene, replace(site.target, step=step), count) for step, count in parts
    ]
    if len({len(each) for each in lengths}) != 1:
        return None
    past = np.zeros(len(lengths[0]), np.int64)
    found: list[Rows] = []
    for each in lengths:
        found.append(rows_of(each, past))
        past = past + each
    return found


def _token_counts(scene: Scene, site: Site) -> list[int] | None:
    """How many tokens this step and each before it had: the rows that attention gave."""
    found = []
    for step in range(site.target.step + 1):
        known = scene.reference.known.get(replace(site.target, step=step))
        if known is None:
            return None
        found.append(scene.tables.rows(known))
    return found
