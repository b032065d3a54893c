"""What `record` was asked for, checked once."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ..errors import CaptureError
from ..layer_range import LayerRange
from ..token_places import TokenPart
from ..weights.recorded import KINDS

if TYPE_CHECKING:
    import torch

    from .sinks.expected import Expected

Pattern = str | Iterable[str] | Callable[[str, "torch.nn.Module"], bool] | None
Steps = int | Iterable[int] | None
Layers = str | int | LayerRange | None

SHARD_BYTES = 256 << 20
SHARD_SECONDS = 2.0
BUFFER_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """`steps` is None for all steps. Sizes in bytes, times in seconds."""

    include: Callable[[str, torch.nn.Module], bool]
    exclude: Callable[[str, torch.nn.Module], bool]
    inputs: bool = True
    level: str = "module"
    steps: Container[int] | None = None
    every_call: bool = True
    stats_only: bool = False
    overwrite: bool = False
    gradients: bool = False
    format: str = "native"
    parameters: str = "none"
    tokens: TokenPart | None = None
    layers: LayerRange | None = None
    expected: Expected | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    shard_bytes: int = SHARD_BYTES
    shard_seconds: float = SHARD_SECONDS
    buffer_bytes: int = BUFFER_BYTES

    def __post_init__(self) -> None:
        if self.level not in ("module", "op"):
            raise CaptureError(f'level={self.level!r}: it is "module" or "op"')
        if self.format not in ("native", "pt"):
            raise CaptureError(f'format={self.format!r}: it is "native" or "pt"')
        if self.parameters not in KINDS:
            raise CaptureError(f'parameters={self.parameters!r}: it is "none", "small" or "all"')
        if self.format == "pt" and self.stats_only:
            raise CaptureError('stats_only needs format="native": a .pt file holds one tensor')
        if self.format == "pt" and self.tokens is not None:
            raise CaptureError('tokens needs format="native": a .pt file holds one tensor')
        if self.expected is not None and (self.format == "pt" or self.stats_only):
            raise CaptureError('dump_on_mismatch needs format="native", and not stats_only')
        if self.shard_bytes < 1 or self.buffer_bytes < 1 or self.shard_seconds <= 0:
            raise CaptureError("shard_bytes, buffer_bytes and shard_seconds must be positive")

    def said(self) -> dict[str, Any]:
        """What a capture says of how it was recorded."""
        parts = {
            name: str(part) for name, part in (("tokens", self.tokens), ("layers", self.layers))
            if part is not None
        }  # fmt: skip
        return {
            "inputs": self.inputs, "level": self.level, "every_call": self.every_call,
            "stats_only": self.stats_only, "gradients": self.gradients,
            "parameters": self.parameters, **parts,
        }  # fmt: skip

    @property
    def repeats(self) -> bool:
        """Whether a record may stand for a later one of the same bytes: each is compared with what
        is expected in its own place.
        """
        return self.format == "native" and self.expected is None

    def notes(self) -> list[str]:
        """What whoever opens the capture should know of what was left out."""
        said = []
        if self.tokens is not None:
            said.append(f"only some tokens of each step were recorded: {self.tokens}")
        if self.expected is not None:
            theirs = self.expected.path
            said.append(f"only values that differ from {theirs}, or that it lacks, were recorded")
        if self.layers is not None:
            said.append(f"only some layers were recorded: {self.layers}")
        return said

    def wants_step(self, step: int) -> bool:
        return self.steps is None or step in self.steps


def matcher(pattern: Pattern, default: bool) -> Callable[[str, torch.nn.Module], bool]:
    """A test of a module's path and the module: globs (`*` crosses dots), or a function."""
    if pattern is None:
        return lambda name, module: default
    if callable(pattern):
        return pattern
    globs = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    for glob in globs:
        if not isinstance(glob, str):
            raise CaptureError(f"{glob!r} is not a glob on module names")
    return lambda name, module: any(fnmatchcase(name, glob) for glob in globs)


def chosen_layers(layers: Layers) -> LayerRange | None:
    """`layers="0:5"` are the first five, `layers=4` is that one. Raises `CaptureError`."""
    if layers is None or isinstance(layers, LayerRange):
        return layers
    try:
        return LayerRange.parse(str(layers))
    except ValueError as error:
        raise CaptureError(f"layers={layers!r}: {error}") from error


def chosen_steps(steps: Steps) -> Container[int] | None:
    """`steps=3` are the first three, `steps=[0, 4]` those two, None all."""
    if steps is None or isinstance(steps, range):
        return steps
    if isinstance(steps, bool) or (isinstance(steps, int) and steps < 1):
        raise CaptureError(f"steps={steps!r}: a positive number of steps, or which ones")
    return range(steps) if isinstance(steps, int) else frozenset(steps)
