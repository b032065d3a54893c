"""The settings in effect, and where each comes from: usual values, file, environment, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...capture.user.paths import config_dir
from .file import KeyNames, read_file
from .table import SettingError, setting_named, settings_table

USUAL = "usual"
OPTION = "command line"
HERE = "set here"


@dataclass(frozen=True)
class Settings:
    """`values` and `sources` by name, `keys` by the id of what they do; `problems` are lines about
    what could not be used, of the file at `path` or of the environment.
    """

    path: str
    values: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    keys: KeyNames = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, settings_table()[name].usual)

    @property
    def complaint(self) -> str:
        """What could not be used, in one line; empty where all could."""
        more = f"; {len(self.problems) - 1} more (:set)" if len(self.problems) > 1 else ""
        return f"{self.problems[0]}{more}" if self.problems else ""

    def source(self, name: str) -> str:
        """Where a value comes from, in words."""
        return self.sources.get(name, USUAL)

    def with_value(self, name: str, value: str, source: str) -> Settings:
        """With another value. Raises `SettingError`."""
        value = setting_named(name).value(value)
        return replace(self, values={**self.values, name: value},
                       sources={**self.sources, name: source})  # fmt: skip


def settings_path() -> Path:
    """The file that settings are read from where no other is named."""
    return config_dir() / "settings.toml"


def read_settings(
    path: str | None, environ: Mapping[str, str], options: Mapping[str, str | None]
) -> Settings:
    """The file at `path` (None: the usual one, which need not be there), under the environment,
    under the options of the command line (None: not given).
    """
    named = path or str(settings_path())
    found = read_file(named, must_be_there=path is not None)
    settings = Settings(named, found.values, dict.fromkeys(found.values, named), found.keys,
                        found.problems)  # fmt: skip
    for name, setting in settings_table().items():
        given = environ.get(setting.variable)
        if given:
            try:
                settings = settings.with_value(name, given, setting.variable)
            except SettingError as error:
                problem = f"{setting.variable}: {error}"
                settings = replace(settings, problems=(*settings.problems, problem))
        option = options.get(name)
        if option is not None:
            settings = settings.with_value(name, option, OPTION)
    return settings
