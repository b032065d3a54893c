"""MAX's layers behind the protocol: how a capture's tensors go in is known to `MaxLayers`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..engines.max_capture import require_max
from ..errors import CaptureError
from ..models.checkpoint import load_config, own_dtype_name, stage_for_max
from ..models.run_plan import Plan
from .layers import LayerInfo, RerunError, RerunOutputs
from .watching import LoadingWatcher

if TYPE_CHECKING:
    import torch

_EXTRA = ("past_keys", "past_values", "row_offsets")


class MaxEngine:
    """A model that MAX loads from a Hugging Face directory, run layer by layer."""

    framework = "max"
    flags: Mapping[str, bool] = {"ragged": True, "past": True}

    def __init__(
        self, settings: dict[str, Any], directory: str, progress: Callable[[str], None]
    ) -> None:
        require_max()
        from .max_layers import MaxLayers  # pyright: ignore[reportMissingImports]

        self.notes: list[str] = []
        progress("loading the model into MAX")
        model, dtype = _staged(settings, directory, LoadingWatcher(self.notes, progress))
        self._layers: Any = MaxLayers(
            model, dtype=dtype, device=_device(settings["device"]),
            module_api=settings["module_api"], num_hidden_layers=None,
            allow_unsupported=settings["allow_unsupported"], progress=progress,
        )  # fmt: skip
        self.framework_version: str = self._layers.framework_version

    def layers(self) -> list[LayerInfo]:
        return self._layers.layers()

    def run(
        self, name: str, tensors: dict[str, torch.Tensor], call: dict[str, Any] | None
    ) -> RerunOutputs:
        if call is not None:
            raise RerunError("MAX layers are not called with another framework's arguments")
        extra = {key: tensor for key, tensor in tensors.items() if key in _EXTRA}
        inputs = {key: tensor for key, tensor in tensors.items() if key not in _EXTRA}
        return self._layers.rerun(name, inputs, extra)


def _staged(settings: dict[str, Any], directory: str, watcher: LoadingWatcher) -> tuple[str, str]:
    """The directory that MAX loads, a copy where it is cut, cast or without weights; the dtype."""
    plan = Plan(
        settings["model"], (), dtype=settings["dtype"], layers=settings["layers"],
        seed=settings["seed"],
    )  # fmt: skip
    config = load_config(plan)
    into = tempfile.mkdtemp(prefix="checkpoint-", dir=directory)
    return stage_for_max(plan, config, into, watcher), plan.dtype or own_dtype_name(config)


def _device(wanted: str) -> str:
    if wanted.startswith("cuda:"):
        raise CaptureError(f"--device {wanted}: MAX runs on the first GPU here, --device cuda")
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
