"""What can be wrong with attention: one change of its form at a time."""

from __future__ import annotations

from collections.abc import Iterator

from .attention_fit import fitting
from .attention_math import predicted
from .generic import output_hypotheses
from .law import Case, Fit, Hypothesis, Scene, Site


def attention_hypotheses(
    scene: Scene, site: Site, fit: Fit, reference: Case, candidate: Case
) -> Iterator[Hypothesis]:
    form = fit.values["form"]
    material = fitting(form, candidate.more["material"], fit.values["rotary"])
    if material is None:
        return
    base = predicted(form, material, candidate.units, candidate.output)
    yield from output_hypotheses(base, candidate, site.groups)
