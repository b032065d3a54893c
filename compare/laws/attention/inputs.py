"""What one side recorded around an attention module: queries, keys, values, its mask and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..law import Scene, Site
from ..numerics.quantities import Key, Quantity, SideQuantities
from ..numerics.rounding import unit_of
from ..numerics.sequences import Rows
from ..rotary.frequencies import relaid
from .form import Angles, Material
from .spans import Spans, spans_of

BLOCKED = -1e4  # added to a score, this and less is as good as minus infinity
_ROTARY = "rotary_emb"


@dataclass(frozen=True)
class Recorded:
    """The material of one side, the units of its grids, the rows of the sample that were kept (not
    those that attend to nothing), and the recorded mask that it was given where that is another
    one than the material's.
    """

    material: Material
    units: dict[str, float]
    kept: Array
    own_bias: Array | None = None


def read_material(
    scene: Scene, site: Site, side: SideQuantities, rows: Array, widths: Mapping[str, slice | Array]
) -> Recorded | None:
    """What a side gave to its attention; None where something is missing or does not fit.

    `widths` are the channels of a fused projection that are queries, keys and values. Raises
    `sample.UNREADABLE`.
    """
    spans = spans_of(scene, site)
    if spans is None:
        return None
    queries, keys, step = spans.queries, spans.keys, site.target.step
    q = _tokens(scene, side, site.source("q"), step, spans.count, widths.get("q"), rows)
    parts = [over_steps(scene, side, site, name, spans, widths.get(name)) for name in ("k", "v")]
    if q is None or any(part is None for part in parts):
        return None
    k, v = (part for part in parts if part is not None)
    if len(k[0]) != len(keys.sequence) or len(v[0]) != len(keys.sequence):
        return None
    material = Material(
        q[0], k[0], v[0], queries.sequence[rows], keys.sequence, queries.place[rows], keys.place,
        past=spans.past, crossed=spans.crossed,
    )  # fmt: skip
    units = {"q": q[1], "k": k[1], "v": v[1]}
    bias, own = _masks(scene, site, side, queries, keys, rows)
    scores = any(
        q.key.slot.startswith("output") and len(scene.tables.shape(q)) == 4
        for q in side.calls.get((site.module, step, site.target.call), ())
    )
    material = replace(
        material, bias=bias, recorded_scores=scores, padding_only=_padding_only(material, bias)
    )
    if not spans.crossed:  # which turns nothing: places of an encoder are others than these
        material = _with_tables(scene, site, side, material, spans, rows)
    kept = np.arange(len(rows))
    if bias is not None:
        seen = np.isfinite(bias).any(-1) if bias.ndim == 2 else np.isfinite(bias).any((1, 2))
        own_keys = material.sequence_q[:, None] == material.sequence_k[None, :]
        plain = bias if bias.ndim == 2 else bias[:, 0]
        seen &= (np.isfinite(plain) & own_keys).any(-1)
        if not seen.any():
            return None
        kept = np.flatnonzero(seen)
        material = rows_kept(material, kept)
        own = None if own is None else own[kept]
    return Recorded(material, units, kept, own)


def rows_kept(material: Material, kept: Array) -> Material:
    """The material of some of the sampled rows."""
    angles, bias = material.angles, material.bias
    if angles is not None:
        angles = replace(angles, cos_q=angles.cos_q[kept], sin_q=angles.sin_q[kept])
    return replace(
        material, q=material.q[kept], sequence_q=material.sequence_q[kept],
        place_q=material.place_q[kept], bias=None if bias is None else bias[kept], angles=angles,
    )  # fmt: skip


def _token_axes(shape: tuple[int, ...], count: int) -> tuple[int, ...] | None:
    """The order of axes that brings `[tokens, heads, width]`, or a batch of it, from `shape`; None
    where `count` tokens cannot be found in it. Heads may stand before the tokens.
    """
    if len(shape) == 3:
        return (0, 1, 2) if shape[0] == count else (1, 0, 2) if shape[1] == count else None
    if len(shape) == 4:
        if shape[0] * shape[1] == count:
            return (0, 1, 2, 3)
        return (0, 2, 1, 3) if shape[0] * shape[2] == count else None
    return None


def _tokens(
    scene: Scene, side: SideQuantities, source: tuple[Key, ...], step: int, count: int,
    columns: slice | Array | None, rows: Array | None,
) -> tuple[Array, float] | None:  # fmt: skip
    """`[tokens, heads x width]` of a quantity and its unit; only `rows` where given."""
    if not source:
        return None
    quantity = side.known.get(replace(source[0], step=step))
    if quantity is None or not quantity.is_float:
        return None
    if scene.tables.rows(quantity) == count:
        values = scene.tables.read(quantity, rows)
    else:
        axes = _token_axes(scene.tables.shape(quantity), count)
        if axes is None:
            return None
        values = scene.tables.whole(quantity).transpose(axes).reshape(count, -1)
        values = values if rows is None else values[rows]
    values = values if columns is None else values[:, columns]
    return values, unit_of(values, quantity.dtype)


def over_steps(
    scene: Scene, side: SideQuantities, site: Site, name: str, spans: Spans,
    columns: slice | Array | None,
) -> tuple[Array, float] | None:  # fmt: skip
    """Keys or values of all steps of the spans, one behind the other."""
    found: list[tuple[Array, float]] = []
    for step, count in spans.parts:
        part = _tokens(scene, side, site.source(name), step, count, columns, None)
        if part is None:
            return None
        found.append(part)
    return np.concatenate([values for values, _ in found]), max(unit for _, unit in found)


# masks


def _masks(
    scene: Scene, site: Site, side: SideQuantities, queries: Rows, keys: Rows, rows: Array
) -> tuple[Array | None, Array | None]:
    """The reference's mask where it recorded one, else the side's own; and the side's own where it
    is another one than that.
    """
    masks = {one.side: _mask_of(scene, site, one, queries, keys, rows) for one in scene.sides}
    own, first = masks[side.side], masks["reference"]
    if first is None:
        return own, None
    if own is None or own.shape != first.shape or np.array_equal(own, first):
        return first, None
    return first, own


def _mask_of(
    scene: Scene, site: Site, side: SideQuantities, queries: Rows, keys: Rows, rows: Array
) -> Array | None:
    """What a recorded mask adds to the scores of the sampled rows: `[rows, keys]`, by head
    `[rows, heads, keys]`. It is looked for among the inputs of the module and of those around it.
    """
    module, step = site.module, site.target.step
    bias = _bias_of(scene, site, side, queries, keys, rows)
    for owner in (module, parent_of(module), parent_of(parent_of(module)), "model"):
        known = side.calls.get((owner, step, site.target.call), ())
        named = [q for q in known if "mask" in q.key.slot]
        plain = [q for q in known if q not in named and len(scene.tables.shape(q)) == 4]
        plain = [] if bias is not None else plain
        for quantity in (*named, *plain):
            if quantity.key.slot.startswith("input"):
                found = _added(scene, quantity, queries, keys, rows)
                if found is not None:
                    return found if bias is None else _both(bias, found)
    return bias


def _bias_of(
    scene: Scene, site: Site, side: SideQuantities, queries: Rows, keys: Rows, rows: Array
) -> Array | None:
    """The bias of relative positions that T5's layers are given, or the first of them makes and
    returns beside its output; None for what may be probabilities.
    """
    for slot in ("input_position_bias", "output_1"):
        quantity = side.find(site.module, slot, site.target.step, site.target.call)
        if quantity is None or not quantity.is_float or len(scene.tables.shape(quantity)) != 4:
            continue
        values = scene.tables.whole(quantity)
        if slot == "output_1" and not ((values < 0) | (values > 1)).any():
            continue
        known = replace(quantity, key=replace(quantity.key, slot="input_position_bias"))
        found = _added(scene, known, queries, keys, rows)
        if found is not None:
            return found
    return None


def _both(bias: Array, mask: Array) -> Array:
    """A bias that may have the mask in it already, and the mask."""
    if np.isneginf(bias).any():
        return bias
    return bias + (mask[:, None] if mask.ndim < bias.ndim else mask)


def _added(
    scene: Scene, quantity: Quantity, queries: Rows, keys: Rows, rows: Array
) -> Array | None:
    """A mask `[batch, heads, queries, keys]`, or with fewer axes, for the sampled rows."""
    shape = scene.tables.shape(quantity)
    batch = int(keys.sequence.max()) + 1
    if len(shape) not in (2, 3, 4) or shape[0] not in (1, batch) or prod(shape) == 0:
        return None
    shape = (shape[0], *(1,) * (4 - len(shape)), *shape[1:])
    first = int(queries.place.min())
    if shape[2] not in (1, int(queries.place.max()) - first + 1) or shape[3] <= keys.place.max():
        return None
    values = scene.tables.whole(quantity).reshape(shape)
    at = queries.place[rows] - first
    batches = queries.sequence[rows] if shape[0] > 1 else np.zeros(len(rows), int)
    lines = at if shape[2] > 1 else np.zeros(len(rows), int)
    picked = values[batches, :, lines][..., keys.place]  # [rows, heads, keys]
    if quantity.dtype == "bool" or not quantity.is_float:
        picked = _as_added(picked, queries.place[rows], keys.place)
    elif not _is_mask(quantity, picked):
        return None
    picked = np.where(picked <= BLOCKED, -np.inf, picked)
    return picked[:, 0] if picked.shape[1] == 1 else picked


def _is_mask(quantity: Quantity, picked: Array) -> bool:
    """A mask is known by its name, or by holding nothing but zeros and what blocks."""
    if "mask" in quantity.key.slot or "bias" in quantity.key.slot:
        return True
    return bool(((picked == 0) | (picked <= BLOCKED)).all())


def _as_added(picked: Array, places: Array, keys: Array) -> Array:
    """Zeros and ones as what is added: a token always sees itself, which tells what is meant."""
    itself = places[:, None] == keys[None, :]
    own = picked[np.broadcast_to(itself[:, None], picked.shape)]
    keep = picked != 0
    if own.size and np.count_nonzero(own) < own.size / 2:
        keep = ~keep
    return np.where(keep, 0.0, -np.inf)


def _padding_only(material: Material, bias: Array | None) -> bool:
    """Whether all queries of a sequence see the same of their keys, some of them later ones."""
    if bias is None or bias.ndim == 3:
        return False
    for number in np.unique(material.sequence_q):
        part = bias[material.sequence_q == number][:, material.sequence_k == number]
        if not (part == part[:1]).all():
            return False
    later = material.place_k[None] > material.place_q[:, None]
    own = material.sequence_k[None] == material.sequence_q[:, None]
    return bool((np.isfinite(bias) & later & own).any() or not (later & own).any())


# tables of rotary positions


def _with_tables(
    scene: Scene, site: Site, side: SideQuantities, material: Material, spans: Spans, rows: Array
) -> Material:  # fmt: skip
    parts: list[tuple[Array, Array]] = []
    for step, count in spans.parts:
        found = _tables_of(scene, site, side, step)
        pair = [_repeated(table, count) for table in found] if found is not None else []
        if len(pair) != 2 or pair[0] is None or pair[1] is None:
            return material
        parts.append((pair[0], pair[1]))
    cos, sin = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    now = slice(len(cos) - spans.count, None)
    angles = Angles(cos[now][rows], sin[now][rows], cos, sin)
    return replace(material, angles=angles, recorded_angles=True)


def _repeated(table: Array, count: int) -> Array | None:
    """The table of all rows: one for the whole batch is that of each of its sequences."""
    if len(table) == count:
        return table
    if len(table) and count % len(table) == 0:
        return np.tile(table, (count // len(table), 1))
    return None


def _tables_of(
    scene: Scene, site: Site, side: SideQuantities, step: int
) -> tuple[Array, Array] | None:
    """Recorded cos and sin of one step `[rows, width]`, laid out in halves."""
    for module, slots in table_slots(site.module):
        pair = [side.known.get(Key(module, slot, step)) for slot in slots]
        if any(q is None or not q.is_float for q in pair):
            continue
        cos, sin = (scene.tables.whole(q) for q in pair if q is not None)
        if cos.ndim < 2 or cos.shape != sin.shape or not cos.size:
            continue
        return in_halves(cos.reshape(-1, cos.shape[-1])), in_halves(sin.reshape(-1, sin.shape[-1]))
    return None


def table_slots(module: str) -> list[tuple[str, tuple[str, str]]]:
    """Where tables for an attention module may be recorded: given to it, or made by a module of its
    own, or by the model's.
    """
    given = ("input_position_embeddings_0", "input_position_embeddings_1")
    places = [(module, given), (module, ("input_cos", "input_sin"))]
    layer = parent_of(module)
    for owner in dict.fromkeys((f"{module}.{_ROTARY}", f"{layer}.{_ROTARY}", _ROTARY)):
        places += [(owner, ("output", "output_1")), (owner, ("output_0", "output_1"))]
    return places


def in_halves(table: Array) -> Array:
    """A table laid out in halves, whatever its own layout: half as wide, or each twice in a row."""
    half = table.shape[-1] // 2
    if table.shape[-1] % 2 or np.array_equal(table[:, :half], table[:, half:]):
        return table
    if np.array_equal(table[:, ::2], table[:, 1::2]):
        return relaid(table, "interleaved", "half")
    return np.concatenate([table, table], axis=-1)
