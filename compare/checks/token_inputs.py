"""Whether two captures ran on the same tokens: their prompts, token ids and positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ...capture.plurals import counted
from ...capture.records import Capture, Record
from ...capture.values import Array
from ..comparison import Comparison
from ..matching.names.roles import is_embedded, is_embedding
from ..matching.token_facts import Kind, kind_of_record, small_values
from ..measuring.measure import measure
from ..measuring.pair_reader import CancelledError
from ..measuring.per_token import TokenRows, token_rows
from ..model import Failure, Measurement, Row
from .finding import Finding, quoted

_MOST_IDS = 1 << 20
_MOST_EMBEDDED = 1 << 24  # elements of an embedding's output that is read to find the same tokens
_APART = 0.5  # relative error of an embedding's row from which it is another token's
_MOST_EXTRA = 64  # tokens that one side may have more of, in front or behind, to be found
_ADVICE = "stop here and run both on the same input: no other difference means anything"


def different_inputs(comparison: Comparison) -> Iterator[Finding]:
    """Prompts and token ids, as the captures record them and as they went into the embedding."""
    ref, cand = comparison.reference, comparison.candidate
    if ref.prompt is not None and cand.prompt is not None and ref.prompt != cand.prompt:
        words = f"different prompts: {quoted(ref.prompt)} and {quoted(cand.prompt)}"
        yield Finding("error", "inputs", words, _ADVICE)
    found = list(_recorded(comparison, "ids", "token ids"))
    yield from found
    if not found:
        yield from _recorded(comparison, "positions", "positions")
    if any(row.kind == "pair" and tells(row, "ids") for row in comparison.rows):
        return
    left, right = _ids(ref), _ids(cand)
    if left is not None and right is not None:
        words = ids_apart(left, right)
        if words:
            yield Finding("error", "inputs", f"different token ids: {words}", _ADVICE)
        return
    yield from _embedded(comparison)


def tells(row: Row, kind: Kind) -> bool:
    """Whether both records of a row say `kind` of the tokens, in whole numbers."""
    records = (row.reference, row.candidate)
    if not all(r is not None and (r.dtype or "").startswith(("int", "uint")) for r in records):
        return False
    if any(r is not None and kind_of_record(r) == kind for r in records):
        return True
    return kind == "ids" and row.role == "input" and is_embedding(row.canonical)


def _recorded(comparison: Comparison, kind: Kind, words: str) -> Iterator[Finding]:
    """The first pair of records of a kind that differ."""
    for row in comparison.rows:
        if row.kind != "pair" or not tells(row, kind):
            continue
        apart = how_different(comparison, row)
        if apart:
            names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
            step = f" in step {row.step}" if row.step else ""
            yield Finding("error", "inputs", f"different {words}{step}: {apart}", _ADVICE,
                          records=names)  # fmt: skip
            return


def how_different(comparison: Comparison, row: Row) -> str:
    """How two records of token ids differ, in words; empty where they do not."""
    if not comparison.measurable(row.index):
        sides = [None if r is None else _read(r) for r in (row.reference, row.candidate)]
        if sides[0] is None or sides[1] is None:
            return row.problem or ""
        return ids_apart(sides[0], sides[1]) or row.problem or ""
    result = comparison.measurements[row.index] or measure(comparison.task(row.index))
    if not isinstance(result, Measurement):
        return result.reason if isinstance(result, Failure) else ""
    if not result.mismatched:
        return ""
    at = list(result.max_abs_index or ())
    values = result.max_abs_values or (0.0, 0.0)
    one, other = values
    return f"{result.mismatched} of {result.count}, such as {one:.0f} and {other:.0f} at {at}"


def _ids(capture: Capture) -> list[int] | None:
    """The token ids of the first step: as recorded, else what went into the embedding."""
    if capture.input_ids is not None:
        return _flat(capture.input_ids)
    for record in capture.records:
        if record.step != 0 or not (record.dtype or "").startswith(("int", "uint")):
            continue
        if kind_of_record(record) == "ids" or is_embedded(capture, record):
            return _read(record)
    return None


def _flat(value: Any) -> list[int] | None:
    if isinstance(value, list):
        parts = [_flat(inner) for inner in value]
        if any(part is None for part in parts):
            return None
        return [number for part in parts for number in part or ()]
    return [value] if type(value) is int else None


def _read(record: Record) -> list[int] | None:
    values = small_values(record, _MOST_IDS)
    return None if values is None else [int(number) for number in values]


def ids_apart(left: Sequence[int], right: Sequence[int]) -> str:
    """How two lists of token ids differ, in words; empty where they are equal."""
    if list(left) == list(right):
        return ""
    if len(left) != len(right):
        words = f"{counted(len(left), 'token')} and {len(right)}"
        more, fewer = (right, left) if len(right) > len(left) else (left, right)
        fewer = list(fewer)
        times = len(more) // max(1, len(fewer))
        if times > 1 and list(more) == fewer * times:
            return f"{words}; {_repeated_words(more is right, times)}"
        found = _extra(len(more), len(fewer), lambda at: list(more[at : at + len(fewer)]) == fewer)
        if found is None:
            return words
        extra = _surplus(more, found, len(fewer))
        surplus = len(more) - len(fewer)
        return f"{words}; {_side_words(more is right, found, surplus, extra)}"
    at = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    count = sum(a != b for a, b in zip(left, right, strict=True))
    return f"{count} of {len(left)}, the first at position {at} ({left[at]} and {right[at]})"


def _extra(more: int, fewer: int, equal: Callable[[int], bool]) -> int | None:
    """How many of one side's extra tokens come before what both have."""
    if not 0 < more - fewer <= _MOST_EXTRA or not fewer:
        return None
    return next((at for at in range(more - fewer, -1, -1) if equal(at)), None)


