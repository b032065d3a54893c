"""`record`, the function that users call."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import CaptureError
from ..extras import require_torch
from ..token_places import TokenPart
from .options import (
    BUFFER_BYTES,
    SHARD_BYTES,
    SHARD_SECONDS,
    Layers,
    Options,
    Pattern,
    Steps,
    chosen_layers,
    chosen_steps,
    matcher,
)

if TYPE_CHECKING:
    import torch

    from .recorder import Recorder
    from .sinks.expected import Expected


def record(
    model: torch.nn.Module | None,
    path: str | os.PathLike[str],
    *,
    include: Pattern = None,
    exclude: Pattern = None,
    inputs: bool = True,
    level: str = "module",
    steps: Steps = None,
    every_call: bool = True,
    stats_only: bool = False,
    overwrite: bool = False,
    gradients: bool = False,
    format: str = "native",  # noqa: A002
    prompt: str | None = None,
    meta: Mapping[str, Any] | None = None,
    parameters: str = "none",
    tokens: str | None = None,
    layers: Layers = None,
    dump_on_mismatch: str | os.PathLike[str] | None = None,
    mismatch: float | None = None,
    shard_bytes: int = SHARD_BYTES,
    shard_seconds: float = SHARD_SECONDS,
    buffer_bytes: int = BUFFER_BYTES,
) -> Recorder:
    """Record what passes through the modules of `model` while the context is entered.

        with record(model, "torch_dump/"):
            model(**inputs)

    `include` and `exclude` choose modules by globs on their paths (`*` crosses dots, the root is
    the empty path) or by a function of path and module. `inputs=False` leaves their inputs out.
    `level="op"` adds the output of every operator inside the chosen modules. Each call of the root
    is a step: `steps=2` records the first two, `steps=[0, 5]` those. `every_call=False` records a
    module once per step. `stats_only` writes statistics instead of values. `gradients` adds
    gradients of outputs, slot `grad_output`. `format="pt"` writes `.pt` files as MAX's
    TorchPrintHook does. `parameters="small"` keeps norms, biases and rotary tables with the
    capture, and digests of all other parameters; "all" keeps their values too. It is "none" here,
    since digests of billions of parameters take seconds (`layertui capture` asks for "small").
    `tokens="last:64"`, `"0:128"` or `"every:16"` keeps these tokens of each step alone, wherever it
    is clear which axis counts them (by the step's token ids), and `layers="0:5"` records these
    layers and what stands outside of all layers.
    `dump_on_mismatch=REFERENCE`, a capture of the same modules, keeps values only where they differ
    from the reference's by more than `mismatch` (relative L2; by default 1e-4, or 8 unit roundoffs
    of the dtype), and statistics elsewhere. Where no values may be wanted, statistics of tensors on
    a CUDA device are worked out there, without a hash.
    `model=None` records what `Recorder.add` is given, and taps. `overwrite` replaces an earlier
    capture, and never deletes a file that no capture wrote.

    Where torch.distributed has joined several processes, each writes `path/rank<N>` (`path` itself
    where its last part names a rank).

    At most `buffer_bytes` bytes wait in memory, on devices too, to be written; a shard is closed at
    `shard_bytes` or after `shard_seconds`.

    Raises `CaptureError`, one line: invalid options, a directory that is not empty (on
    entering), a disk that is full (on leaving; the capture is valid up to there).
    """
    require_torch("recording", transformers=False)
    import torch

    from .recorder import Recorder
    from .wrappers import path_of_process

    if model is not None and not isinstance(model, torch.nn.Module):
        raise CaptureError(
            f"{type(model).__name__} is not a torch.nn.Module; "
            "use record(None, path) and add tensors with Recorder.add"
        )
    options = Options(
        include=matcher(include, True),
        exclude=matcher(exclude, False),
        inputs=inputs,
        level=level,
        steps=chosen_steps(steps),
        every_call=every_call,
        stats_only=stats_only,
        overwrite=overwrite,
        gradients=gradients,
        format=format,
        parameters=parameters,
        tokens=None if tokens is None else TokenPart.parse(tokens),
        layers=chosen_layers(layers),
        expected=_expected(dump_on_mismatch, mismatch, path),
        meta=_checked_meta(meta, prompt),
        shard_bytes=shard_bytes,
        shard_seconds=shard_seconds,
        buffer_bytes=buffer_bytes,
    )
    return Recorder(model, path_of_process(os.fspath(path)), options)


def _expected(
    reference: str | os.PathLike[str] | None, mismatch: float | None, path: str | os.PathLike[str]
) -> Expected | None:
    if mismatch is not None and not 0 < mismatch < 1:
        raise CaptureError(f"mismatch={mismatch!r}: a relative error, between 0 and 1")
    if reference is None:
        return None
    if os.path.realpath(reference) == os.path.realpath(path):
        raise CaptureError(
            f"{os.fspath(path)}: the reference itself; record into another directory"
        )
    from .sinks.expected import Expected

    return Expected(os.fspath(reference), mismatch)


def _checked_meta(meta: Mapping[str, Any] | None, prompt: str | None) -> dict[str, Any]:
    known = dict(meta or {})
    if prompt is not None:
        known["prompt"] = prompt
    if "layertui" in known:
        raise CaptureError('meta: "layertui" is the version of the format')
    try:
        json.dumps(known, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CaptureError(f"meta: {error}") from error
    return known
