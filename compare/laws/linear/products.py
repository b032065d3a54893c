"""x W^T + b and the rounding of it, block by block of the weight.

With u the unit roundoff of the output's grid, the error of an element is

    s^2 = u^2 (y^2 + sum_j x_j^2 w_j^2) x 0.75^2 / 3,

the output's own rounding and that of one factor of every product. So that the second part costs no
second product of the full size, it is worked out for every channel and the mean row, and how rows
differ in it from some channels, evenly spread, of large weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....capture.dtypes import DTYPES
from ....capture.values import Array
from ...measuring.kernel import compiled_module
from ...weights.parameters import Weight
from ..law import Case, Prediction, Scene
from ..numerics.rounding import ROUNDED, on_grid
from .fused_products import StoredRows, add_products, padded

FINE = 2.0**-20  # units below which products in float32 are too coarse to judge by
_BLOCK = 1 << 18  # elements of a weight at a time: 1 MiB of float32, which a core's cache holds
TELLING_CHANNELS = 1024  # that tell how rows differ: to 2 % of the standard deviation
_COMPILED_BLOCK = 1 << 21  # as they are stored: the compiled pass has blocks of its own
_BLOCK_ROWS = 32  # rows at a time of wider ones: fewer make a matrix product slow

# A change of rows of a weight, given the number of the first: `(first, rows) -> rows`.
BlockChange = Callable[[int, Array], Array]


@dataclass(frozen=True)
class Operand:
    """One side's rows `[rows, in]`; `variance` is that of their error, 0 for recorded ones, `unit`
    the unit roundoff of the product.
    """

    x: Array
    unit: float
    variance: Array | float = 0.0

    @property
    def exact(self) -> bool:
        """Whether float32 products are no finer than what is judged."""
        return self.unit < FINE

    def same_as(self, other: Operand) -> bool:
        """Whether both give the same product."""
        mine, theirs = self.variance, other.variance
        return (
            self.unit == other.unit and np.array_equal(self.x, other.x)
            and (mine is theirs or np.array_equal(np.asarray(mine), np.asarray(theirs)))
        )  # fmt: skip


@dataclass(frozen=True)
class Product:
    """What an operand gives with a weight, without a bias. `squares` `[rows, in]` are those of x
    with its variance in units of rounding; `by_channel[i]` is the sum over inputs of mean squares
    times w^2, `by_input` the sum over some outputs of w^2.
    """

    operand: Operand
    value: Array
    squares: Array
    by_channel: Array
    by_input: Array


def products(
    weight: Weight, bias: Array | None, cases: Sequence[Case], scene: Scene | None = None,
    change: BlockChange | None = None,
) -> list[Prediction]:  # fmt: skip
    """x W^T + b of several cases; each block of the weight is read once. `change` is applied to
    every block as the loader has it (see `loaded_unit`).

    Raises `RecordError`, and `CancelledError` when the scene is cancelled.
    """
    operands = [Operand(case.inputs["x"], case.units["output"]) for case in cases]
    found: list[Prediction] = []
    for one in multiplied_alone(weight, operands, scene, change):
        value = one.value if bias is None else one.value + bias
        row = one.squares @ one.by_input
        found.append(rounded_product(value, row, one.by_channel, one.operand.unit))
    return found


def multiplied_alone(
    weight: Weight, operands: Sequence[Operand], scene: Scene | None = None,
    change: BlockChange | None = None,
) -> list[Product]:  # fmt: skip
    """x W^T of all operands. Each block of the weight is read once for all of them, and operands
    that are the same are multiplied once. Raises as `products` does.
    """
    first_alike = [_first_alike(operands, number) for number in range(len(operands))]
    groups: dict[tuple[float, bool], list[int]] = {}
    for number in dict.fromkeys(first_alike):
        unit = loaded_unit(weight, operands[number].unit)
        groups.setdefault((unit, operands[number].exact), []).append(number)
    growing = [
        _Growing([operands[number] for number in members], weight) for members in groups.values()
    ]
    stored = change is None and all(one.takes_stored for one in growing)
    most = _COMPILED_BLOCK if stored else _BLOCK
    for first, piece, raw in _stored_blocks(weight, scene, most):
        block: Array | None = None
        for one in growing:
            if change is None and one.add_stored(first, raw, piece.dtype):
                continue
            block = piece.numbers(raw) if block is None else block
            one.add(first, block, change)
    found: dict[int, Product] = {}
    for members, one in zip(groups.values(), growing, strict=True):
        found.update(zip(members, one.products(), strict=True))
    return [found[number] for number in first_alike]


def _first_alike(operands: Sequence[Operand], number: int) -> int:
    """The first operand that gives the same product as the one of this number."""
    alike = (at for at in range(number) if operands[at].same_as(operands[number]))
    return next(alike, number)


def read_blocks(weight: Weight, scene: Scene | None) -> Iterator[tuple[int, Array]]:
    """The blocks of a weight; stops with `CancelledError` when the scene is cancelled."""
    for first, piece, raw in _stored_blocks(weight, scene):
        yield first, piece.numbers(raw)


def _stored_blocks(
    weight: Weight, scene: Scene | None, most: int = _BLOCK
) -> Iterator[tuple[int, Weight, Array]]:
    """The same as they are stored; `numbers` of the piece makes numbers of them."""
    inner = weight.shape[-1]
    for found in weight.raw_blocks(max(most, _BLOCK_ROWS * inner)):
        if scene is not None and scene.cancelled is not None and scene.cancelled():
            from ...measuring.pair_reader import CancelledError

            raise CancelledError
        yield found


def loaded_unit(weight: Weight, unit: float) -> float:
    """The unit roundoff of the grid that a loader rounds the weights to: that of the side's
    records, `unit`, where the checkpoint's is finer; 0 where nothing is rounded.
    """
    known = DTYPES.get(weight.dtype)
    stored = known.epsilon / 2 if known is not None and known.epsilon > 0 else 2.0**-24
    return unit if unit > stored and unit <= 2.0**-8 else 0.0


class _Growing:
    """The products of operands as they grow block by block. All of them have the same precision,
    and the loader rounds the weight alike for them.
    """

    def __init__(self, operands: Sequence[Operand], weight: Weight) -> None:
        first = operands[0]
        self._operands = operands
        self._grid = loaded_unit(weight, first.unit)
        self._wide = np.float64 if first.exact else np.float32
        x = np.concatenate([operand.x for operand in operands]).T
        self._x = padded(x.astype(self._wide, copy=False))
        self._squares = [_squares(operand) for operand in operands]
        means = np.stack([squares.mean(0) for squares in self._squares], 1)
        self._means = means.astype(self._wide)
        self._means_by_row = np.ascontiguousarray(self._means.T)
        out, inside = weight.shape
        self._value = np.zeros((out, self._x.shape[1]), self._wide)
        self._by_channel = np.zeros((out, len(operands)), self._wide)
        self._by_input = np.zeros(inside)
        self._step = max(1, out // TELLING_CHANNELS)
        self._space = np.empty(0, self._wide)  # for the squares of a block

    @property
    def takes_stored(self) -> bool:
        """Whether the compiled pass may do it (see `add_stored`)."""
        return not self._grid and self._wide is np.float32 and compiled_module() is not None

    def add_stored(self, first: int, raw: Array, dtype: str) -> bool:
        """Rows `first` and on as they are stored; False where numpy has to do it (see `add`)."""
        if not self.takes_stored:
            return False
        last = first + len(raw)
        stored = StoredRows(raw, dtype, -first % self._step, self._step)
        by_input = np.zeros(len(self._by_input), np.float32)
        into = self._value[first:last], self._by_channel[first:last], by_input
        if not add_products(stored, self._x, self._means_by_row, into):
            return False
        self._by_input += by_input
        return True

    def add(self, first: int, block: Array, change: BlockChange | None = None) -> None:
        """Rows `first` and on of the weight."""
        if self._grid:
            block = on_grid(block, self._grid)
        if change is not None:
            block = change(first, block)
        wide = block.astype(self._wide, copy=False)
        last = first + len(wide)
        np.matmul(wide, self._x, out=self._value[first:last])
        if self._space.size < wide.size:
            self._space = np.empty(wide.size, self._wide)
        square = np.square(wide, out=self._space[: wide.size].reshape(wide.shape))
        some = square[-first % self._step :: self._step]
        self._by_input += np.ones(len(some), some.dtype) @ some
        np.matmul(square, self._means, out=self._by_channel[first:last])

    def products(self) -> Iterator[Product]:
        """Of every operand."""
        start = 0
        for number, operand in enumerate(self._operands):
            own = slice(start, start + len(operand.x))
            start = own.stop
            value = np.ascontiguousarray(self._value[:, own].T, np.float64)
            by_channel = self._by_channel[:, number].astype(np.float64)
            yield Product(operand, value, self._squares[number], by_channel, self._by_input)


def _squares(operand: Operand) -> Array:
    """Mean squares of the inputs, their errors in units of rounding included."""
    squares = np.square(operand.x)
    if not np.any(operand.variance):
        return squares
    return squares + np.asarray(operand.variance) / (ROUNDED * operand.unit) ** 2


def rounded_product(
    value: Array, row: Array, by_channel: Array, unit: float, mean: float | None = None
) -> Prediction:
    """`by_channel[i]` is the sum of w^2 times mean x^2 over all inputs; a row's is as many times
    that as `row[r]` is of the `mean` row, the mean of `row` where it is not given.
    """
    mean = (float(row.mean()) if mean is None else mean) or 1.0
    spread = (row / mean)[:, None] * by_channel[None, :]
    spread += np.square(value)
    np.sqrt(spread, out=spread)
    spread *= unit * ROUNDED
    return Prediction(value, spread)