def _surplus(ids: Sequence[int], front: int, common: int) -> str:
    """The ids of the surplus tokens, and whether the text begins twice."""
    surplus = [*ids[:front], *ids[front + common :]]
    shown = ", ".join(map(str, surplus[:4])) + (", ..." if len(surplus) > 4 else "")
    twice = front and any(a == b for a, b in pairwise(ids[: front + 1]))
    return f" ({shown}{': the first token occurs twice' if twice else ''})"


def _side_words(candidate: bool, front: int, surplus: int, extra: str = "") -> str:
    """`the candidate has 1 token more in front (1): ...`, and the recipe that leaves it out."""
    side = "candidate" if candidate else "reference"
    behind = surplus - front
    tokens = "token" if surplus == 1 else "tokens"
    where = (
        "at the front" if not behind else "behind" if not front else "at the front and at the back"
    )
    cut = f"[:, {front or ''}:{-behind if behind else ''}]"
    return (
        f"the {side} has {surplus} {tokens} more {where}{extra}; {cut} (of batch and tokens) on "
        "that side aligns the same tokens"
    )


def _repeated_words(candidate: bool, times: int, cut: str = "") -> str:
    """`the candidate has the same tokens 2 times`, and the recipe that takes the first of them."""
    side = "candidate" if candidate else "reference"
    words = f"the {side} has the same tokens {times} times, a sequence repeated in the batch"
    return f"{words}; {cut} on that side takes the first of them" if cut else words


def _first_copy(shape: Sequence[int], times: int, whole: bool) -> str:
    """The recipe that leaves the first copy of tokens `[..., width]`; `whole`: one sequence stands
    behind the other, else each token is repeated. Empty where no slice does.
    """
    axis = next((axis for axis, size in enumerate(shape[:-1]) if size != 1), 0)
    before = ":, " * axis
    if whole:
        size = shape[axis] // times
        return f"[{before}0:{size}]" if shape[axis] % times == 0 else ""
    if prod(shape[axis + 1 : -1]) == times:
        return f"[{before}:, 0:1]" if shape[axis + 1] == times else ""
    return f"[{before}::{times}]" if prod(shape[axis + 1 : -1]) == 1 else ""


