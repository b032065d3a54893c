"""The parameters and buffers of a torch model, to be kept with a capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..dtypes import DTYPES
from ..errors import RecordError
from ..weights.recorded import Source
from .sinks.snapshot import UnreadableError, describe, plain, quiet
from .wrappers import unwrapped

_ROTARY = ("inv_freq", "cos_cached", "sin_cached", "freqs_cis", "freqs")
_SMALL_BUFFER = 1 << 16  # elements
_LARGEST_TABLE = 1 << 22  # of rotary tables, which have a row a position


def sources_of(model: torch.nn.Module) -> Iterator[Source]:
    """Every parameter and buffer under each of its names; tied ones have several."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield _source(name, parameter, parameter.dim() <= 1)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        rotary = name.rpartition(".")[2] in _ROTARY and buffer.numel() <= _LARGEST_TABLE
        yield _source(name, buffer, rotary or buffer.numel() <= _SMALL_BUFFER)


def config_of(model: torch.nn.Module) -> dict[str, Any]:
    """The config of a model of transformers; empty for any other."""
    config = getattr(unwrapped(model), "config", None)
    to_dict = getattr(config, "to_dict", None)
    found = to_dict() if callable(to_dict) else None
    return found if isinstance(found, dict) else {}


def _source(name: str, tensor: torch.Tensor, small: bool) -> Source:
    known = describe(tensor)
    placements = getattr(tensor, "placements", ())  # of a DTensor
    part = any(not placement.is_replicate() for placement in placements)

    def read() -> Any:
        with torch.no_grad(), quiet():
            try:
                if part:
                    raise RecordError("this process has only a part of it")
                values = plain(tensor)
                if str(values.dtype).removeprefix("torch.") != known.dtype:
                    raise RecordError(f"{known.dtype} cannot be stored")
                return values.contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
            except (UnreadableError, RuntimeError, NotImplementedError) as error:
                raise RecordError(str(error).splitlines()[0][:200]) from error

    text = name.encode("utf-8", "replace").decode()
    return Source(text, known.dtype, known.shape, read, small and known.dtype in DTYPES)
