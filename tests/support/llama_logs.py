"""Logs as llama.cpp's `llama-eval-callback` writes them (common/debug.cpp)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SHOWN = 3  # at each end of an axis


def llama_log(path: Path, records: Mapping[str, np.ndarray]) -> Path:
    """Write a log of records, each under its name in the graph; `path` is a directory."""
    path.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for name, values in records.items():
        sizes = ", ".join(str(size) for size in reversed((1,) * (4 - values.ndim) + values.shape))
        lines.append(
            f"common_debug_cb_eval: {name:>24} = (f32) ADD(x{{{sizes}}}, }}) = {{{sizes}}}"
        )
        lines += _printed(values.reshape((1,) * (3 - values.ndim) + values.shape), 1)
        lines.append(f"{' ' * 4}sum = {float(values.astype(np.float32).sum(dtype=np.float32)):f}")
    (path / "eval.log").write_text("\n".join(lines) + "\n")
    return path


def _printed(values: np.ndarray, depth: int) -> Iterator[str]:
    indent = " " * (4 * depth)
    if values.ndim == 1:
        yield f"{indent}[ {', '.join(_shown(values, lambda v: f'{v:12.4f}'))} ],"
        return
    yield f"{indent}["
    for part in _shown(values, lambda v: v):
        yield from [f"{indent}..., "] if isinstance(part, str) else _printed(part, depth + 1)
    yield f"{indent}],"


def _shown(values: np.ndarray, form: Any) -> Iterator[Any]:
    for index in range(len(values)):
        if index == _SHOWN and len(values) > 2 * _SHOWN:
            yield "..."
        if index < _SHOWN or index >= len(values) - _SHOWN:
            yield form(values[index])
