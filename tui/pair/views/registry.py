"""The views of the pair screen. This is the one place where a view is registered: its number, its
keys, their help and its line in the tabs follow from `VIEWS`.
"""

from __future__ import annotations

from dataclasses import replace

from ...keys import KEYS, Key, show_key
from .explain import ExplainView
from .heat import HeatView
from .histogram import HistogramView
from .layout import LayoutView
from .rerun import RerunView
from .stats import StatsView
from .top import TopView
from .values import ValuesView
from .view import View, ViewKey

VIEWS: tuple[type[View], ...] = (
    StatsView, TopView, HistogramView, HeatView, ValuesView, LayoutView, RerunView, ExplainView,
)  # fmt: skip

_MOST_NUMBERS = 9  # number keys; later views are reached with Tab and `:view NAME`


def number_of(name: str) -> int:
    """The number of a view, from 1."""
    return next(at for at, view in enumerate(VIEWS, 1) if name == view.NAME)


def own_keys() -> list[Key]:
    """All keys of the pair screen's own, in the order of its help."""
    return [*_number_keys(), *(key for key in KEYS if key.scope == "pair"), *_view_keys()]


def footer_keys(name: str) -> list[Key]:
    """The keys of a view that its footer shows, in its order."""
    view = VIEWS[number_of(name) - 1]
    shown = [_key(each, each.description) for each in view.KEYS if each.footer]
    return sorted(shown, key=lambda key: key.footer)


def refusal(action: str) -> str:
    """What is said where the view in front has no such action."""
    keys = {each.keys for view in VIEWS for each in view.KEYS if each.action == action}
    shown = " ".join(dict.fromkeys(show_key(name) for name in ",".join(sorted(keys)).split(",")))
    return f"{shown} belongs to {_homes(action)}"


def refused_command(name: str) -> str:
    """The same for a command."""
    homes = [view for view in VIEWS if name in view.COMMANDS]
    return f"{name} belongs to {_listed(homes)}"


def _homes(action: str) -> str:
    return _listed([v for v in VIEWS if any(each.action == action for each in v.KEYS)])


def _listed(views: list[type[View]]) -> str:
    words = [f"{view.title.lower()} ({number_of(view.NAME)})" for view in views]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _number_keys() -> list[Key]:
    return [
        Key(f"view-{at}", str(at), f"view('{view.NAME}')", view.title.lower(), view.about, "pair")
        for at, view in enumerate(VIEWS[:_MOST_NUMBERS], 1)
    ]


def _view_keys() -> list[Key]:
    """Keys that mean something in some views: one for several that share it."""
    found: dict[str, Key] = {}
    for view in VIEWS:
        for each in view.KEYS:
            words = f"{view.title.lower()}: {each.description}"
            known = found.get(each.action)
            if known is None:
                found[each.action] = replace(_key(each, words), footer=0)
            else:
                label = known.label if known.label == each.label else each.action
                description = f"{known.description}; {words}"
                found[each.action] = replace(known, label=label, description=description)
    return list(found.values())


def _key(each: ViewKey, description: str) -> Key:
    action = each.action if each.any_view else f"view_action('{each.action}')"
    return Key(each.action, each.keys, action, each.label, description, "pair", each.footer)
