"""What can be wrong with a norm: one change at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ....capture.values import Array
from ...matching.names.canonical import parent_of
from ..law import Case, Fit, Hypothesis, Scene, Site
from ..names import number_words
from .form import KINDS, SURE, USUAL_EPS, Norm, eps_words, estimate_eps, predicted


def eps_hypotheses(norm: Norm, case: Case) -> Iterator[Hypothesis]:
    if norm.kind == "none":
        return
    eps, error = estimate_eps(norm, case)
    ours = eps_words(norm.eps, norm.eps_error)
    for value in dict.fromkeys((*USUAL_EPS, norm.eps * norm.eps)):
        if value != norm.eps and abs(value - eps) <= SURE * error:
            text = f"eps {number_words(value)} where the reference has {ours}"
            yield _with("eps", replace(norm, eps=value), case, text, "eps", ours,
                        number_words(value), number_words(error))  # fmt: skip
    theirs = eps_words(eps, error)
    text = f"eps {theirs} where the reference has {ours}"
    changed = replace(norm, eps=eps)
    yield _with("eps", changed, case, text, "eps", ours, theirs, number_words(error), 1)


def kind_hypotheses(norm: Norm, case: Case) -> Iterator[Hypothesis]:
    for kind in ("rms", "layer", "none"):
        if kind == norm.kind:
            continue
        name = "norm-missing" if kind == "none" else "norm-kind"
        text = f"{KINDS[kind]} where the reference has {KINDS[norm.kind]}"
        if kind == "none":
            text = "the norm is not applied: the input is passed on"
            bare = Norm("none", 0.0)
            yield _with(name, bare, case, text, "kind", KINDS[norm.kind], "none")
            text = "the input is multiplied by the weight, but not normalised"
        other = replace(norm, kind=kind)
        yield _with(name, other, case, text, "kind", KINDS[norm.kind], KINDS[kind])


def weight_hypotheses(
    scene: Scene, site: Site, fit: Fit, norm: Norm, case: Case
) -> Iterator[Hypothesis]:
    if norm.weight is None:
        return
    for offset in (1.0, -1.0):
        text = f"weight {'+' if offset > 0 else '-'} 1 where the reference has the weight"
        if norm.offset and offset < 0:
            text = "weight where the reference has weight + 1"
        yield _with("weight-offset", replace(norm, weight=norm.weight + offset), case, text,
                    "weight", "weight", f"weight {offset:+g}")  # fmt: skip
    plain = replace(norm, weight=None)
    yield _with("weight-ignored", plain, case, "the weight is not applied (taken as 1)", "weight",
                "weight", "1")  # fmt: skip
    if norm.bias is not None:
        text = "the bias is not added"
        yield _with("bias", replace(norm, bias=None), case, text, "bias", "added", "not added")
    if not fit.read or scene.parameters is None:
        return
    for module, weight in other_norms(scene, site, norm.weight.shape):
        same_layer = parent_of(module) == parent_of(site.module)
        name = "other-weights" if same_layer else "other-layer"
        values = weight + norm.offset
        text = f"the weight of {module} where the reference uses its own"
        yield _with(name, replace(norm, weight=values), case, text, "weight", site.module, module)


def other_norms(scene: Scene, site: Site, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """The weights of all other norms of this width."""
    assert scene.parameters is not None
    for module in scene.reference.classes | dict.fromkeys(k.module for k in scene.reference.known):
        if module == site.module or scene.reference.role(module) != "norm":
            continue
        weight = scene.parameters.weight(module)
        if weight is not None and weight.shape == shape:
            yield module, weight.read().astype(np.float64)


def _with(
    name: str, norm: Norm, case: Case, text: str, parameter: str, reference: str,
    candidate: str, uncertainty: str = "", count: int = 0,
) -> Hypothesis:  # fmt: skip
    return Hypothesis(
        name, text, lambda: predicted(norm, case), parameter, reference, candidate, uncertainty,
        count,
    )  # fmt: skip
