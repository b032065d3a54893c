"""Two matrices of captures, compared case by case: one section a case, the worst exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..capture.cases import read_index
from ..capture.errors import CaptureError
from .errors import UserError

if TYPE_CHECKING:
    from ..compare.comparison import Comparison

SCHEMA = "layertui.compare-cases/1"


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case; a side that does not have it is None."""

    name: str
    reference: str | None
    candidate: str | None


def case_pairs(reference: str, candidate: str) -> list[CasePair] | None:
    """The cases of both directories in the reference's order; None where neither has an index.

    Raises `UserError` where only one has.
    """
    ref, cand = read_index(reference), read_index(candidate)
    if ref is None and cand is None:
        return None
    for path, cases, other in ((reference, ref, candidate), (candidate, cand, reference)):
        if cases is None:
            holder = next(iter((cand if ref is None else ref) or {}))
            raise UserError(
                f"{other} holds several captures and {path} does not; give one of them, "
                f"such as {other}/{holder}"
            )
    ref, cand = ref or {}, cand or {}
    names = [*ref, *(name for name in cand if name not in ref)]
    return [CasePair(name, ref.get(name), cand.get(name)) for name in names]


def compare_cases(
    pairs: list[CasePair],
    compared: Callable[[str, str], Comparison],
    text_of: Callable[[Comparison], str],
    min_coverage: float,
    as_json: bool,
    command: str,
) -> tuple[str, int]:
    """The whole report and the exit status: 1 also where a side lacks a case or cannot be opened.

    A case that cannot be opened is said in its section and does not end the others.
    """
    results = list(_results(pairs, compared, text_of, min_coverage))
    status = max(result.status for result in results)
    if as_json:
        cases = [
            {"case": result.name, "status": result.status,
             "report": None if result.problem else json.loads(result.text),
             "problem": result.problem}
            for result in results
        ]  # fmt: skip
        content: dict[str, Any] = {"schema": SCHEMA, "command": command, "cases": cases}
        return json.dumps(content, indent=1, allow_nan=False) + "\n", status
    return "\n".join(_section(result) for result in results), status


@dataclass(frozen=True, slots=True)
class _Result:
    name: str
    status: int
    text: str
    problem: str | None = None


def _results(
    pairs: list[CasePair],
    compared: Callable[[str, str], Comparison],
    text_of: Callable[[Comparison], str],
    min_coverage: float,
) -> Iterator[_Result]:
    for pair in pairs:
        if pair.reference is None or pair.candidate is None:
            side = "reference" if pair.reference is None else "candidate"
            yield _Result(pair.name, 1, "", f"the {side} has no such case")
            continue
        try:
            comparison = compared(pair.reference, pair.candidate)
        except CaptureError as error:
            yield _Result(pair.name, 1, "", str(error))
            continue
        yield _Result(pair.name, comparison.exit_status(min_coverage), text_of(comparison))


def _section(result: _Result) -> str:
    said = "agrees" if result.status == 0 else "differs"
    title = f"case {result.name}: {'not compared' if result.problem else said}"
    body = f"{result.problem}\n" if result.problem else result.text
    return f"{'=' * len(title)}\n{title}\n{'=' * len(title)}\n{body}"
