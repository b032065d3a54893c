"""Keys that are typed one after another: a count (`10j`), then a key of one or two characters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...keys import is_chord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...keys import Key

_MOST_DIGITS = 9  # more rows than any capture has
# Actions whose first number a count multiplies: `move(-1)` after 10 is `move(-10)`.
_REPEATED = frozenset(("move", "page", "divergence", "made", "block", "match", "place"))
_ACTION = re.compile(r"(\w+)\((-?[\d.]+)\)")


@dataclass(frozen=True)
class Step:
    """What a key came to. `actions` are to be run; `taken`: the key belongs to them, and to nothing
    else; `waiting` is what was typed so far, `problem` why it means nothing.
    """

    actions: tuple[str, ...] = ()
    taken: bool = True
    waiting: str = ""
    problem: str = ""


class TypedKeys:
    """What was typed and is not carried out yet. `keys` are those of the screen."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_name = {name: key for key in keys for name in key.keys.split(",")}
        self._chords = {name: key for name, key in self._by_name.items() if is_chord(name)}
        self._count = ""
        self._first = ""  # the first character of a chord
        self._first_name = ""  # and its key's name

    @property
    def waiting(self) -> str:
        """What was typed so far; empty where nothing was."""
        return self._count + self._first

    @property
    def may_act_alone(self) -> bool:
        """Whether what was typed means something if nothing follows: a lone `g`."""
        return bool(self._first) and self._first_name in self._by_name

    def press(self, name: str, character: str | None) -> Step:
        """A key, by textual's name for it, and the character that it types."""
        if name == "escape" and self.waiting:
            self.clear()
            return Step()
        typed = character or ""
        if self._first:
            return self._second(name, typed)
        if typed.isdecimal() and typed.isascii() and (self._count or typed != "0"):
            self._count = (self._count + typed)[:_MOST_DIGITS]
            return Step(waiting=self.waiting)
        if typed and any(chord[0] == typed for chord in self._chords):
            self._first, self._first_name = typed, name
            return Step(waiting=self.waiting)
        return self._single(name)

    def alone(self) -> Step:
        """Nothing followed the first character of a chord: it acts by itself."""
        return self._single(self._first_name)

    def clear(self) -> None:
        """Forget what was typed."""
        self._count = self._first = self._first_name = ""

    def hints(self) -> list[Key]:
        """The chords that begin with what was typed."""
        return [key for chord, key in self._chords.items() if chord[0] == self._first]

    def _single(self, name: str) -> Step:
        """A key of one character: only one with a count before it is not for others."""
        key, count, chord = self._by_name.get(name), self._count, bool(self._first)
        self.clear()
        if key is None or not (count or chord):
            return Step(taken=False)
        return Step((counted(key, count),))

    def _second(self, name: str, typed: str) -> Step:
        """The key after the first character of a chord. Where the two are none, the first acts if
        it means something by itself, and the second is as if nothing came before it.
        """
        key, count = self._chords.get(self._first + typed), self._count
        if key is not None:
            self.clear()
            return Step((counted(key, count),))
        if self.may_act_alone:
            first, rest = self.alone(), self.press(name, typed or None)
            return Step((*first.actions, *rest.actions), rest.taken, rest.waiting)
        shown = self._first + (typed if typed.isprintable() else "")
        self.clear()
        return Step(problem=f"{shown} means nothing")


def counted(key: Key, count: str) -> str:
    """The action of a key with a number typed before it (empty: without)."""
    if not count:
        return key.action
    if key.counted:
        return key.counted.format(int(count))
    found = _ACTION.fullmatch(key.action)
    if found is None or found[1] not in _REPEATED:
        return key.action
    number = float(found[2]) if "." in found[2] else int(found[2])
    return f"{found[1]}({number * int(count)})"