def _embedded(comparison: Comparison) -> Iterator[Finding]:
    """Where no ids are recorded: rows of the embedding that are another token's."""
    for row in comparison.rows:
        if row.role not in ("output", "value") or not is_embedding(row.canonical):
            continue
        names = tuple(r.name for r in (row.reference, row.candidate) if r is not None)
        if row.kind == "pair" and row.problem_level == "shape":
            words = _repeated(row) or _shifted(row)
            if words:
                yield Finding("error", "inputs", f"different tokens: {words}", _ADVICE,
                              records=names)  # fmt: skip
            return
        if not comparison.measurable(row.index):
            continue
        try:
            found = token_rows(comparison.task(row.index))
        except CancelledError:
            return
        if not isinstance(found, TokenRows) or not found.rows:
            return
        seen = (found.count > 0) | found.spoiled  # an abbreviated print leaves tokens out
        apart = seen & ~(found.relative_l2 < _APART)
        count, rows = int(np.count_nonzero(apart)), int(np.count_nonzero(seen))
        if 0 < count < rows:
            words = (
                f"the embeddings of {count} of {rows} tokens differ and the others agree: "
                f"different token ids, the first at position {int(np.flatnonzero(apart)[0])}"
            )
            yield Finding("error", "inputs", words, _ADVICE, records=names)
        elif count and count == rows:
            words = "the embeddings of all tokens differ: different token ids, or another table"
            yield Finding("error", "inputs", words, _ADVICE, records=names)
        return


def _repeated(row: Row) -> str:
    """Two embeddings of which one holds the other's tokens several times, one sequence after the
    other or token by token.
    """
    sides: list[Array] = []
    shapes: list[tuple[int, ...]] = []
    for record in (row.reference, row.candidate):
        values = None if record is None else small_values(record, _MOST_EMBEDDED)
        if values is None or record is None or not record.shape or 0 in record.shape:
            return ""
        sides.append(values.reshape(-1, record.shape[-1]).astype(np.float64))
        shapes.append(record.shape)
    candidate = len(sides[1]) > len(sides[0])
    more, fewer = sides[::-1] if candidate else sides
    times, rest = divmod(len(more), len(fewer))
    if times < 2 or rest or more.shape[1] != fewer.shape[1]:
        return ""
    limit = 0.02 * np.linalg.norm(fewer)
    whole = more.reshape(times, *fewer.shape)
    each = more.reshape(len(fewer), times, -1).swapaxes(0, 1)
    for copies in (whole, each):
        cut = _first_copy(shapes[candidate], times, copies is whole)
        if (np.linalg.norm(copies - fewer, axis=(1, 2)) < limit).all():
            counts = f"{len(sides[0])} and {len(sides[1])} by the embedding's output"
            return f"{counts}; {_repeated_words(candidate, times, cut)}"
    return ""


def _shifted(row: Row) -> str:
    """Two embeddings of different lengths that hold the same tokens but for some at the ends."""
    sides: list[Array] = []
    for record in (row.reference, row.candidate):
        shape = () if record is None else record.shape or ()
        values = None if record is None else small_values(record, _MOST_EMBEDDED)
        if values is None or not shape or sum(size != 1 for size in shape[:-1]) > 1:
            return ""
        sides.append(values.reshape(-1, max(1, shape[-1])).astype(np.float64))
    left, right = sides
    if left.shape[1] != right.shape[1] or prod(left.shape) == 0 or prod(right.shape) == 0:
        return ""
    candidate = len(right) > len(left)
    more, fewer = (right, left) if candidate else (left, right)
    size = np.linalg.norm(fewer)

    def equal(at: int) -> bool:
        return bool(np.linalg.norm(more[at : at + len(fewer)] - fewer) < 0.02 * size)

    front = _extra(len(more), len(fewer), equal)
    if front is None:
        return ""
    words = f"{len(left)} and {len(right)} by the embedding's output"
    return f"{words}; {_side_words(candidate, front, len(more) - len(fewer))}"
