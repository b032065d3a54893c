"""Which values of llama.cpp's graph are recorded, under which names, in which order.

llama.cpp asks of every node, in the order in which they are computed, whether it is wanted, and
shows those that are once they are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from ...errors import CaptureError
from ...models.run_directory import check_space
from ..writer import CaptureWriter
from .ggml import Ggml, Tensor

# Nodes that compute nothing, or write into the cache; and names that the graph's author did not
# give: `node_65`, `Qcur-0 (view)`. A product without a name goes by that of its weight.
_NO_VALUES = frozenset({"NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE", "SET_ROWS"})
_UNNAMED = re.compile(r"(?:node|leaf)_\d+|cache_.*|.*\((?:view|reshaped|permuted|transposed)\)|")
_NUMBERED = re.compile(r"node_\d+")
_PARAMETER = re.compile(r"(.+)\.(?:weight|bias)")
_OF_PARAMETERS = frozenset({"MUL_MAT", "MUL_MAT_ID", "ADD", "ADD_ID"})
_LAYER = re.compile(r"l_out-(\d+)")


class Recording:
    """The values of one pass, written as they come. An error ends the pass and is kept."""

    def __init__(
        self, ggml: Ggml, writer: CaptureWriter, request: dict[str, Any],
        rows: list[list[int]], finished: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._ggml, self._writer = ggml, writer
        self._include, self._exclude = request["include"], request["exclude"]
        self._all, self._folder = request["level"] == "op", request["folder"]
        self._rows = rows
        self._finished = finished  # is told of each layer that is done
        self._counts: dict[str, int] = {}
        self._calls: dict[int, int] = {}
        self.error: Exception | None = None
        self.recorded = 0
        self.quantised: list[str] = []

    def __call__(self, address: int, ask: bool, data: object) -> bool:
        """The callback: with `ask` whether the tensor is wanted, else whether to go on."""
        if self.error is not None:
            return ask  # to be called with the next values, and to stop there
        try:
            tensor = self._ggml.tensor(address)
            if ask:
                return self._wanted(tensor)
            self._take(tensor)
        except Exception as error:  # none may pass through C
            self.error = error
            return ask
        return True

    def _wanted(self, tensor: Tensor) -> bool:
        name = name_of(tensor)
        number = self._counts[name] = self._counts.get(name, 0) + 1
        if not self._all and (tensor.op in _NO_VALUES or _UNNAMED.fullmatch(name)):
            return False
        if self._include and not any(fnmatchcase(name, glob) for glob in self._include):
            return False
        if any(fnmatchcase(name, glob) for glob in self._exclude):
            return False
        self._calls[tensor.address] = number
        return True

    def _take(self, tensor: Tensor) -> None:
        number = self._calls.pop(tensor.address, 1)
        if tensor.dtype is None:
            self.quantised.append(f"{tensor.name} ({tensor.kind})")
            return
        if not self.recorded:
            self._take_ids()
        check_space(self._folder, tensor.nbytes)
        stored = self._writer.store(self._ggml.values(tensor), tensor.dtype)
        self._writer.value(name_of(tensor) or "?", number, tensor.op, stored)
        self.recorded += 1
        if done := _LAYER.fullmatch(tensor.name):
            self._finished(int(done[1]) + 1)

    def _take_ids(self) -> None:
        """The one input that makes a difference, which is no node of the graph."""
        import numpy as np

        ids = np.array([number for row in self._rows for number in row], np.int32)
        self._writer.value("inp_tokens", 1, "INPUT", self._writer.store(ids, "int32"))

    def end(self) -> None:
        """Say in the capture what is not in it. Raises `CaptureError`."""
        if self.error is not None:
            raise self.error
        if not self.recorded:
            raise CaptureError("no value is recorded; see --include")
        if self.quantised:
            self._writer.note(self.left_out())

    def left_out(self) -> str:
        shown = ", ".join(self.quantised[:3]) + (", ..." if len(self.quantised) > 3 else "")
        return f"{len(self.quantised)} quantised values are not recorded: {shown}"


def name_of(tensor: Tensor) -> str:
    """As the graph has it; `blk.0.attn_output` for a product with that weight, or its bias added,
    that is only numbered there.
    """
    if not _NUMBERED.fullmatch(tensor.name) or tensor.op not in _OF_PARAMETERS:
        return tensor.name
    found = (_PARAMETER.fullmatch(source) for source in tensor.sources)
    return next((match[1] for match in found if match), tensor.name)
