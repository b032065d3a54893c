"""Rows or columns of a projection's weight in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ...weights.fused_weights import head_counts, text_config
from ..law import Hypothesis, Prediction
from ..numerics import permutations
from ..numerics.permutations import Order
from ..output_orders import MOST_CHANNELS, order_of
from .bench import Bench, Probe
from .matching_columns import column_order

_ROWS_OF_SEARCH = 24  # rows that orders of groups are looked for with
_MOST_GROUPS = 64
_STEPS = 256  # exchanges of two groups
_PARTS_LEFT = 0.36  # of the squared error that parts from other places may leave


def known_rows(bench: Bench) -> Iterator[Hypothesis]:
    """Output channels in an order that loaders are known to mix up, with or without the bias."""
    counts = head_counts(bench.scene.config)
    shared = counts[1] if counts is not None else 1
    width = bench.base.value.shape[1]
    orders = [*permutations.of_outputs(width, bench.heads, shared, _rotated(bench))]
    orders += _joined(bench, width)
    bias = bench.bias if bench.bias is not None and bench.bias.any() else None
    channels = bench.probe.channels
    for order in orders:
        for moved in (False, True) if bias is not None else (False,):
            value = bench.base.value[:, order.order[channels]]
            if moved and bias is not None:
                value = value + (bias - bias[order.order])[channels]
            if not bench.probe.promising(value):
                continue
            words = " (the bias is in its own order)" if moved else ""
            yield _rows(bench, order, words, bias if moved else None)


def any_rows_but_bias(bench: Bench) -> Iterator[Hypothesis]:
    """Output channels of the weight in any order while the bias stays as it is: each is found by
    what it correlates with. (Where the bias moves, too, so does the output.)
    """
    bias, value = bench.bias, bench.base.value
    if bias is None or not bias.any() or len(value) < 8 or value.shape[1] > MOST_CHANNELS:
        return
    order = order_of(value, bench.recorded)
    if order is None:
        return
    moved = value[:, order] + (bias - bias[order])
    channels = bench.probe.channels
    if bench.probe.promising(moved[:, channels]):
        count = np.count_nonzero(order != np.arange(len(order)))
        words = f"{count} of {len(order)} output channels of the weight are in a different order"
        yield _rows(bench, Order("row-order", words, order), ", the bias is not", bias)


def _rows(bench: Bench, order: Order, words: str, bias: Array | None) -> Hypothesis:
    def predict() -> Prediction:
        value = bench.base.value[:, order.order]
        value = value if bias is None else value + (bias - bias[order.order])
        return Prediction(value, bench.spread[:, order.order])

    return Hypothesis(
        order.name, f"{order.words}{bench.where}{words}", predict, "order", "0, 1, 2, ...",
        shown(order.order),
    )  # fmt: skip


def _rotated(bench: Bench) -> list[int]:
    """How many channels of a head are rotated, where the config says that it is a part."""
    config = text_config(bench.scene.config)
    counts = head_counts(bench.scene.config)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found = config.get("partial_rotary_factor") or config.get("rotary_pct")
    found = found or (rope.get("partial_rotary_factor") if isinstance(rope, dict) else None)
    size = config.get("rotary_dim")
    if isinstance(size, int):
        return [size]
    if counts is None or not isinstance(found, int | float):
        return []
    return [int(counts[2] * found)]


def _joined(bench: Bench, width: int) -> Iterator[Order]:
    """Orders of a projection that joins several."""
    role = bench.scene.reference.role(bench.module)
    counts = head_counts(bench.scene.config)
    if role == "gate_up" and width % 2 == 0:
        yield from permutations.of_parts([width // 2] * 2, ("gate", "up"), ())
    if role != "query_key_value" or counts is None:
        return
    heads, shared, size = counts
    widths = [heads * size, shared * size, shared * size]
    if sum(widths) == width:
        yield from permutations.of_parts(widths, ("q", "k", "v"), (heads, shared))


def row_parts(bench: Bench) -> Iterator[Hypothesis]:
    """Equal parts of the output channels (shards, heads), each taken from another place: one that
    is there twice, or in another order.
    """
    value, weight = bench.base.value, 1.0 / np.square(np.maximum(bench.spread, 1e-300))
    width = value.shape[1]
    for parts in dict.fromkeys((2, 4, 8, bench.heads)):
        if parts < 2 or width % parts or width == parts:
            continue
        sizes = (len(value), parts, width // parts)
        y, w, v = (a.reshape(sizes) for a in (bench.recorded, weight, value))
        left = np.stack([(w * np.square(y - v[:, [p]])).sum((0, 2)) for p in range(parts)])
        source = left.argmin(0)  # of each part of the output, the part of the law it is like
        own = np.arange(parts)
        after, before = left[source, own].sum(), left[own, own].sum()
        if np.array_equal(source, own) or after > _PARTS_LEFT * before:
            continue
        order = np.arange(width).reshape(parts, -1)[source].reshape(-1)
        twice = len(np.unique(source)) < parts
        name = "head-order" if parts == bench.heads and not twice else "row-order"
        what = "heads" if parts == bench.heads else "equal parts of the output channels"
        words = f"the {parts} {what} are those of {shown(source)}"
        yield _rows(bench, Order(name, words, order), "", None)
        return


def known_columns(bench: Bench) -> Iterator[Hypothesis]:
    """Input channels in an order that loaders are known to mix up."""
    counts = head_counts(bench.scene.config)
    width = bench.x.shape[1]
    heads, shared = (1, 1)
    if counts is not None and bench.scene.reference.role(bench.module) == "attention_output":
        heads, shared = counts[0], counts[1]
    for order in permutations.of_inputs(width, heads, shared):
        if bench.tried(lambda p, o=order: _columns(p, o.order)):
            yield _moved_columns(bench, order.name, order.words, order.order)


def _columns(probe: Probe, order: Array) -> Array:
    return probe.x[:, order] @ probe.weight.T + probe.bias


def _moved_columns(bench: Bench, name: str, words: str, order: Array) -> Hypothesis:
    return Hypothesis(
        name, f"{words}{bench.where}", lambda: bench.product(bias=bench.bias, x=bench.x[:, order]),
        "order", "0, 1, 2, ...", shown(order),
    )  # fmt: skip


def column_groups(bench: Bench) -> Iterator[Hypothesis]:
    """Equal parts of the input channels (heads, shards) in any order, found by exchanging two at a
    time.
    """
    counts = head_counts(bench.scene.config)
    width, probe = bench.x.shape[1], bench.probe
    role = bench.scene.reference.role(bench.module)
    heads = counts[0] if counts is not None and role == "attention_output" else 0
    for groups in dict.fromkeys((2, 4, 8, heads)):
        if not 1 < groups <= _MOST_GROUPS or width % groups or width == groups:
            continue
        order = group_order(probe, groups)
        if order is None:
            continue
        size = width // groups
        columns = (order[:, None] * size + np.arange(size)).reshape(-1)
        if not probe.promising(_columns(probe, columns)):
            continue
        what = "heads" if groups == heads else f"{groups} equal parts"
        moved = int(np.count_nonzero(order != np.arange(groups)))
        words = f"{moved} of {groups} heads of the input are in a different order ({shown(order)})"
        if groups != heads:
            words = f"the input channels' {what} are in a different order ({shown(order)})"
        name = "head-order" if groups == heads else "column-order"
        yield _moved_columns(bench, name, words, columns)
        return


@dataclass
class _Search:
    """Products of every group of the input with every group of the weight; which order of the
    input's groups is nearest to what was recorded.
    """

    parts: Array  # [group of x, group of w, elements]
    target: Array

    def left(self, order: Array) -> Array:
        return self.target - self.parts[order, np.arange(len(order))].sum(0)

    def best_exchange(self, order: Array, left: Array) -> tuple[float, int, int]:
        """The exchange of two groups that takes most of the squared error away."""
        places = np.arange(len(order))
        current = self.parts[order, places]
        best = (0.0, 0, 0)
        for a in range(len(order) - 1):
            b = places[a + 1 :]
            change = (
                self.parts[order[b], a] + self.parts[order[a], b] - current[a] - current[a + 1 :]
            )
            gain = 2 * change @ left - np.square(change).sum(1)
            at = int(gain.argmax())
            if gain[at] > best[0]:
                best = (float(gain[at]), a, int(b[at]))
        return best


def group_order(probe: Probe, groups: int) -> Array | None:
    """Which group of the input each group of the weight was multiplied with; None where no order
    does better than the own one.
    """
    rows = np.argsort(np.square(probe.residual / np.maximum(probe.spread, 1e-300)).sum(1))
    rows = rows[::-1][:_ROWS_OF_SEARCH]
    scale = 1.0 / np.maximum(probe.spread[rows], 1e-300)
    x = probe.x[rows].reshape(len(rows), groups, -1).transpose(1, 0, 2)
    w = probe.weight.reshape(len(probe.weight), groups, -1).transpose(1, 2, 0)
    parts = np.einsum("ars,bsc->abrc", x, w, optimize=True) * scale
    parts = parts.reshape(groups, groups, -1)
    target = np.where(probe.fine[rows], probe.y[rows] - probe.bias, 0.0) * scale
    search = _Search(parts, target.reshape(-1))
    order = np.arange(groups)
    for _ in range(_STEPS):
        left = search.left(order)
        gain, a, b = search.best_exchange(order, left)
        if gain <= 1e-9 * float(np.square(left).sum()):
            break
        order[[a, b]] = order[[b, a]]
    return None if np.array_equal(order, np.arange(groups)) else order


def any_columns(bench: Bench) -> Iterator[Hypothesis]:
    """Single input channels in another order, where the outputs determine which."""
    order = column_order(bench)
    if order is None or _of_parts(bench, order) or not bench.tried(lambda p: _columns(p, order)):
        return
    moved = int(np.count_nonzero(order != np.arange(len(order))))
    words = f"{moved} of {len(order)} input channels are in a different order"
    yield _moved_columns(bench, "column-order", words, order)


def _of_parts(bench: Bench, order: Array) -> bool:
    """Whether an order of channels moves equal parts as wholes, which `column_groups` has found."""
    counts = head_counts(bench.scene.config)
    for groups in (2, 4, 8, counts[0] if counts is not None else 0):
        if 1 < groups < len(order) and len(order) % groups == 0:
            parts = order.reshape(groups, -1)
            if (np.diff(parts, axis=1) == 1).all():
                return True
    return False


def shown(order: Array) -> str:
    """The first numbers of an order."""
    return ", ".join(map(str, order[:8])) + (", ..." if len(order) > 8 else "")


def parts_of(bench: Bench) -> list[tuple[str, slice]]:
    """The parts of a joined projection by their canonical names, with their rows; `[]` where they
    are not known.
    """
    names = {
        "query_key_value": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj"),
    }.get(bench.scene.reference.role(bench.module), ())  # fmt: skip
    parameters = bench.scene.parameters
    if not names or parameters is None:
        return []
    parent, found, start = parent_of(bench.module), [], 0
    for name in names:
        weight = parameters.weight(f"{parent}.{name}")
        if weight is None:
            return []
        found.append((f"{parent}.{name}", slice(start, start + weight.shape[0])))
        start += weight.shape[0]
    return found if start == bench.weight.shape[0] else []
