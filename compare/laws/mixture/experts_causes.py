"""What can be wrong with the experts of a mixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..feed_forward.functions import function_named
from ..law import Case
from ..names import number_words
from .expert_form import COUNTED, Mixture
from .routing import changes

_COMMON = ("silu", "gelu", "gelu (tanh form)", "quick gelu", "relu", "no function")

# Name of the cause, text, parameter, the reference's, the candidate's, the changed mixture.
Change = tuple[str, str, str, str, str, Mixture]


def experts_hypotheses(mixture: Mixture, case: Case) -> Iterator[Change]:
    """One change at a time."""
    ours = mixture.form.function.words
    for theirs in (name for name in _COMMON if name != ours):
        form = replace(mixture.form, function=function_named(theirs))
        text = f"{theirs} where the reference has {ours}"
        yield "activation", text, "function", ours, theirs, replace(mixture, form=form)
    text = "gate and up of the experts are swapped"
    yield "swapped", text, "gate", "gate", "up", replace(mixture, swapped=True)
    for counted in COUNTED[1:]:
        text = f"experts are weighted by {counted} where the reference uses {mixture.count_as}"
        changed = replace(mixture, count_as=counted)
        yield "routing", text, "scores", mixture.count_as, counted, changed
    for shift in (1, -1):
        text = f"each expert is replaced by the one {'after' if shift > 0 else 'before'} it"
        changed = replace(mixture, shift=shift)
        yield "routing", text, "experts", "in order", f"shifted by {shift:+d}", changed
    if mixture.rule is not None:
        for text, parameter, own, theirs, rule in changes(mixture.rule, case):
            yield "routing", text, parameter, own, theirs, replace(mixture, rule=rule)
    limit = mixture.form.limit
    if limit is not None:
        text = f"gate and up are not limited to {number_words(limit)}"
        form = replace(mixture.form, limit=None)
        yield "clamp", text, "limit", number_words(limit), "none", replace(mixture, form=form)
