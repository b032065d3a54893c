"""What a layer of MAX is given, checked against what it takes and made into buffers."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from max.driver import Buffer

from .layers import RerunError
from .max_buffers import buffer_of, torch_dtype
from .max_cache import Past, cache_buffers
from .max_calls import CACHE, LAYER_INDEX, ROW_OFFSETS, SIGNAL, Argument, Call
from .max_graphs import fed


class Feed:
    """What one layer is given, made into buffers."""

    def __init__(self, name: str, call: Call, cache_params: Any, longest: int) -> None:
        self._name, self._call = name, call
        self._params, self._longest = cache_params, longest

    def buffers(
        self, inputs: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor]
    ) -> list[Buffer]:
        """In the order of the graph's inputs. Raises `RerunError`."""
        call = self._call
        given = {a.slot: _fitted(a, inputs) for a in call.given()}
        _check_open_sizes(call, given)
        offsets = None
        if call.has(ROW_OFFSETS) or call.has(CACHE):
            tokens = len(next(iter(given.values())))
            offsets = _row_offsets(call, inputs, extra, tokens)
        buffers = []
        for argument in fed(call):
            buffers.append(self._buffer(argument, given, inputs, offsets))
        if call.has(CACHE):
            assert offsets is not None
            past = _past(extra, len(offsets) - 1)
            self._check_length(offsets, past)
            buffers += cache_buffers(self._params, offsets, past)
        return buffers

    def _buffer(
        self, argument: Argument, given: Mapping[str, torch.Tensor],
        inputs: Mapping[str, torch.Tensor], offsets: Sequence[int] | None,
    ) -> Buffer:  # fmt: skip
        kind = argument.type
        if argument.role == SIGNAL:
            return Buffer.zeros([1], kind.dtype, kind.device.to_device())
        if argument.role == ROW_OFFSETS:
            value = torch.tensor(offsets)
        elif argument.role == LAYER_INDEX:
            value = inputs[argument.slot] if argument.slot in inputs else self._number()
        else:
            value = given[argument.slot]
        return buffer_of(value.reshape(_sizes(value, kind)).to(torch_dtype(kind.dtype)),
                         kind.device)  # fmt: skip

    def _number(self) -> torch.Tensor:
        """Which layer of the stack it is: the last number in its name."""
        found = re.findall(r"layers\.(\d+)", self._name)
        return torch.tensor(int(found[-1]) if found else 0)

    def _check_length(self, offsets: Sequence[int], past: Past | None) -> None:
        before = past.offsets if past is not None else [0] * len(offsets)
        for new, old in zip(pairwise(offsets), pairwise(before), strict=False):
            total = new[1] - new[0] + old[1] - old[0]
            if total > self._longest:
                raise RerunError(
                    f"{total} tokens with their past: this runner takes {self._longest}"
                )


def _fitted(argument: Argument, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tensor given for a slot, if its axes and kind of numbers are the layer's."""
    tensor, kind = inputs.get(argument.slot), argument.type
    if tensor is None:
        raise RerunError(f"{argument.slot} is missing; the layer takes {_type_in_words(kind)}")
    fits = len(kind.shape) == tensor.dim() and all(
        not str(want).isdigit() or int(str(want)) == got
        for want, got in zip(kind.shape, tensor.shape, strict=True)
    )
    wanted = torch_dtype(kind.dtype)
    if not fits or tensor.dtype.is_floating_point != wanted.is_floating_point:
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise RerunError(
            f"{argument.slot} is {dtype} {_shape_in_words(tensor.shape)}; the layer takes "
            f"{_type_in_words(kind)}"
        )
    if not tensor.numel():
        raise RerunError(f"{argument.slot} is empty")
    return tensor


def _check_open_sizes(call: Call, given: Mapping[str, torch.Tensor]) -> None:
    """Axes that differ from run to run must be the same in all inputs. Raises `RerunError`."""
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for argument in call.given():
        for dim, size in zip(argument.type.shape, given[argument.slot].shape, strict=True):
            name = str(dim)
            if name.isdigit():
                continue
            if sizes.setdefault(name, size) != size:
                raise RerunError(
                    f"{argument.slot} has {size} rows, {first[name]} has {sizes[name]}: "
                    "they must have the same number"
                )
            first.setdefault(name, argument.slot)


def _row_offsets(
    call: Call, inputs: Mapping[str, torch.Tensor], extra: Mapping[str, torch.Tensor], tokens: int
) -> tuple[int, ...]:
    slots = [a.slot for a in call.arguments if a.role == ROW_OFFSETS and a.slot in inputs]
    told = extra.get("row_offsets", inputs[slots[0]] if slots else None)
    if told is None:
        return (0, tokens)
    return _offsets("row_offsets", told, tokens)


def _offsets(what: str, told: torch.Tensor, total: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in told.reshape(-1).to(torch.int64).tolist())
    if len(values) < 2 or values[0] != 0 or values[-1] != total:
        raise RerunError(f"{what} are {list(values)}; they go from 0 to {total}")
    if any(b < a or (b == a and what == "row_offsets") for a, b in pairwise(values)):
        raise RerunError(f"{what} are {list(values)}; each must be greater than the one before")
    return values


def _past(extra: Mapping[str, torch.Tensor], sequences: int) -> Past | None:
    keys, values = extra.get("past_keys"), extra.get("past_values")
    if keys is None and values is None:
        return None
    if keys is None or values is None:
        raise RerunError("past_keys and past_values go together; one is missing")
    if keys.dim() != 3 or keys.shape != values.shape:
        raise RerunError(
            f"past_keys {_shape_in_words(keys.shape)} and past_values "
            f"{_shape_in_words(values.shape)}: both are [past tokens, heads, size of a head]"
        )
    if "past_offsets" in extra:
        return Past(keys, values, _offsets("past_offsets", extra["past_offsets"], len(keys)))
    if len(keys) % sequences:
        raise RerunError(
            f"{len(keys)} past tokens of {sequences} sequences: past_offsets must say which "
            "tokens belong to which sequence"
        )
    each = [len(keys) // sequences] * sequences
    return Past(keys, values, tuple(accumulate(each, initial=0)))


def _sizes(value: torch.Tensor, kind: Any) -> list[int]:
    """The shape to hand over: as it is, but a scalar for a number that came as one row."""
    return [] if not len(kind.shape) and value.numel() == 1 else list(value.shape)


def _type_in_words(kind: Any) -> str:
    sizes = ", ".join("tokens" if str(dim) == "n0" else str(dim) for dim in kind.shape)
    return f"{str(torch_dtype(kind.dtype)).removeprefix('torch.')} [{sizes}]"


def _shape_in_words(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
