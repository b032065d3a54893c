"""Screens to read: keys, commands and glyphs; notes on the captures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from ..commands import COMMANDS
from ..keys import KEYS, bindings, bindings_of, show_key
from ..present.text import clean, width_of, wrap
from ..settings.table import settings_table
from ..theme import LOOKS, ORIGIN_WORDS, Look
from .footer import Footer
from .lines import Lines, Pieces, ScrolledLines, look_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.style import Style
    from textual.app import ComposeResult

    from ...capture.records import Capture, Record
    from ...compare.aligned import SideName
    from ...compare.comparison import Comparison
    from ...compare.vocabulary import Origin
    from ..keys import Key
    from ..settings.keymap import Keymap
    from ..settings.settings import Settings

_USABLE = ("move(", "page(", "to_top", "to_bottom", "app.")


def _bindings() -> list[Binding]:
    usable = [b for b in bindings_of("everywhere") if b.action.startswith(_USABLE)]
    leave = [key for key in KEYS if key.id in ("out", "back", "help")]
    return [*usable, *bindings(replace(key, action="leave") for key in leave)]


class TextScreen(Screen[None], inherit_bindings=False):
    """Lines to read, over whatever was there before."""

    BINDINGS: ClassVar[list[BindingType]] = list(_bindings())
    AUTO_FOCUS = ".body"
    DEFAULT_CSS = """
    TextScreen { layout: vertical; }
    TextScreen > #title { background: $panel; }
    """

    def __init__(self, title: str, lines: list[Pieces]) -> None:
        super().__init__()
        self._heading = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield ScrolledLines(classes="body")
        yield Footer(id="footer")

    def on_mount(self) -> None:
        look = look_of(self)
        self.query_one("#title", Lines).set_lines([[(f" {self._heading}", look.palette.strong)]])
        self.call_after_refresh(
            self.query_one(Footer).show_entries, [("j k", "scroll"), ("Esc", "back")], look
        )

    def on_resize(self) -> None:
        self._page.set_lines(flowed(self._lines, self.size.width))

    @property
    def _page(self) -> ScrolledLines:
        return self.query_one(ScrolledLines)

    def action_move(self, lines: int) -> None:
        self._page.move(lines)

    def action_page(self, pages: float) -> None:
        self._page.page(pages)

    def action_to_top(self) -> None:
        self._page.to_top()

    def action_to_bottom(self) -> None:
        self._page.to_bottom()

    def action_leave(self) -> None:
        self.dismiss()


def flowed(lines: Sequence[Pieces], width: int) -> list[Pieces]:
    """The lines with those that are too wide broken: the last piece goes on below where it began,
    a line of one piece two cells further in than that.
    """
    found: list[Pieces] = []
    for pieces in lines:
        if sum(width_of(text) for text, _ in pieces) <= width:
            found.append(pieces)
            continue
        *head, (text, style) = pieces
        bare = text.lstrip()
        head.append((text[: len(text) - len(bare)], style))
        indent = sum(width_of(piece) for piece, _ in head) + (2 if len(pieces) == 1 else 0)
        first, *rest = wrap(bare, width - indent)
        found.append([*head, (first, style)])
        found += [[(" " * indent, None), (part, style)] for part in rest]
    return found


def help_screen(
    title: str, keys: Iterable[Key], look: Look, legend_first: bool = False
) -> TextScreen:  # fmt: skip
    """Everything that can be done on a screen with these keys, and what its marks mean."""
    return TextScreen(title, help_lines(keys, look, legend_first))


def settings_screen(settings: Settings, keymap: Keymap, look: Look) -> TextScreen:
    """All settings, where each comes from, and the keys that have other meanings."""
    palette = look.palette
    lines: list[Pieces] = []
    for name, setting in settings_table().items():
        value = f"  {name:<8} {settings[name]:<12} "
        lines.append([(value, palette.key), (f"{settings.source(name)}", palette.muted)])
        lines.append([("           ", None), (setting.description, None)])
        choices = ", ".join(setting.choices)
        lines.append([("           ", None), (f"one of {choices}", palette.muted)])
    lines += [[], [(" Keys with other meanings", palette.heading)]]
    for id_, names in sorted(keymap.names.items()):
        lines.append([(f"  {' '.join(map(show_key, names)):<12} ", palette.key), (id_, None)])
    lines.append([("  none", None)] if not keymap.names else [])
    lines.append([(f" Set with :set NAME=VALUE; :set save keeps them in {settings.path}", None)])
    for problem in settings.problems:
        lines.append([(f" {clean(problem, look.terminal.ascii)}", palette.warn)])
    return TextScreen("Settings", lines)


def notes_screen(comparison: Comparison, look: Look) -> TextScreen:
    """What is known of both captures and of how they were brought together."""
    return TextScreen("Notes on both captures", notes_lines(comparison, look))


def component_screen(comparison: Comparison, look: Look) -> TextScreen:
    """What each kind of module adds to the error that it inherits."""
    from ..present.by_component import component_lines

    return TextScreen("What each component adds", component_lines(comparison, look))


def why_screen(comparison: Comparison, row: int, look: Look) -> TextScreen:
    """How the record on a row was identified, and why it has no partner."""
    from ...compare.matching.names.name_report import why_gap

    said = why_gap(comparison.aligned, row)
    lines: list[Pieces] = [[(f"  {clean(line, look.terminal.ascii)}", None)] for line in said]
    return TextScreen(f"Why: {clean(comparison.rows[row].label)}", lines)


def notes_lines(comparison: Comparison, look: Look) -> list[Pieces]:
    """Both captures, the order, and the records that have no row because rules ignore them."""
    palette = look.palette
    lines: list[Pieces] = []

    def add(text: str, style: Style | None = None) -> None:
        lines.append([(clean(text, look.terminal.ascii), style)])

    sides: tuple[tuple[str, Capture, SideName, tuple[Record, ...]], ...] = (
        ("Reference", comparison.reference, "reference", comparison.aligned.ignored_reference),
        ("Candidate", comparison.candidate, "candidate", comparison.aligned.ignored_candidate),
    )
    for title, capture, side, ignored in sides:
        add(f" {title}: {capture.path}", palette.heading)
        for line in _capture_lines(capture, comparison.notes(side)):
            add(f"  {line}")
        for record in ignored:
            add(f"  ignored by a rule: {record.name}", palette.muted)
        add("")
    noted = comparison.row_notes
    if noted.texts or noted.elsewhere or noted.problems:
        add(" Notes on rows (:note)", palette.heading)
        for record, text in noted.texts.items():
            add(f"  {record}: {text}")
        for problem in noted.problems:
            add(f"  {problem}", palette.warn)
        if noted.elsewhere:
            add(f"  {noted.elsewhere} of other captures", palette.muted)
        add("")
    known = comparison.models.lines()
    if known:
        add(" Checkpoints", palette.heading)
        for line in known:
            add(f"  {line}")
        add("")
    add(" Execution order", palette.heading)
    add(f"  {comparison.order.reason}")
    for moved in comparison.order.reordered:
        places = f"{moved.index_reference} and {moved.index_candidate}"
        add(f"  {moved.reference}, {moved.candidate}: places {places}")
    return lines


def _capture_lines(capture: Capture, notes: list[str]) -> list[str]:
    known = (
        ("format", capture.format), ("framework", capture.framework),
        ("version", capture.framework_version), ("model", capture.model),
        ("device", capture.device), ("prompt", capture.prompt), ("order", capture.order_source),
    )  # fmt: skip
    lines = [f"{name:<10} {value}" for name, value in known if value]
    lines.append(f"{'records':<10} {len(capture.records)}")
    if capture.complete is False:
        lines.append("INCOMPLETE: the program that wrote it did not finish")
    return lines + [f"note: {note}" for note in notes]


def help_lines(keys: Iterable[Key], look: Look, legend_first: bool = False) -> list[Pieces]:
    """Keys, commands, glyphs; `legend_first`: the glyphs and their words before the keys."""
    parts = [_key_lines(keys, look), _legend_lines(look)]
    first, second = reversed(parts) if legend_first else parts
    return [*first, [], *second, [], *_local_lines(look)]


def _key_lines(keys: Iterable[Key], look: Look) -> list[Pieces]:
    palette = look.palette
    lines: list[Pieces] = [[(" Keys", palette.heading)]]
    for key in keys:
        lines.append([(f"  {key.shown:<16}", palette.key), (key.description, None)])
    lines += [[], [(" Commands", palette.heading)]]
    for command in COMMANDS:
        lines.append([(f"  :{command.usage:<30} ", palette.key), (command.description, None)])
    return lines


def _legend_lines(look: Look) -> list[Pieces]:
    """The marks of the list, and their words."""
    palette, signs = look.palette, look.signs
    lines: list[Pieces] = [[(" Verdicts", palette.heading)]]
    for level, looks in LOOKS.items():
        word = looks.word or "not measured yet"
        lines.append([("  ", None), (f" {look.glyph(level)} {word} ", look.style(level)),
                      (" " * (18 - len(word)) + _MEANINGS[level], None)])  # fmt: skip
    lines += [[(" Where the error of a diverged row comes from", palette.heading)]]
    for origin, meaning in _ORIGINS.items():
        shown = f"   {look.origin_glyph(origin)} {ORIGIN_WORDS[origin]} "
        lines.append([(shown, look.style("diverged")), (" " * (24 - len(shown)) + meaning, None)])
    lines += [[(" Other marks", palette.heading)]]
    for sign, word, meaning, style in (
        (signs.folded, "folded", "rows on one line: their worst badge, and a mark for each",
         palette.muted),
        (signs.mark, "marked", "chosen for export, S and R", palette.mark),
        (signs.note, "note", "somebody wrote a note on it (:note)", palette.mark),
    ):  # fmt: skip
        shown = f"   {sign} {word} "
        lines.append([(shown, style), (" " * (24 - len(shown)) + meaning, None)])
    return lines


def _local_lines(look: Look) -> list[Pieces]:
    palette = look.palette
    lines: list[Pieces] = [
        [(" The column `local`: each layer for its own recorded inputs", palette.heading)],
    ]
    for shown, style, meaning in (
        ("1.1x", None, "the candidate's error relative to what is typical for this kind of layer"),
        ("40x", look.style("diverged"), "more than the layer's law allows: see Explain "
                                        "for the cause"),
        ("?", palette.muted, "the reference itself violates the law: the candidate is not judged"),
    ):  # fmt: skip
        lines.append([(f"   {shown:<18} ", style), (meaning, None)])
    return lines


_ORIGINS: dict[Origin, str] = {
    "made": "more than inputs and rounding explain; NaN or Inf first appear here",
    "inherited": "propagated from the inputs",
}
_MEANINGS = {
    "pending": "its numbers are not known so far",
    "missing": "a record without a partner",
    "identical": "every element is equal",
    "ok": "within rounding",
    "noise": "larger than typical for the dtype, but explained by rounding",
    "drift": "grows faster than in other layers, below a divergence; or a doubtful pair",
    "diverged": "an error that inputs and rounding do not explain",
    "shape": "the two cannot be brought to the same shape",
    "nan": "NaN or Inf on one side only",
    "unreadable": "a file that cannot be read; the row says why",
}
