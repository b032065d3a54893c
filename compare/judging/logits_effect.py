"""Whether a difference matters: what it comes to in the logits, at the end of the run.

The divergence KL(p || q) of the softmax of reference and candidate (see `measuring.divergence`),
averaged over the tokens; the share of tokens whose likeliest next token is the same; and the first
token that is another one, with the reference's margin there: its greatest logit less its second
(the difference of the two logarithms of probability, in nats).

A run of several steps generated a token at the end of each. What follows on other tokens than the
reference had is not compared: its logits are of another text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ...capture.dtypes import DTYPES
from ...capture.values import Array
from ..aligned import Aligned, Results, side_task
from ..limits import LEAST_VOCABULARY
from ..matching.names.canonical import ROOT
from ..matching.names.roles import role_of
from ..measuring.bounded_sample import UNREADABLE
from ..measuring.divergence import Divergence, divergence_of
from ..measuring.fused import known_float
from ..measuring.kernel import compiled_module
from ..measuring.pair_reader import CancelledError, PairReader, PairTask, SideReader
from ..model import Effect, Measurement, Row
from ..recipes.errors import Shape

AT_ONCE = 1 << 18  # elements of a block: 2 MiB for each of half a dozen float64 arrays
AT_ONCE_COMPILED = 1 << 22  # 15 ms, after which it looks whether to stop
_MOST_MASK = 1 << 24  # elements of an attention mask that is read


def effect_of(
    aligned: Aligned, results: Results, cancelled: Callable[[], bool] | None = None
) -> Effect | None:
    """What the logits of measured rows show. None where none are recorded on both sides,
    where they cannot be read (any more), or where the two sides were given other tokens.

    Raises `CancelledError`.
    """
    found: list[_Step] = []
    rows = logits_rows(aligned, results)
    generated = _generates(results, rows)
    try:
        for row in rows:
            same = _same_tokens(aligned, results, row.step)
            parted = generated and any(step.differs_at_the_end for step in found)
            if same is False or (same is None and parted):
                if generated or not found:
                    break
                continue
            found.append(_step(aligned, results, row, cancelled))
    except UNREADABLE:
        return None
    return _joined(found, generated) if found else None


def logits_rows(aligned: Aligned, results: Results) -> list[Row]:
    """The measured pair of each step that holds its logits: what the model returned, else what its
    head did.
    """
    heads = [row for row in _outputs(aligned, results) if _role(row) == "head"]
    widths = {_shape(results, row)[-1] for row in heads}
    roots = [
        row
        for row in _outputs(aligned, results)
        if row.canonical == ROOT and is_vocabulary(_shape(results, row)[-1], widths, row.slot)
    ]
    chosen: dict[int, Row] = {}
    for row in (*heads, *roots):  # what the model returned comes last: it may be scaled or capped
        before = chosen.get(row.step)
        if before is None or _tokens(results, row) >= _tokens(results, before):
            chosen[row.step] = row
    return [chosen[step] for step in sorted(chosen)]


def is_vocabulary(width: int, widths: set[int], slot: str) -> bool:
    if widths:
        return width in widths
    return "logits" in slot and width >= LEAST_VOCABULARY


def _outputs(aligned: Aligned, results: Results) -> Iterator[Row]:
    """Measured pairs of first calls that have a row of numbers a token, with none left out."""
    for row in aligned.rows:
        result = results.measurements[row.index]
        if row.kind != "pair" or row.call != 1 or row.role != "output":
            continue
        if not isinstance(result, Measurement) or result.partial or not prod(result.shape):
            continue
        kinds = {DTYPES[r.dtype].kind for r in (row.reference, row.candidate) if r and r.dtype}
        if result.shape and kinds == {"float"}:
            yield row


def _role(row: Row) -> str:
    record = row.reference or row.candidate
    return role_of(row.canonical, record.module_class if record is not None else None)


def _shape(results: Results, row: Row) -> Shape:
    result = results.measurements[row.index]
    assert isinstance(result, Measurement)
    return result.shape


def _tokens(results: Results, row: Row) -> int:
    return prod(_shape(results, row)[:-1])


# Steps


@dataclass(frozen=True)
class _Step:
    """The logits of one step by token, `length` tokens a sequence, one sequence after the other."""

    length: int
    kl: Array
    agree: Array  # whether both sides' likeliest token is the same
    margin: Array  # of the reference, where they do not agree
    counted: Array  # False for padding

    @property
    def ends(self) -> Array:
        """The last token of every sequence: what a generated one is chosen by."""
        counted = self.counted.reshape(-1, self.length)
        last = self.length - 1 - counted[:, ::-1].argmax(1)
        return np.arange(len(counted)) * self.length + last

    @property
    def differs_at_the_end(self) -> bool:
        return not bool(self.agree[self.ends].all())

    def position(self, token: int) -> int:
        """Where a flat position stands in its sequence."""
        return token % self.length


def _step(
    aligned: Aligned, results: Results, row: Row, cancelled: Callable[[], bool] | None
) -> _Step:
    counted = _counted(aligned, row, _shape(results, row))
    result = results.measurements[row.index]
    assert isinstance(result, Measurement) and result.reference is not None
    tokens = _tokens(results, row)
    length = tokens // _sequences(results, row)
    if result.identical and not (result.reference.nan or result.reference.inf):
        nothing = np.zeros(tokens)
        return _Step(length, nothing, np.ones(tokens, np.bool_), nothing, counted)
    return _Step(length, *numbers(aligned.task(row.index), cancelled), counted)


def _sequences(results: Results, row: Row) -> int:
    """How many sequences the logits are of. Of a view [rows, vocabulary] a row is a sequence where
    a record of either side has as many: such are the last tokens of a batch.
    """
    shape = _shape(results, row)
    if len(shape) > 2:
        return prod(shape[:-2])
    records = (row.reference, row.candidate)
    batches = {r.shape[0] for r in records if r is not None and r.shape and len(r.shape) == 3}
    tokens = prod(shape[:-1])
    return tokens if tokens in batches else 1


def _joined(steps: Sequence[_Step], generated: bool) -> Effect | None:
    counted = sum(int(step.counted.sum()) for step in steps)
    if not counted:
        return None
    kl = sum(float(step.kl[step.counted].sum()) for step in steps)
    agree = sum(int(step.agree[step.counted].sum()) for step in steps)
    token, margin = _first_differing(steps, generated)
    return Effect(kl / counted, agree / counted, token, margin, counted, generated)


def _first_differing(steps: Sequence[_Step], generated: bool) -> tuple[int | None, float | None]:
    """The number of the first generated token that is another one, from 0; of runs that generate
    none, the first position that another token is the likeliest one after.
    """
    for number, step in enumerate(steps):
        if generated:
            ends = step.ends[~step.agree[step.ends]]
            if ends.size:
                return number, float(step.margin[ends[0]])
            continue
        wrong = np.flatnonzero(~step.agree & step.counted)
        if wrong.size:
            first = min(wrong.tolist(), key=step.position)
            return step.position(first), float(step.margin[first])
    return None, None


def _generates(results: Results, rows: Sequence[Row]) -> bool:
    """Whether each step chose one token a sequence: all behind the first have the logits of one,
    and so has the first where it is alone.
    """
    if not rows:
        return False
    sequences = _sequences(results, rows[0])
    later = rows[1:] or rows
    return all(_tokens(results, row) == sequences for row in later)


# What goes into the model


def _same_tokens(aligned: Aligned, results: Results, step: int) -> bool | None:
    """Whether both sides were given the same token ids; None where that is not recorded."""
    for row in aligned.rows:
        result = results.measurements[row.index]
        if row.step != step or row.role != "input" or not isinstance(result, Measurement):
            continue
        dtype = row.reference.dtype if row.reference is not None else None
        whole = dtype is not None and dtype in DTYPES and DTYPES[dtype].kind == "int"
        if whole and (_role(row) == "embedding" or row.slot.endswith("input_ids")):
            return result.identical
    return None


def _counted(aligned: Aligned, row: Row, shape: Shape) -> Array:
    """Which tokens are no padding, by the attention mask that the model was given [batch, tokens];
    all of them where none is recorded.
    """
    everything = np.ones(prod(shape[:-1]), np.bool_)
    if len(shape) != 3:
        return everything
    for other in aligned.rows:
        record = other.reference
        if record is None or other.step != row.step or _role(other) != "root":
            continue
        fits = record.shape is not None and len(record.shape) == 2 and record.locator is not None
        if not fits or record.dtype is None or not other.slot.endswith("attention_mask"):
            continue
        assert record.shape is not None
        batch, tokens = record.shape
        whole = DTYPES[record.dtype].kind in ("int", "bool")
        if not whole or batch != shape[0] or tokens < shape[1] or batch * tokens > _MOST_MASK:
            continue
        try:
            with PairReader(side_task(record, "", []), None) as reader:
                mask, _, shown = reader.window((Ellipsis,))
        except UNREADABLE:
            continue
        if mask is not None and shown is None and mask.any():
            return np.asarray(mask != 0)[:, tokens - shape[1] :].reshape(-1)
    return everything


# Numbers


def numbers(task: PairTask, cancelled: Callable[[], bool] | None = None) -> Divergence:
    """Of all tokens. Raises `CancelledError` between two blocks, and what `UNREADABLE` has."""
    parts: list[Divergence] = []
    with PairReader(task.reference, task.candidate) as reader, np.errstate(all="ignore"):
        for key in _keys(reader.shape):
            if cancelled is not None and cancelled():
                raise CancelledError
            (x, left), (y, right) = (_plain(side, key) for side in reader.sides.values())
            parts.append(divergence_of(x, y, (left, right), reader.shape[-1]))
    return Divergence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _plain(side: SideReader, key: tuple[slice, ...]) -> tuple[Array, str]:
    """Elements of a side and their dtype: as they lie in the file, if nothing rounds them."""
    piece = side.view[key]
    if not side.recipe.casts and known_float(side.dtype):
        return side.read(piece), side.dtype
    values = side.numbers(piece)
    return np.ascontiguousarray(values), values.dtype.name


def _keys(shape: Shape) -> Iterator[tuple[slice, ...]]:
    """Keys of blocks of rows, at least one row each, in order."""
    if len(shape) < 2:
        yield ()
        return
    most = max(1, (AT_ONCE if compiled_module() is None else AT_ONCE_COMPILED) // shape[-1])
    for outer in np.ndindex(*shape[:-2]):
        before = tuple(slice(at, at + 1) for at in outer)
        for start in range(0, shape[-2], most):
            yield (*before, slice(start, min(start + most, shape[-2])))
