"""Copying tensors as they pass, numbering them, handing them to the writer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from .held import DeviceSummaries
from .recent import Recent
from .sink import RecordItem, TokensItem
from .snapshot import (
    Snapshot,
    UnreadableError,
    as_tensor,
    copy_to_host,
    describe,
    plain,
    quiet,
)
from .token_cut import TokenCut
from .writer import Writer

if TYPE_CHECKING:
    from ..options import Options

_MOST_IDS = 1 << 20


class Keeper:
    """Keeps tensors for a writer, as `options` say: of some tokens, without values."""

    def __init__(self, writer: Writer, options: Options) -> None:
        self._writer = writer
        self._cut = None if options.tokens is None else TokenCut(options.tokens)
        self._repeats = options.repeats
        in_question = options.expected is not None
        summarised = in_question or options.stats_only
        self._summaries = DeviceSummaries(hold=in_question) if summarised else None
        self._lock = threading.Lock()
        self._seq = 0
        self._recent = Recent()

    def clear(self) -> None:
        """Look at no tensor of the model any longer."""
        self._recent.clear()
        if self._summaries is not None:
            self._summaries.clear()

    def keep(self, fields: dict[str, Any], value: Any, recall: bool = False) -> dict[str, Any]:
        """Copy a tensor now, queue it for writing; `{"seq": n}` stands for it.

        With `recall` a tensor that was just recorded is not copied again.
        """
        if self._cut is not None and isinstance(value, torch.Tensor):
            with quiet():
                value, part = self._cut.cut(value, fields["step"])
            fields = fields if part is None else {**fields, "tokens": part.line()}
        recall &= self._repeats and isinstance(value, torch.Tensor)
        with quiet():
            ready, taken = _made_plain(value)
            known = None
            if ready is not None and recall:
                with self._lock:
                    known = self._recent.look(ready, fields["step"])
            same_as = known.seq if known is not None else None
            if ready is not None and same_as is None:
                taken = self._copy(ready)
        if isinstance(value, torch.Tensor) and taken.dtype != _dtype_name(value):
            fields = {**fields, "pairs_of": _dtype_name(value)}  # complex128 as pairs of float64
        with self._lock:
            seq = self._seq
            self._seq += 1
            self._writer.put(RecordItem(seq, fields, taken, same_as))
            if known is not None and same_as is None and taken.problem is None:
                self._recent.remember(known, value, fields["step"], seq)
        return {"seq": seq}

    def _copy(self, ready: torch.Tensor) -> Snapshot:
        """A copy of a plain tensor, waiting for room where the writer is behind; or its summary
        alone.
        """
        summaries = self._summaries
        if summaries is not None and summaries.serves(ready):
            with contextlib.suppress(RuntimeError):  # no room there: the host does it
                return self._reserved(ready, summaries.nbytes(ready), summaries.take)
        nbytes = ready.numel() * ready.element_size()
        return self._reserved(ready, nbytes, lambda it: copy_to_host(it, self._writer.pool))

    def _reserved(
        self, ready: torch.Tensor, nbytes: int, make: Callable[[torch.Tensor], Snapshot]
    ) -> Snapshot:
        """What `make` makes of a tensor, of at most `nbytes` bytes."""
        if not self._writer.reserve(nbytes):
            taken = describe(ready)
            taken.problem = "the recording had stopped"
            return taken
        try:
            taken = make(ready)
        except BaseException:
            self._writer.unreserve(nbytes)
            raise
        if taken.reserved != nbytes:
            self._writer.unreserve(nbytes - taken.reserved)
        return taken

    def keep_tokens(self, step: int, ids: Any) -> bool:
        """Keep the token ids of a step for the meta lines, if that is what `ids` are."""
        if not isinstance(ids, torch.Tensor) or ids.dim() > 2 or not 0 < ids.numel() <= _MOST_IDS:
            return False
        if ids.is_floating_point() or ids.is_complex():
            return False
        with quiet():
            ready, taken = _made_plain(ids)
            if ready is not None:
                taken = self._copy(ready)
        if taken.problem is not None:
            return False
        if self._cut is not None and ids.dim() > 0:
            self._cut.begin(step, tuple(ids.shape))
        self._writer.put(TokensItem(step, taken))
        return True


def _made_plain(value: Any) -> tuple[torch.Tensor | None, Snapshot]:
    """A tensor that can be copied and its description; None where `problem` says why not."""
    tensor = value if isinstance(value, torch.Tensor) else None
    try:
        tensor = as_tensor(value)
        ready = plain(tensor)
    except UnreadableError as error:
        taken = describe(tensor) if tensor is not None else Snapshot((), "object", "cpu")
        taken.problem = str(error)
        return None, taken
    return ready, describe(ready)


def described(value: Any) -> dict[str, Any]:
    """What stands for a tensor that is not recorded."""
    tensor = as_tensor(value)
    shape = [int(size) for size in tensor.shape]
    return {"tensor": {"shape": shape, "dtype": _dtype_name(tensor)}}


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
