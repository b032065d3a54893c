"""Every key of both screens, once. Bindings, footer, help and README are made from this table, and
from the keys that the views of the pair screen declare (`pair/views/registry.py`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.binding import Binding

Scope = Literal["everywhere", "list", "pair", "map", "trend", "help"]

# How keys are shown where their textual name is not what is printed on them.
_SHOWN = {
    "right_square_bracket": "]", "left_square_bracket": "[", "right_curly_bracket": "}",
    "left_curly_bracket": "{", "right_parenthesis": ")", "left_parenthesis": "(", "slash": "/",
    "ampersand": "&", "colon": ":", "question_mark": "?",
    "escape": "Esc", "enter": "Enter", "space": "Space", "pagedown": "PgDn", "pageup": "PgUp",
    "home": "Home", "end": "End", "down": "Down", "up": "Up", "tab": "Tab",
    "shift+tab": "Shift-Tab",
    "left": "Left", "right": "Right", "shift+left": "Shift-Left", "shift+right": "Shift-Right",
    "backspace": "Backspace", "plus": "+", "minus": "-", "less_than_sign": "<",
    "greater_than_sign": ">", "comma": ",", "apostrophe": "'", "vertical_line": "|",
}  # fmt: skip


_HELD = ("alt", "ctrl", "shift")
# What textual calls characters otherwise than Unicode.
_RENAMED = {"solidus": "slash", "reverse_solidus": "backslash", "commercial_at": "at",
            "hyphen_minus": "minus", "plus_sign": "plus", "low_line": "underscore"}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One meaning: `keys` as textual names them, comma separated; `label` for the footer.

    `footer` orders the entry in the footer of its screen (0: not there). `counted` is the action
    that gets a number typed before the key on the list (`to_row({})`), where that is another one.
    """

    id: str
    keys: str
    action: str
    label: str
    description: str
    scope: Scope
    footer: int = 0
    priority: bool = False
    counted: str = ""

    @property
    def shown(self) -> str:
        """`j Down`: as a person writes the keys."""
        return " ".join(show_key(key) for key in self.keys.split(","))


def named_key(shown: str) -> str | None:
    """Textual's name of a key as a person writes it (`]`, `Ctrl-S`, `PgDn`, `zM`), or as textual
    does; None where that is no key.
    """
    by_sign = {sign.lower(): name for name, sign in _SHOWN.items()}
    lower = shown.lower()
    if not shown or not shown.isprintable():
        return None
    if lower in by_sign:
        return by_sign[lower]
    if len(shown) == 1:
        name = unicodedata.name(shown, "").lower().replace("-", "_").replace(" ", "_")
        return shown if shown.isalnum() else _RENAMED.get(name, name) or None
    if is_chord(shown):
        return shown
    *held, last = lower.replace("-", "+").split("+") if len(shown) > 2 else [lower]
    if all(each in _HELD for each in held):
        name = by_sign.get(last, last)
        if (len(last) == 1 and held) or name in _SHOWN or re.fullmatch(r"f\d{1,2}", name):
            return "+".join([*sorted(held), name])
    return shown if shown in _SHOWN else None


def show_key(key: str) -> str:
    """`ctrl+d` as `Ctrl-D`, `right_square_bracket` as `]`, `f5` as `F5`."""
    if key in _SHOWN:
        return _SHOWN[key]
    *held, last = key.split("+")
    if held:
        shown = last.upper() if len(last) == 1 else show_key(last)
        return "-".join([*map(str.capitalize, held), shown])
    if re.fullmatch(r"f\d{1,2}", key):
        return key.upper()
    if len(key) < 3:
        return key
    name = {short: long for long, short in _RENAMED.items()}.get(key, key)
    try:
        return unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return key


