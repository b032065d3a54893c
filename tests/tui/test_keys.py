"""One table of keys: documented, bound, and never two meanings for one key."""

from __future__ import annotations

import pytest

from layertui.tui import keys_markdown
from layertui.tui.app import LayertuiApp
from layertui.tui.keys import KEYS, Key, Scope, bindings, bindings_of, footer_of, show_key
from layertui.tui.list.screen import ListScreen
from layertui.tui.overview.map_screen import MapScreen
from layertui.tui.overview.trend_screen import TrendScreen
from layertui.tui.pair.screen import PairScreen
from layertui.tui.pair.views.registry import own_keys

_SCREENS = {"list": ListScreen, "pair": PairScreen, "map": MapScreen, "trend": TrendScreen}

# The keys that people's fingers rely on.
_EVERYWHERE = (
    "j k down up ctrl+d ctrl+u pagedown pageup ctrl+b ctrl+f g G home end right_square_bracket "
    "left_square_bracket e y Y colon ctrl+p question_mark escape q Q ctrl+c ctrl+z ctrl+l"
)
_LIST = "f right_curly_bracket left_curly_bracket slash n N ampersand d o m t space u p P"
_LIST_TOO = "M T w ctrl+r enter c C minus left h plus right l zM zR"
_LIST_MOTIONS = "gg H L zz zt zb ctrl+o ctrl+i tab ''"
_MAP = "enter v left h right l"
_TREND = "enter plus minus left h right l"
_PAIR = (
    "1 2 3 4 5 6 7 8 tab shift+tab J K s a enter plus minus backspace v x i l w z left right "
    "vertical_line shift+left shift+right less_than_sign greater_than_sign"
)


def keys_on(scope: Scope) -> list[Key]:
    """Everything that works on a screen."""
    return list(_SCREENS[scope].all_keys())


def _names(scope: str) -> set[str]:
    keys = [*KEYS, *own_keys()] if scope == "pair" else KEYS
    return {name for key in keys if key.scope == scope for name in key.keys.split(",")}


def test_all_agreed_keys_are_in_the_table() -> None:
    assert set(_EVERYWHERE.split()) <= _names("everywhere")
    assert set(f"{_LIST} {_LIST_TOO} {_LIST_MOTIONS}".split()) == _names("list")
    assert set(_PAIR.split()) == _names("pair")
    assert set(_MAP.split()) == _names("map")
    assert set(_TREND.split()) == _names("trend")


@pytest.mark.parametrize("scope", _SCREENS)
def test_no_key_has_two_meanings_on_a_screen(scope: Scope) -> None:
    names = [name for key in keys_on(scope) for name in key.keys.split(",")]
    assert len(names) == len(set(names))


def test_ids_are_unique_and_everything_is_described() -> None:
    keys = {key for key in KEYS if key.scope != "pair"} | set(own_keys())
    assert len({key.id for key in keys}) == len(keys)
    assert all(key.label and key.description for key in keys)


@pytest.mark.parametrize("scope", _SCREENS)
def test_every_key_is_bound_to_something_that_exists(scope: Scope) -> None:
    screen = _SCREENS[scope]
    for key in keys_on(scope):
        owner, name = screen, key.action.partition("(")[0]
        if name.startswith("app."):
            owner, name = LayertuiApp, name.removeprefix("app.")
        assert callable(getattr(owner, f"action_{name}", None)), key.id


@pytest.mark.parametrize("scope", _SCREENS)
def test_the_screens_have_the_bindings_of_the_table(scope: Scope) -> None:
    classes = _SCREENS[scope].__mro__
    tables = [each.__dict__.get("BINDINGS", ()) for each in classes]
    bound = {name for table in tables for binding in table for name in binding.key.split(",")}
    assert {name for key in keys_on(scope) for name in key.keys.split(",")} <= bound


def test_bindings_have_ids() -> None:
    scopes = [bindings_of("everywhere"), bindings_of("list"), bindings_of("map"),
              bindings_of("trend"),
              bindings(own_keys())]  # fmt: skip
    ids = [binding.id for scope in scopes for binding in scope]
    assert None not in ids
    assert len(ids) == len(set(ids))


def test_markdown_has_every_key_and_description() -> None:
    text = keys_markdown()
    for key in (*KEYS, *own_keys()):
        assert key.description in text
        for name in key.keys.split(","):
            assert f"`{show_key(name)}`" in text


def test_footer_ends_with_help_and_quit() -> None:
    for scope in _SCREENS:
        assert [key.id for key in footer_of(keys_on(scope))][-2:] == ["help", "back"]
