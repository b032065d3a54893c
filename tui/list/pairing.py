"""Pairing by hand: two records become a pair, or a pair is taken apart; recipes are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...compare.rules.rules import HandPair, RecipeRule
    from ..session import Host
    from .comparing import Comparing
    from .face import ListFace
    from .saving import Saving


class Pairing:
    """Makes rows anew by what the user says of pairs and recipes."""

    def __init__(
        self, host: Host, face: ListFace, comparing: Comparing, saving: Saving
    ) -> None:  # fmt: skip
        self._host, self._face = host, face
        self._comparing, self._saving = comparing, saving
        self._half: tuple[str, str] | None = None  # kind of gap and name: waits for its partner

    def pair(self) -> None:
        """Take the unpaired record under the cursor; then, on one of the other side, pair both.
        Where values offer a pair for the row under the cursor, that is made at once.
        """
        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None or self._refused():
            return
        found = comparison.rows[row]
        record = found.reference or found.candidate
        offer = comparison.offer(row) if self._half is None else None
        if offer is not None:
            done = f"{offer.words}: paired; w writes it to the rules file"
            self._change(done, pairs=[offer.pair], apart=[*offer.apart])
        elif found.kind == "pair" or record is None:
            self._host.say("this record is already paired; P unpairs it", warn=True)
        elif self._half is None or self._half[0] == found.kind:
            self._half = (found.kind, record.name)
            other = "candidate" if found.kind == "gap_reference" else "reference"
            self._host.say(
                f"{found.label}: now p on its partner, an unpaired record of the {other}"
            )
        else:
            from ...compare.rules.rules import HandPair

            names = (self._half[1], record.name)
            pair = HandPair(*(names if found.kind == "gap_candidate" else names[::-1]))
            self._half = None
            self._change("paired by hand; w writes it to the rules file", pairs=[pair])

    def unpair(self) -> None:
        """Take the pair under the cursor apart; put a record taken out of one back."""
        comparison, row = self._host.session.comparison, self._host.session.row
        if comparison is None or row is None or self._refused():
            return
        found = comparison.rows[row]
        if found.reference is None or found.candidate is None:
            before = comparison.taken_apart(row)
            if before:
                self._change("pair restored", restored=before)
            else:
                self._host.say("not a pair, and never part of one", warn=True)
            return
        from ...compare.rules.rules import HandPair

        pair = HandPair(found.reference.name, found.candidate.name)
        self._change("unpaired", apart=[pair])

    def _refused(self) -> bool:
        """On a folded line nobody sees which record is meant."""
        if self._face.folded:
            self._host.say("several records are folded here: + shows them", warn=True)
        return self._face.folded

    def give_up(self) -> bool:
        """Forget the record that waits for its partner; False when there is none."""
        if self._half is None:
            return False
        self._half = None
        return True

    def keep_recipes(
        self, recipes: list[RecipeRule], pairs: list[HandPair], done: str, save: bool
    ) -> None:
        """Recipes (and the pairs that they are for) for this session, and in the rules file."""
        if not save:
            done = f"{done}; :save writes it to the rules file"
            self._change(done, pairs=pairs, recipes=recipes)
            return
        self._saving.write(
            recipes, pairs, [],
            lambda path: self._change(f"{done}; written to {path}", pairs=pairs, recipes=recipes),
        )  # fmt: skip

    def _change(
        self, done: str, *, pairs: list[HandPair] | None = None,
        apart: list[HandPair] | None = None, restored: list[HandPair] | None = None,
        recipes: list[RecipeRule] | None = None,
    ) -> None:  # fmt: skip
        """Change the rows once nothing measures them; cursor and marks stay on their records."""
        changes = pairs or [], apart or [], restored or [], recipes or []

        def change() -> None:
            session = self._host.session
            if session.comparison is None:
                return
            self._face.remember_place()
            session.comparison.repair(*changes)
            session.unsaved.add(*changes)
            session.request = replace(session.request, rules=session.comparison.rules)
            self._face.show_rows()
            self._host.front.after_command()
            self._host.say(done)
            self._comparing.measure_again()

        self._comparing.after_work(change)