_TO_ROW = "to_row({})"
KEYS: tuple[Key, ...] = (
    # Moving: rows in the list, lines elsewhere.
    Key("down", "j,down", "move(1)", "down", "one line down", "everywhere"),
    Key("up", "k,up", "move(-1)", "up", "one line up", "everywhere"),
    Key("half-down", "ctrl+d", "page(0.5)", "half page", "half a page down", "everywhere"),
    Key("half-up", "ctrl+u", "page(-0.5)", "half page", "half a page up", "everywhere"),
    Key("page-down", "pagedown,ctrl+f", "page(1.0)", "page", "a page down", "everywhere"),
    Key("page-up", "pageup,ctrl+b", "page(-1.0)", "page", "a page up", "everywhere"),
    Key("top", "g,home", "to_top", "top", "to the first line", "everywhere", counted=_TO_ROW),
    Key("bottom", "G,end", "to_bottom", "bottom", "to the last line", "everywhere",
        counted=_TO_ROW),
    # Everywhere.
    Key("next-divergence", "right_square_bracket", "divergence(1)", "next",
        "next divergence", "everywhere", 2),
    Key("previous-divergence", "left_square_bracket", "divergence(-1)", "previous",
        "previous divergence", "everywhere", 3),
    Key("next-made", "right_parenthesis", "made(1)", "next introduced",
        "next divergence that was introduced here; inherited ones are skipped",
        "everywhere", 4),
    Key("previous-made", "left_parenthesis", "made(-1)", "previous introduced",
        "previous divergence that was introduced here", "everywhere"),
    Key("symptoms", "S", "symptoms", "symptoms",
        "diagnose the difference of this row, or of the marked rows",
        "everywhere"),
    Key("rerun", "R", "rerun", "rerun",
        "run this layer, or those of the marked rows, on the reference's inputs", "everywhere", 10),
    Key("export", "e", "export", "export", "write the marked rows, or this one, to a file",
        "everywhere", 11),
    Key("report", "B", "report", "bug report", "write a bug report of this comparison to a file",
        "everywhere"),
    Key("yank", "y", "yank", "yank", "copy this row's headline and five numbers to the clipboard",
        "everywhere", 12),
    Key("yank-long", "Y", "yank_long", "yank all", "copy everything known of this row",
        "everywhere", 12),
    Key("command", "colon", "command", "command",
        "command line; Up and Down bring back earlier ones", "everywhere", 13),
    Key("palette", "ctrl+p", "app.command_palette", "palette", "find a command by its name",
        "everywhere", 0, True),
    Key("help", "question_mark", "help", "help", "the keys of this screen", "everywhere", 14),
    Key("out", "escape", "step_out", "out",
        "one step back: leave the prompt, clear the search, then the filter, then go back",
        "everywhere"),
    Key("back", "q", "back", "quit", "back; quits on the list", "everywhere", 15),
    Key("quit", "Q,ctrl+q", "app.quit_all", "quit", "quit from anywhere", "everywhere"),
    Key("cancel", "ctrl+c", "app.interrupt", "cancel",
        "stop the running work; when nothing runs: quit", "everywhere", 0, True),
    Key("suspend", "ctrl+z", "app.suspend_process", "suspend",
        "suspend; `fg` in the shell resumes", "everywhere", 0, True),
    Key("redraw", "ctrl+l", "app.redraw", "redraw", "redraw the screen", "everywhere", 0, True),
    # The list.
    Key("open", "enter", "open_pair", "open", "open this row", "list", 4),
    Key("first-divergence", "f", "first_divergence", "first divergence",
        "to the first divergence, also if it is hidden", "list", 1),
    Key("next-block", "right_curly_bracket", "block(1)", "next layer", "next layer block", "list"),
    Key("previous-block", "left_curly_bracket", "block(-1)", "previous layer",
        "previous layer block", "list"),
    Key("first-row", "gg", "to_top", "top",
        "to the first row at once (g alone waits a moment); 12gg, 12G: to row 12", "list",
        counted=_TO_ROW),
    Key("screen-top", "H", "to_screen(0, 0)", "top of screen",
        "to the first line on the screen; 3H: to the third", "list", counted="to_screen(0, {})"),
    Key("screen-bottom", "L", "to_screen(1, 0)", "bottom of screen",
        "to the last line on the screen; 3L: the third from below", "list",
        counted="to_screen(1, {})"),
    Key("line-middle", "zz", "scroll_line(0.5)", "line to the middle",
        "scroll until this line is in the middle", "list"),
    Key("line-top", "zt", "scroll_line(0.0)", "line to the top",
        "scroll until this line is the first on the screen", "list"),
    Key("line-bottom", "zb", "scroll_line(1.0)", "line to the bottom",
        "scroll until this line is the last on the screen", "list"),
    Key("place-back", "ctrl+o", "place(-1)", "place before",
        "back to where the cursor was before the last jump, and on to earlier places", "list"),
    Key("place-forward", "ctrl+i,tab", "place(1)", "place after",
        "forward again among the places that Ctrl-O went back from", "list"),
    Key("place-last", "''", "last_place", "last place",
        "to the place before the last jump; again: back here", "list"),
    Key("fold", "minus,left,h", "fold", "fold",
        "fold the run of gaps, the module, then the layer that the cursor is in", "list", 8),
    Key("unfold", "plus,right,l", "unfold", "unfold", "unfold this line by one level", "list", 8),
    Key("fold-all", "zM", "fold_all(True)", "fold all", "fold all layers and modules", "list"),
    Key("unfold-all", "zR", "fold_all(False)", "unfold all", "unfold everything", "list"),
    Key("search", "slash", "search", "search", "search names; all words must occur", "list", 5),
    Key("next-match", "n", "match(1)", "next match", "next match of the search", "list"),
    Key("previous-match", "N", "match(-1)", "previous match", "previous match", "list"),
    Key("filter", "ampersand", "filter", "filter", "show only rows with these words", "list", 6),
    Key("only", "d", "only", "diverged", "show only what diverged, or all again", "list", 7),
    Key("mode", "o", "mode", "inputs", "outputs, with inputs, everything", "list", 8),
    Key("metric", "m", "metric", "metric", "next metric in the badges", "list", 9),
    Key("thresholds", "t", "thresholds", "thresholds",
        "edit policy, thresholds, rtol, atol; verdicts follow at once", "list", 10),
    Key("mark", "space", "mark", "mark", "mark this row for export and move to the next", "list"),
    Key("unmark", "u", "unmark", "unmark", "unmark all rows", "list"),
    Key("pair", "p", "pair", "pair",
        "select this unpaired record; then, on one of the other side: pair the two by "
        "hand", "list"),
    Key("unpair", "P", "unpair", "unpair",
        "unpair this pair; on a record that was unpaired: restore the pair", "list"),
    Key("save", "w", "save_rules", "save rules",
        "write hand-made pairs and kept recipes to the rules file", "list"),
    Key("next-case", "c", "case(1)", "next case",
        "of folders of captures, a case each: the next pair", "list"),
    Key("previous-case", "C", "case(-1)", "previous case", "the pair before", "list"),
    Key("reload", "ctrl+r", "reload", "re-read", "read both directories again", "list"),
    Key("map", "M", "map", "map", "all layers and components as a map", "list", 7),
    Key("trend", "T", "trend", "trend", "the error along the run", "list", 7),
    # The map.
    Key("map-go", "enter", "go", "to the row", "to this row, in the list", "map", 1),
    Key("map-quantity", "v", "quantity", "quantity",
        "error, local error, ratio to what came in, verdict", "map", 1),
    Key("map-left", "left,h", "layer(-1)", "left", "the layer before", "map"),
    Key("map-right", "right,l", "layer(1)", "right", "the next layer", "map"),
    # The trend.
    Key("trend-go", "enter", "go", "to the row", "to this row, in the list", "trend", 1),
    Key("trend-in", "plus", "zoom(0.5)", "zoom in", "half as many rows", "trend", 1),
    Key("trend-out", "minus", "zoom(2.0)", "zoom out", "twice as many rows", "trend", 1),
    Key("trend-left", "left,h", "column(-1)", "left", "a column to the left", "trend"),
    Key("trend-right", "right,l", "column(1)", "right", "a column to the right", "trend"),
    # The pair screen, beside those of its views.
    Key("next-view", "tab", "next_view(1)", "next view",
        "next view; of two beside one another, the other one", "pair", 1),
    Key("previous-view", "shift+tab", "next_view(-1)", "previous view",
        "previous view; of two beside one another, the other one", "pair"),
    Key("two-views", "vertical_line", "two_views", "two views",
        "two views beside one another, from 160 columns on, or one again", "pair", 5),
    Key("next-row", "J", "row(1)", "next row", "next row of the list", "pair", 4),
    Key("previous-row", "K", "row(-1)", "previous row", "previous row of the list", "pair", 5),
    Key("left", "left", "sideways(-1)", "left", "to the left, in heat map and values", "pair"),
    Key("right", "right", "sideways(1)", "right", "to the right, in heat map and values", "pair"),
    Key("page-left", "shift+left,less_than_sign", "sideways(-2)", "page left",
        "a page to the left, in values", "pair"),
    Key("page-right", "shift+right,greater_than_sign", "sideways(2)", "page right",
        "a page to the right, in values", "pair"),
)  # fmt: skip


