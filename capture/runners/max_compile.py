"""Compiles graphs of single layers, each kind once, and tells what is compiled.

Two layers are of one kind when their graphs are the same text once weights are numbered in order
of use: everything else that a layer is (sizes, eps, window, scale, rotary base) stands in it.
MAX itself keeps what it compiled on disk, so that a later process is done in a second or two.
"""

from __future__ import annotations

# pyright: reportMissingImports=false
# The `max` package is optional.
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from max.engine import InferenceSession


class Compiler:
    """Compiled layers of this process by their graph's text."""

    def __init__(self, session: InferenceSession, progress: Callable[[str], None]) -> None:
        self._session = session
        self._progress = progress
        self._compiled: dict[str, Any] = {}
        self.seconds = 0.0  # spent compiling, ever

    def __len__(self) -> int:
        return len(self._compiled)

    def find(self, key: str) -> Any:
        """What was compiled under this text, or None."""
        return self._compiled.get(key)

    def compile(self, key: str, graph: Any, kind: str) -> Any:
        """Compile `graph`; `kind` names it in what `progress` is told."""
        begun = time.perf_counter()
        self._progress(f"compiling {kind}")
        compiled = self._session.compile(graph)
        self.seconds += time.perf_counter() - begun
        self._compiled[key] = compiled
        return compiled

    def load(self, compiled: Any, weights: Mapping[str, Any]) -> Any:
        """A model ready to execute, with these weights."""
        return self._session.init(compiled, weights_registry=weights)


class RememberingSession:
    """What MAX's module interface v3 needs of a session to compile one layer."""

    def __init__(self, compiler: Compiler, kind: str) -> None:
        self._compiler = compiler
        self._kind = kind

    def compile_reusing_mefs(self, graph: Any) -> Any:
        key = graph_text(graph)
        return self._compiler.find(key) or self._compiler.compile(key, graph, self._kind)

    def init(self, compiled: Any, *, weights_registry: Mapping[str, Any]) -> Any:
        return self._compiler.load(compiled, weights_registry)


def graph_text(graph: Any, names: Mapping[str, str] | None = None) -> str:
    """The graph as text without source locations, weights renamed by `names`."""
    text = graph._mlir_op.get_asm(enable_debug_info=False)
    if not names:
        return text
    quoted = "|".join(re.escape(f'"{name}"') for name in names)
    return re.sub(quoted, lambda found: f'"{names[found.group()[1:-1]]}"', text)
