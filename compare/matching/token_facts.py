"""What the records of a capture say about its tokens: which are padding, where sequences begin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ...capture.errors import RecordError

if TYPE_CHECKING:
    from ...capture.records import Record
    from ...capture.values import Array

Kind = Literal["ids", "positions", "mask", "inverted mask", "lengths", "offsets"]

# Names of records and arguments in transformers, vLLM, SGLang, MAX, FlashAttention and torch.nn.
_PATTERNS: tuple[tuple[str, Kind], ...] = (
    (r"(?:decoder_|prompt_)?(?:input_ids?|token_ids?|tokens|input_tokens)", "ids"),
    (r"position(?:_id)?s|pos_ids", "positions"),
    (r"(?:decoder_|encoder_)?(?:attention|attn|input)_mask", "mask"),
    (r"(?:(?:encoder|key)_)?pad(?:ding)?_mask", "inverted mask"),
    (
        r"(?:extend_|prompt_|encoder_)?(?:seq(?:uence)?_?len(?:gth)?s?|lengths|prompt_lens)"
        r"(?:_[qk])?",
        "lengths",
    ),
    (
        r"cu_?seq_?lens?(?:_[qk])?|query_start_loc|(?:input_)?row_offsets|seq_start_loc|"
        r"(?:qo|kv)_indptr",
        "offsets",
    ),
)
_NAMES: tuple[tuple[re.Pattern[str], Kind], ...] = tuple(
    (re.compile(rf"(?:{pattern})(?:_0)?"), kind) for pattern, kind in _PATTERNS
)
_SEPARATOR = re.compile(r"[./:]")
_MOST_ELEMENTS = 1 << 22  # a mask of 2,048 x 2,048 tokens; larger ones are not read for this


def kind_of_tokens(name: str) -> Kind | None:
    """What a record or argument of this name says of tokens; None for all others."""
    return _kind_of_word(_SEPARATOR.split(name)[-1].lower())


@lru_cache(maxsize=1 << 12)
def _kind_of_word(last: str) -> Kind | None:
    for prefix in ("", "input_", "output_"):
        rest = last.removeprefix(prefix)
        for pattern, kind in _NAMES:
            if pattern.fullmatch(rest):
                return kind
    return None


def kind_of_record(record: Record) -> Kind | None:
    """By its slot where that has a name, else by the record's own."""
    return kind_of_tokens(record.slot) or (
        kind_of_tokens(record.module) if record.slot in ("value", "output") else None
    )


@dataclass(frozen=True, slots=True)
class Padding:
    """A batch of `[sequences, length]` with padding: where the tokens stand in it when its first
    two axes are joined, by sequence; `source` is the record that says so.
    """

    sequences: int
    length: int
    ranges: tuple[tuple[tuple[int, int], ...], ...]
    source: str

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens by sequence."""
        return tuple(sum(stop - start for start, stop in parts) for parts in self.ranges)

    @property
    def flat(self) -> tuple[tuple[int, int], ...]:
        """The ranges of all sequences, joined where they touch."""
        found: list[tuple[int, int]] = []
        for start, stop in (part for parts in self.ranges for part in parts):
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], stop)
            else:
                found.append((start, stop))
        return tuple(found)

    @property
    def last(self) -> tuple[tuple[int, int], ...]:
        """The last token of each sequence."""
        return tuple((parts[-1][1] - 1, parts[-1][1]) for parts in self.ranges)


def paddings(records: Iterable[Record]) -> dict[int, list[Padding]]:
    """By step, what the masks among `records` say: each that has padding, and that leaves every
    sequence a token. Reads small records only; one that cannot be read says nothing.
    """
    found: dict[int, list[Padding]] = {}
    for record in records:
        kind = kind_of_record(record)
        if kind in ("mask", "inverted mask") and record.step not in found:
            masks = _paddings(record, kind == "inverted mask")
            if masks:
                found[record.step] = masks
    return found


def sequence_lengths(records: Iterable[Record]) -> dict[int, set[tuple[int, ...]]]:
    """By step, the lengths of sequences that lengths and offsets among `records` tell."""
    found: dict[int, set[tuple[int, ...]]] = {}
    for record in records:
        kind = kind_of_record(record)
        if kind not in ("lengths", "offsets") or len(record.shape or ()) != 1:
            continue
        if record.partial is not None:
            continue
        values = small_values(record, _MOST_ELEMENTS)
        if values is None or not values.size or (values < 0).any():
            continue
        numbers = [int(value) for value in values]
        if kind == "offsets":
            if numbers[0] != 0 or any(b < a for a, b in pairwise(numbers)):
                continue
            numbers = [b - a for a, b in pairwise(numbers)]
        found.setdefault(record.step, set()).add(tuple(numbers))
    return found


def _paddings(record: Record, inverted: bool) -> list[Padding]:
    """Nothing where no element is masked, or a sequence has no token at all."""
    shape = record.shape or ()
    if len(shape) not in (2, 4) or 0 in shape or record.partial is not None:
        return []
    values = small_values(record, _MOST_ELEMENTS)
    if values is None:
        return []
    kept = _kept(values.reshape(shape), inverted)
    if kept is None or kept.all() or not kept.any(axis=1).all():
        return []
    return [_padding(kept, record.name)]


def _kept(values: Array, inverted: bool) -> Array | None:
    """`[sequences, length]` of bool: which are tokens. A mask of `[batch, heads, queries, keys]` is
    asked what its last query sees; what is added to scores is 0 there, and far below else.
    """
    if values.ndim == 4:
        if values.shape[2] != values.shape[3]:
            return None  # a decode step: its keys are those of a cache
        values = values[:, 0, -1, :]
    if values.dtype.kind == "f" and (values < 0).any():
        return (values > -1) if (values <= 0).all() else None
    if not ((values == 0) | (values == 1)).all():
        return None
    return (values == 0) if inverted else (values != 0)


def _padding(kept: Array, source: str) -> Padding:
    sequences, length = kept.shape
    ranges: list[tuple[tuple[int, int], ...]] = []
    for row in range(sequences):
        parts: list[tuple[int, int]] = []
        for at in (int(i) + row * length for i in kept[row].nonzero()[0]):
            if parts and parts[-1][1] == at:
                parts[-1] = (parts[-1][0], at + 1)
            else:
                parts.append((at, at + 1))
        ranges.append(tuple(parts))
    return Padding(sequences, length, tuple(ranges), source)


def small_values(record: Record, most: int) -> Array | None:
    """The values of a record of at most `most` elements, flat; None where there are none."""
    from ..measuring.pair_reader import PairReader, SideTask

    if record.locator is None or record.dtype is None or record.locator.count > most:
        return None
    import numpy as np

    try:
        with PairReader(SideTask(record.locator, record.dtype), None) as reader:
            blocks = [block.x.reshape(-1) for block in reader.blocks() if block.x is not None]
    except (RecordError, OSError, MemoryError):
        return None
    return np.concatenate(blocks) if blocks else None
