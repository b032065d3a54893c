"""Two folders of captures, one for each case: which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..capture.cases import find_cases, read_index
from ..capture.errors import CaptureError

if TYPE_CHECKING:
    from .rules.rules import Rules


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case; a side that does not have it is None."""

    name: str
    reference: str | None
    candidate: str | None

    @property
    def lacking(self) -> str:
        """`the candidate has no such case`; empty where both have it."""
        if self.reference is not None and self.candidate is not None:
            return ""
        side = "reference" if self.reference is None else "candidate"
        return f"the {side} has no such case"


def case_pairs(
    reference: str, candidate: str, rules: Rules | None = None
) -> list[CasePair] | None:  # fmt: skip
    """The cases of both directories in the reference's order; None where neither has an index, and
    the sub-directories of both are not cases either. `rules` say where ranks stand.

    Raises `CaptureError` where only one has an index.
    """
    layouts = (None, None) if rules is None else rules.layouts
    ref, cand = read_index(reference), read_index(candidate)
    if ref is None and cand is None:
        ref, cand = find_cases(reference, layouts[0]), find_cases(candidate, layouts[1])
        # Of data-parallel ranks one side may have a single one.
        if ref is None and cand is not None:
            ref = find_cases(reference, layouts[0], of=cand)
        elif cand is None and ref is not None:
            cand = find_cases(candidate, layouts[1], of=ref)
        if ref is None or cand is None or not ref.keys() & cand.keys():
            return None
    for path, cases, other in ((reference, ref, candidate), (candidate, cand, reference)):
        if cases is None:
            holder = next(iter((cand if ref is None else ref) or {}))
            raise CaptureError(
                f"{other} holds several captures and {path} does not; give one of them, "
                f"such as {other}/{holder}"
            )
    ref, cand = ref or {}, cand or {}
    names = [*ref, *(name for name in cand if name not in ref)]
    return [CasePair(name, ref.get(name), cand.get(name)) for name in names]
