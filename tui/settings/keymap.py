"""Keys that the user gave other meanings, by the ids of what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from ..keys import Key, named_key, show_key
from .file import KeyNames


@dataclass(frozen=True)
class Keymap:
    """`names` are textual's names of the keys that the user chose, by id (`search`); `bindings` the
    ids of textual's bindings (`list.search`), by the same.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bindings: Mapping[str, str] = field(default_factory=dict)

    def shown(self, keys: Sequence[Key], among: Sequence[Key] | None = None) -> list[Key]:
        """Keys as they are now; `among` are all of the screen (None: these). What the user gave
        another meaning has lost the one of before; what has no key left is not there.
        """
        taken = {name for key in among or keys for name in self.names.get(key.id, ())}
        found: list[Key] = []
        for key in keys:
            names = self.names.get(key.id)
            if names is None:
                names = tuple(name for name in key.keys.split(",") if name not in taken)
            if names:
                found.append(replace(key, keys=",".join(names)))
        return found

    def textual(self) -> dict[str, str]:
        """The keymap that textual's bindings take, by their ids."""
        return {self.bindings[id_]: ",".join(names) for id_, names in self.names.items()}

    def conflicts(self, screens: Mapping[str, Sequence[Key]]) -> list[str]:
        """A line about each key that loses a meaning on a screen, or has two, in their order."""
        lines: list[str] = []
        for title, keys in screens.items():
            chosen = [(name, key.id) for key in keys for name in self.names.get(key.id, ())]
            for name, id_ in chosen:
                for other in keys:
                    if other.id not in self.names and name in other.keys.split(","):
                        lines.append(f"{show_key(name)} is {id_} now, not {other.id} ({title})")
                lines += [
                    f"{show_key(name)} is both {id_} and {other} ({title})"
                    for again, other in chosen
                    if again == name and id_ < other
                ]
        return lines


def make_keymap(given: KeyNames, keys: Sequence[Key]) -> tuple[Keymap, list[str]]:
    """The keymap of a settings file, and a line about each id or key that does not exist."""
    known = {key.id: f"{key.scope}.{key.id}" for key in keys}
    names: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for written, shown in given.items():
        at = written.rpartition(".")[2]  # `list.search` is as good as `search`
        found = [named_key(each) for each in shown]
        if at not in known:
            near = get_close_matches(at, known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            problems.append(f"keys: nothing is called {written!r}{meant}")
        elif None in found:
            wrong = shown[found.index(None)]
            problems.append(f"keys.{written}: no key is called {wrong!r}")
        else:
            names[at] = tuple(name for name in found if name is not None)
    return Keymap(names, {id_: known[id_] for id_ in names}), problems
