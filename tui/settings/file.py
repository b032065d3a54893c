"""The settings file: TOML, of which only what is not understood is left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from .table import SettingError, setting_named

KeyNames = Mapping[str, tuple[str, ...]]  # as the user writes keys, by what they do
_LARGEST = 1_000_000  # bytes; a file of settings has some hundred


@dataclass(frozen=True)
class FileSettings:
    """What a file sets, and a line about each thing in it that means nothing."""

    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_file(path: str, *, must_be_there: bool) -> FileSettings:
    """The settings in a file; none of a file that is not there and need not be."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not must_be_there:
            return FileSettings()
        return FileSettings(problems=(f"{path}: {error.strerror}",))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return FileSettings(problems=(f"{path}: cannot be read: {reason}",))
    if len(content) > _LARGEST:
        return FileSettings(problems=(f"{path}: more than a megabyte: no file of settings",))
    return parse_settings(content, path)


def parse_settings(content: bytes, path: str) -> FileSettings:
    """What the bytes of a file set; `path` names it in problems."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]

    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return FileSettings(problems=(f"{path}: not valid TOML: {error}",))
    except RecursionError:
        return FileSettings(problems=(f"{path}: not valid TOML: nested too deeply",))
    values: dict[str, str] = {}
    keys: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for name, value in data.items():
        try:
            if name == "keys":
                keys = _keys(value, path, problems)
            else:
                values[name] = setting_named(name).value(value)
        except SettingError as error:
            problems.append(f"{path}: {error}")
    return FileSettings(values, keys, tuple(problems))


def _keys(table: object, path: str, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """Keys by what they do: words in one string, or a list of strings. What is neither becomes a
    problem. Raises `SettingError` where there is no table.
    """
    if not isinstance(table, dict):
        raise SettingError('keys is a table: [keys], then lines as search = "s"')
    found: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        names = value.split() if isinstance(value, str) else value
        if isinstance(names, list) and names and all(isinstance(each, str) for each in names):
            found[str(name)] = tuple(names)
        else:
            problems.append(f"{path}: keys.{name} is a string with keys, or a list of strings")
    return found
