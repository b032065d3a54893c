"""Every setting, once. The file, the environment, `:set` and its completion are made from this."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache


class SettingError(Exception):
    """A setting that does not exist, or a value that it cannot have; one line for the user."""


@dataclass(frozen=True)
class Setting:
    """`choices` are all values, the first the usual one."""

    name: str
    choices: tuple[str, ...]
    description: str

    @property
    def usual(self) -> str:
        return self.choices[0]

    @property
    def variable(self) -> str:
        """What sets it in the environment."""
        return f"LAYERTUI_{self.name.upper()}"

    def value(self, given: object) -> str:
        """The value that is meant, `true` and `false` for on and off. Raises `SettingError`."""
        text = {True: "on", False: "off"}.get(given, given) if isinstance(given, bool) else given
        if isinstance(text, str) and text in self.choices:
            return text
        raise SettingError(f"{self.name} is one of {', '.join(self.choices)}, not {given!r}")


@lru_cache(1)
def settings_table() -> dict[str, Setting]:
    """All settings by name, in the order in which `:set` lists them."""
    from ...compare.measuring.metrics import METRICS

    table = (
        Setting("theme", ("auto", "dark", "light"),
                "colours for a dark or a light ground; auto asks the terminal"),
        Setting("metric", ("last", *METRICS),
                "what badges show at the start; last: what they showed last"),
        Setting("fold", ("auto", "layers", "none"),
                "start with the layers folded; auto: where the list is longer than the screen"),
        Setting("mouse", ("on", "off"), "off leaves the mouse to the terminal"),
    )  # fmt: skip
    return {setting.name: setting for setting in table}


def setting_named(name: str) -> Setting:
    """The setting of that name. Raises `SettingError`."""
    table = settings_table()
    if name in table:
        return table[name]
    near = get_close_matches(name, table, 1)
    raise SettingError(f"no setting {name!r}" + (f"; did you mean {near[0]}?" if near else
                                                 f": {', '.join(table)}"))  # fmt: skip
