"""Where the program keeps what is not a capture: settings, cached results, state.

The XDG variables decide (`XDG_CONFIG_HOME`, `XDG_CACHE_HOME`, `XDG_STATE_HOME`), else the
platform's habit. Nothing is created here.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_NAME = "layertui"


def config_dir() -> Path:
    """Settings that the user writes."""
    return _place("XDG_CONFIG_HOME", platformdirs.user_config_dir(_NAME))


def cache_dir() -> Path:
    """What can be made again: measured results, demo captures."""
    return _place("XDG_CACHE_HOME", platformdirs.user_cache_dir(_NAME))


def state_dir() -> Path:
    """What should survive but is not worth a backup: history, marks, the crash log."""
    return _place("XDG_STATE_HOME", platformdirs.user_state_dir(_NAME))


def _place(variable: str, usual: str) -> Path:
    """The XDG base directories specification: a relative path in the variable is ignored."""
    chosen = Path(os.environ.get(variable, ""))
    return chosen / _NAME if chosen.is_absolute() else _default(variable, Path(usual))


def _default(variable: str, usual: Path) -> Path:
    """`usual`, unless platformdirs took it from a relative path in the variable."""
    if usual.is_absolute():
        return usual
    home = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}.get(variable, ".local/state")
    return Path.home() / home / _NAME
