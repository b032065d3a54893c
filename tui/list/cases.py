"""Folders of captures, one for each case: one pair at a time is on the screen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..commands import CommandError
from ..session import Cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...compare.case_pairs import CasePair
    from ..jobs.request import Request
    from ..session import Host
    from .comparing import Comparing

NO_CASES = "one pair of captures only: these are no folders with a capture for each case"


class CaseChoice:
    """Brings another pair to the screen, and keeps what came of those that were there."""

    def __init__(self, host: Host, comparing: Comparing) -> None:
        self._host, self._comparing = host, comparing
        self._before: tuple[Request, int] | None = None  # to go back to where a case is refused

    def found(self, pairs: Sequence[CasePair]) -> None:
        """Both sides are folders: the first pair that both have is read."""
        at = next((i for i, pair in enumerate(pairs) if not pair.lacking), None)
        if at is None:
            self._host.give_up("the two folders of captures have no case in common")
            return
        self._host.session.cases = Cases(tuple(pairs), at)
        self._open(at)

    def step(self, direction: int) -> None:
        """To the next case that both sides have, or the one before."""
        cases = self._host.session.cases
        if cases is None:
            self._host.say(NO_CASES)
            return
        at = cases.at + direction
        while 0 <= at < len(cases.pairs) and cases.pairs[at].lacking:
            at += direction
        if 0 <= at < len(cases.pairs):
            self._open(at)
        else:
            self._host.say("the last case" if direction > 0 else "the first case")

    def command(self, text: str) -> None:
        """`:case N` or `:case NAME`; without either say what came of each."""
        cases = self._host.session.cases
        if cases is None:
            raise CommandError(NO_CASES)
        if not text:
            self._host.say(overview(cases))
            return
        names = [pair.name for pair in cases.pairs]
        at = names.index(text) if text in names else int(text) - 1 if text.isdecimal() else -1
        if not 0 <= at < len(names):
            raise CommandError(f"no case {text!r}: there are {', '.join(names)}")
        if cases.pairs[at].lacking:
            raise CommandError(f"{names[at]}: {cases.pairs[at].lacking}")
        self._open(at)

    def note(self) -> None:
        """Everything is measured: keep what came of the case."""
        session = self._host.session
        if session.cases is not None and session.comparison is not None:
            from ...compare.reports.nothing_compared import nothing_compared

            nothing, found = nothing_compared(session.comparison), session.comparison.failing
            words = f"{len(found)} diverged" if found else "no divergence"
            words = words if nothing is None else nothing.line
            session.cases.outcomes[session.request.case] = words
            self._before = None

    def take_back(self) -> None:
        """The case cannot be opened: the one of before is still on the screen."""
        session = self._host.session
        if self._before is not None and session.cases is not None:
            session.cases.outcomes[session.request.case] = "cannot be opened"
            session.request, session.cases.at = self._before
            self._before = None

    def _open(self, at: int) -> None:
        session = self._host.session
        assert session.cases is not None
        pair = session.cases.pairs[at]
        assert pair.reference is not None and pair.candidate is not None
        if session.comparison is not None:
            self._before = (session.request, session.cases.at)
        session.cases.at = at
        session.touched = False  # another pair opens on its own answer
        session.request = replace(
            session.request, reference=pair.reference, candidate=pair.candidate, case=pair.name
        )
        self._host.say("")  # what was said was about another case
        self._comparing.read_again()


def overview(cases: Cases) -> str:
    """`test0: no divergence; test1: 3 diverged; test2: not looked at`."""
    parts = [
        f"{pair.name}: {pair.lacking or cases.outcomes.get(pair.name, 'not looked at')}"
        for pair in cases.pairs
    ]
    return "; ".join(parts)
