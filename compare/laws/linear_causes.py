"""What can be wrong with the weights of a projection."""

from __future__ import annotations

from collections.abc import Iterator

from .law import Case, Fit, Hypothesis, Prediction, Scene, Site


def weight_hypotheses(
    scene: Scene, site: Site, fit: Fit, candidate: Case, base: Prediction
) -> Iterator[Hypothesis]:
    """Other weights, the cheap ones first."""
    yield from ()
