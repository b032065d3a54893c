"""Settings that are changed while the screens are there, and kept in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..state import write_atomically
from ..theme import Look
from .settings import HERE
from .table import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.driver import Driver
    from textual.screen import Screen

    from ..controllers import Controllers
    from ..session import Session


class Program(Protocol):
    """What settings change."""

    look: Look
    theme: str
    session: Session
    controllers: Controllers
    _driver: Driver | None

    @property
    def screen_stack(self) -> Sequence[Screen[Any]]: ...


class SettingChanges:
    """Carries out `:set`."""

    def __init__(self, app: Program) -> None:
        self._app = app

    def change(self, name: str, value: str) -> None:
        """Give a setting another value, at once. Raises `SettingError`."""
        app = self._app
        settings = app.session.settings.with_value(name, value, HERE)
        if name == "theme":
            from ..background import is_light

            self._use_light(is_light(settings["theme"], app.look.terminal))
        elif name == "mouse":
            self._use_mouse(settings["mouse"] == "on")
        elif name == "metric" and settings["metric"] != "last":
            app.controllers.judging.metric(settings["metric"])
        elif name == "fold" and settings["fold"] != "auto":
            app.controllers.folding.all(settings["fold"] == "layers")
        app.session.settings = settings

    def save(self) -> str:
        """Write what was set here to the settings file, whose other lines stay as they are; its
        path. Raises `SettingError`.
        """
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        settings = self._app.session.settings
        path = Path(settings.path)
        changed = {n: settings[n] for n, source in settings.sources.items() if source == HERE}
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            document = tomlkit.parse(text)
            for name, value in changed.items():
                document[name] = value
            path.parent.mkdir(parents=True, exist_ok=True)
            text = tomlkit.dumps(document)
            write_atomically(path, text)
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingError(f"{path}: {reason}") from error
        return str(path)

    def _use_light(self, light: bool) -> None:
        """Other colours, on all screens."""
        from ..textual_theme import theme_name

        app = self._app
        app.look = Look(replace(app.look.terminal, light=light))
        app.theme = theme_name(app.look.terminal)
        for screen in app.screen_stack:
            restyle = getattr(screen, "restyle", None)  # a screen with lines of its own
            if restyle is not None:
                restyle()

    def _use_mouse(self, on: bool) -> None:
        """Tell the terminal to report the mouse, or to keep it."""
        driver = self._app._driver
        if driver is None:
            return
        driver._mouse = True  # else neither of the two writes anything
        enable = getattr(driver, "_enable_mouse_support", None)
        disable = getattr(driver, "_disable_mouse_support", None)
        switch = enable if on else disable
        if switch is not None:
            switch()
        driver._mouse = on
