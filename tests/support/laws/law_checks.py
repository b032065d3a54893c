"""Captures of real torch modules, and all laws tried on a pair of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layertui.capture import record
from layertui.capture.weights import open_weights
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.laws.causes import Diagnosis, diagnose
from layertui.compare.laws.evaluate import evaluations
from layertui.compare.laws.law import Scene, Site
from layertui.compare.laws.peers import Judged, Peers
from layertui.compare.laws.scene import make_scene


@dataclass(frozen=True)
class Tried:
    """What the laws say of a pair, by the label of their target."""

    comparison: Comparison
    scene: Scene
    judged: dict[str, Judged]

    def out(self) -> list[str]:
        """Targets that do not keep to their law."""
        return [label for label, judged in self.judged.items() if judged.excess is not None]

    def diagnosis(self, label: str) -> Diagnosis:
        return diagnose(self.scene, self.judged[label])

    def causes(self, label: str) -> list[str]:
        """The names of the causes of one target, best first."""
        return [cause.name for cause in self.diagnosis(label).causes]


def capture(model: torch.nn.Module, folder: Path, *args: Any, **kwargs: Any) -> Path:
    """Run a model and record everything."""
    with torch.inference_mode(), record(model, str(folder), overwrite=True):
        model(*args, **kwargs)
    return folder


def tried(
    reference: Path, candidate: Path, weights: Path | None = None,
    only: Callable[[Site], bool] | None = None,
) -> Tried:  # fmt: skip
    """All laws on a pair of captures, or those of some sites; `weights` is the reference's
    checkpoint.
    """
    comparison = open_comparison(str(reference), str(candidate))
    scene = make_scene(
        comparison.rows, comparison.reference, comparison.candidate,
        None if weights is None else open_weights(str(weights)), None, comparison.rules,
    )  # fmt: skip
    found = Peers(evaluations(scene, only=only)).judged()
    return Tried(comparison, scene, {j.evaluation.site.target.label: j for j in found})
