"""Writing pairs made by hand and recipes that were kept to the rules file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..question import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...compare.rules.rules import HandPair, RecipeRule
    from ..completion.completer import Completions
    from ..session import Host

_FILE = "layertui-rules.toml"


class Saving:
    """Writes what this session changed; asks for a file where it has none."""

    def __init__(self, host: Host, completions: Completions) -> None:
        self._host, self._path = host, completions.path

    def save(self, text: str = "") -> None:
        """`:save [FILE]`: everything that is in no rules file yet."""
        session = self._host.session
        unsaved = session.unsaved
        if unsaved.empty:
            self._host.say("nothing to save: no pair was made by hand and no recipe kept")
            return
        if text:
            session.rules_path = text.strip()

        def saved(path: str) -> None:
            count = len(unsaved.recipes) + len(unsaved.pairs) + len(unsaved.apart)
            unsaved.clear()
            self._host.say(f"{count} rules written to {path}")

        self.write(unsaved.recipes, unsaved.pairs, unsaved.apart, saved)

    def write(
        self, recipes: list[RecipeRule], pairs: list[HandPair], apart: list[HandPair],
        then: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Write to the rules file and go on with `then`, which gets its path."""
        session = self._host.session

        def write(path: str) -> None:
            from ...compare.rules.edit import save_to_rules
            from ...compare.rules.rules import RulesError

            try:
                save_to_rules(path, recipes, pairs, apart)
            except RulesError as error:
                self._host.say(str(error), warn=True)
                return
            session.rules_path = path
            then(path)

        def answered(text: str) -> None:
            if text.strip():
                write(os.path.expanduser(text.strip()))
            else:
                self._host.say("not saved")

        if session.rules_path is not None:
            write(session.rules_path)
        else:
            self._host.ask(Question("rules file: ", answered, _FILE, complete=self._path))