def is_chord(name: str) -> bool:
    """Whether these are characters to be typed one after another (`zM`), not the name of a key."""
    return len(name) == 2 and name != "up" and not (name[0] in "fF" and name[1].isdigit())


def keys_of(scope: Scope) -> list[Key]:
    """What works on the screen called `scope`: its own keys, then those of everywhere."""
    own = [key for key in KEYS if key.scope == scope and scope != "everywhere"]
    return own + [key for key in KEYS if key.scope == "everywhere"]


_OF_ONE_ROW = ("symptoms", "rerun", "export")  # work on the list's row, not on an overview's


def overview_keys(scope: Scope) -> list[Key]:
    """What works on the map or the trend: its own keys, then those of everywhere that fit it."""
    return [key for key in keys_of(scope) if key.id not in _OF_ONE_ROW]


def bindings_of(scope: Scope) -> list[Binding]:
    """Textual bindings of one scope alone."""
    return bindings(key for key in KEYS if key.scope == scope)


def bindings(keys: Iterable[Key]) -> list[Binding]:
    """Textual bindings of keys; every one has an id, so that a keymap can change it."""
    from textual.binding import Binding

    return [
        Binding(
            key.keys, key.action, key.label, show=False, id=f"{key.scope}.{key.id}",
            priority=key.priority, tooltip=key.description,
        )
        for key in keys
    ]  # fmt: skip


def footer_of(keys: Iterable[Key]) -> list[Key]:
    """Those of some keys that a footer shows, in its order."""
    return sorted((key for key in keys if key.footer), key=lambda key: key.footer)


def table_of(title: str, keys: Iterable[Key]) -> str:
    """A Markdown table of keys, for the README."""
    rows = [
        f"| {' '.join(f'`{show_key(name)}`' for name in key.keys.split(','))} | {key.description} |"
        for key in keys
    ]
    return "\n".join([f"| {title} | |", "|---|---|", *rows])
