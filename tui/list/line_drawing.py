"""One line of the list: both names, and the badge between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from ..present.text import cut, elide, fit, width_of
from ..theme import LOOKS, ORIGIN_WORDS, Look
from .columns import BEFORE, CHANGE, ORIGIN_WORD, VALUE, Columns
from .row_model import Line, RowModel, SideText

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from ...compare.vocabulary import Level, Origin
    from .folds.fold_summary import FoldSummary


def second_metric(metric: str) -> str:
    """The number beside a badge that shows `metric`: the one that verdicts speak of, else MSE."""
    return "mse" if metric == VERDICTS_SPEAK_OF else VERDICTS_SPEAK_OF


VERDICTS_SPEAK_OF = "relative_l2"


@dataclass(frozen=True)
class Drawing:
    """What all lines of the list are drawn with. `marks` are rows that the user marked, `words`
    those of a search, `first` is the first failing row, whose badge is solid, `singles` are the
    errors of reruns.
    """

    model: RowModel
    columns: Columns
    look: Look
    metric: str
    marks: Set[int]
    words: Sequence[str]
    first: int | None
    singles: Mapping[int, str]
    width: int


def draw_line(pairs: Drawing, row: int, base: Style, here: bool) -> Strip:
    """One row; `here`: the cursor is on it."""
    look, model, columns = pairs.look, pairs.model, pairs.columns
    line, level = model.line(row), model.level(row)
    palette, signs = look.palette, look.signs
    style = base + palette.cursor if here else base
    muted = style if here and look.terminal.ansi else style + palette.muted
    plain = style if model.aligned else muted
    sign = signs.mark if row in pairs.marks else signs.pointer if here else " "
    number = f"{line.number:>{columns.number}} "
    mark_style = style + palette.mark if row in pairs.marks else style + palette.accent
    if sign == " ":
        mark_style = muted  # one style fewer to send
    value, word = model.value(row, pairs.metric), _word(model, row)
    first = row == pairs.first
    words = pairs.words if pairs.words and model.finds(row, pairs.words) else ()
    segments = [
        Segment(sign, mark_style),
        Segment(number, muted),
        *_side(line, line.left, columns.name, columns, look, plain, muted, words),
        _between(pairs, model.noted(row), style, muted if columns.shape else plain),
        *_badge(
            level,
            word,
            model.origin(row),
            value,
            _second(pairs, row),
            columns,
            look,
            style,
            here,
            first,
        ),
        *_more(model.ratio(row) if columns.ratio else "", columns.ratio, style),
        *_local(model, row, columns, look, style, here),
        *_more(pairs.singles.get(row, ""), columns.single, style),
        *_before(pairs, (row,), style, here),
        *_side(line, line.right, columns.right_name, columns, look, plain, muted, words),
    ]
    return Strip(Segment.simplify(segments)).adjust_cell_length(pairs.width, style)


def draw_fold(
    pairs: Drawing, fold: FoldSummary, members: Sequence[int], base: Style, here: bool
) -> Strip:  # fmt: skip
    """A folded line: how many rows, the worst badge of them, and a mark for each in a strip."""
    look, model, columns = pairs.look, pairs.model, pairs.columns
    palette, signs = look.palette, look.signs
    style = base + palette.cursor if here else base
    muted = style if here and look.terminal.ansi else style + palette.muted
    marked = not pairs.marks.isdisjoint(members)
    sign = signs.mark if marked else signs.pointer if here else " "
    mark_style = style + (palette.mark if marked else palette.accent)
    number = f"{model.line(members[0]).number:>{columns.number}} "
    shape = columns.shape + 1 if columns.shape else 0
    sides = (columns.name + shape, columns.right_name + shape)
    word = "doubtful" if model.doubtful(fold.worst) else LOOKS[fold.level].word
    value = model.value(fold.worst, pairs.metric)
    shown = fold.row if fold.breaking is None else fold.breaking
    left, right = _fold_sides(fold, sides, look, style, muted, here and look.terminal.ansi)
    segments = [
        Segment(sign, mark_style if sign != " " else muted),
        Segment(number, muted),
        *left,
        _between(pairs, any(map(model.noted, members)), style, muted if columns.shape else style),
        *_badge(
            fold.level,
            word,
            fold.origin,
            value,
            _second(pairs, fold.worst),
            columns,
            look,
            style,
            here,
            fold.has_first,
        ),
        *_more(model.ratio(fold.row) if columns.ratio else "", columns.ratio, style),
        *_local(model, shown, columns, look, style, here),
        *_more(pairs.singles.get(fold.row, ""), columns.single, style),
        *_before(pairs, members, style, here),
        *right,
    ]
    return Strip(Segment.simplify(segments)).adjust_cell_length(pairs.width, style)


def _fold_sides(
    fold: FoldSummary, widths: tuple[int, int], look: Look, style: Style, muted: Style, plain: bool
) -> tuple[list[Segment], list[Segment]]:
    """What stands on both sides of the badge, each as wide as its column; `plain`: without colours,
    which reverse video would turn into backgrounds.
    """
    from .folds.fold_summary import label_forms, pooled

    forms = label_forms(fold, [f"{look.glyph(level)}{count}" for level, count in fold.counts])
    forms = [f"{look.signs.folded} {form}" for form in forms]
    side = int(fold.kind == "gaps" and fold.name.endswith("candidate"))
    width = widths[side]
    text = next((form for form in forms if width_of(form) <= width), forms[-1])
    label = [Segment(fit(cut(text, width, look.signs.dots), width), muted)]
    if fold.kind == "gaps":
        other = widths[1 - side]
        filler = [Segment(look.signs.gap * other, style + look.palette.faint)]
        return (filler, label) if side else (label, filler)
    cells = pooled(fold.levels, widths[1])
    strip = [
        Segment(look.glyph(level), style if plain else style + look.style(level)) for level in cells
    ]
    return label, [*strip, Segment(" " * (widths[1] - len(cells)), style)]


def _second(pairs: Drawing, row: int) -> str:
    """The number beside the badge's; nothing where those of two records mean nothing."""
    if not pairs.columns.second or pairs.model.doubtful(row):
        return ""
    value = pairs.model.value(row, second_metric(pairs.metric))
    if value == "permuted":  # the badge says it
        return ""
    return value if len(value) <= pairs.columns.second else pairs.look.signs.dots


def _between(pairs: Drawing, noted: bool, style: Style, plain: Style) -> Segment:
    """What stands between a name and the badge: whether there is a note."""
    look = pairs.look
    return Segment(f"{look.signs.note} ", style + look.palette.mark) if noted else (
        Segment("  ", plain)
    )  # fmt: skip


def _word(model: RowModel, row: int) -> str:
    return "doubtful" if model.doubtful(row) else LOOKS[model.level(row)].word


def _badge(
    level: Level, word: str, origin: Origin | None, value: str, second: str, columns: Columns,
    look: Look, style: Style, here: bool, first: bool,
) -> list[Segment]:  # fmt: skip
    glyphs = look.glyph(level) + (look.origin_glyph(origin) if columns.origin else "")
    # The numbers of two records that are not the same quantity mean nothing.
    shown = word if not columns.word and (word == "doubtful" or not value) else value
    if len(shown) == VALUE:  # a word that long takes the place of the origin, which it has not
        glyphs = glyphs.rstrip()
    text = f"{glyphs} {shown}"[: 2 + VALUE].ljust(2 + VALUE)
    if columns.second:
        text += " " + fit(second, columns.second)
    if columns.word:
        long = f"{word} {ORIGIN_WORDS[origin]}" if origin and columns.word == ORIGIN_WORD else word
        text += " " + long.ljust(columns.word)
    badge = look.style(level, first)
    if here and look.terminal.ansi and not first:  # in reverse video a colour would hide it
        badge = Style(bold=True)
    glyph = style + look.style(level) if first else style + badge  # a block needs no background
    return [
        Segment(text[0], glyph),
        Segment(text[1:], style + badge),
        Segment("  ", style),
    ]


def _more(text: str, width: int, style: Style) -> list[Segment]:
    """A further column, where there is one: the ratio to a baseline, the error of a rerun."""
    return [Segment(f"{text:<{width}} ", style)] if width else []


def _local(
    model: RowModel, row: int, columns: Columns, look: Look, style: Style, here: bool
) -> list[Segment]:  # fmt: skip
    """The column of local errors, in the colour of a divergence where a law is broken."""
    if not columns.local:
        return []
    shown = style
    if model.breaks_law(row):
        bar = here and look.terminal.ansi  # reverse video: a colour would hide the number
        shown = style + (Style(bold=True) if bar else look.style("diverged"))
    return _more(model.local(row), columns.local, shown)


def _before(pairs: Drawing, rows: Sequence[int], style: Style, here: bool) -> list[Segment]:
    """What changed, in a word, and the badge of before; of several rows that of the worst."""
    columns, changes, look = pairs.columns, pairs.model.changes, pairs.look
    if not columns.before or changes is None:
        return []
    from ...compare.changes.changes import WORSE  # not before the first paint
    from ..before.change_words import badge_before, change_word, level_before, worst_of

    row = worst_of(changes, rows)
    found = changes.at(row)
    level = level_before(found)
    word = Segment(f"{change_word(found.change):{CHANGE}} ", style)
    if here and look.terminal.ansi:
        bad = good = known = style + Style(bold=True)  # reverse video: a colour would hide it
    else:
        bad, good = style + look.style("diverged"), style + look.style("ok")
        known = style + (look.palette.faint if level is None else look.style(level))
    if found.change in WORSE:
        word = Segment(word.text, bad)
    elif found.change != "same":
        word = Segment(word.text, good)
    if columns.before < BEFORE:
        return [word]
    width = BEFORE - CHANGE - 1
    was = look.signs.gap if level is None else look.glyph(level)
    value = badge_before(changes, row, pairs.metric)
    return [word, Segment(fit(f"{was} {value}", width) + " ", known)]


def _side(
    line: Line, side: SideText | None, width: int, columns: Columns, look: Look,
    plain: Style, muted: Style, words: Sequence[str],
) -> list[Segment]:  # fmt: skip
    shape_width = columns.shape + 1 if columns.shape else 0
    if side is None:
        return [Segment(look.signs.gap * (width + shape_width), plain + look.palette.faint)]
    dots = look.signs.dots
    if not side.note:
        found = _found(elide(side.name, width, dots), words, plain, look)
        if shape_width:
            found.append(Segment(" " + elide(side.shape, columns.shape, dots), muted))
        return found
    # A note takes the place of the shape and as much of the name as it needs.
    room = width + shape_width
    name_width = min(width_of(side.name), max(room // 3, room - width_of(side.note) - 2))
    note = "  " + cut(side.note, room - name_width - 2, dots)
    return [
        *_found(elide(side.name, name_width, dots), words, plain, look),
        Segment(fit(note, room - name_width), plain + look.palette.warn),
    ]


def _found(name: str, words: Sequence[str], plain: Style, look: Look) -> list[Segment]:
    """A name with the words of a search marked; underlined where they are in what is cut off."""
    if not words:
        return [Segment(name, plain)]
    spans = spans_of(name, words)
    if not spans:
        return [Segment(name, plain + Style(underline=True))]
    segments: list[Segment] = []
    at, marked = 0, plain + look.palette.found
    for start, end in spans:
        segments += [Segment(name[at:start], plain), Segment(name[start:end], marked)]
        at = end
    return [segment for segment in (*segments, Segment(name[at:], plain)) if segment.text]


def spans_of(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where lower-case words occur in a text, in order; what overlaps or touches is one."""
    lower = text.lower()
    if len(lower) != len(text):  # letters that are two in lower case: places would be others
        return []
    found = sorted(
        (match.start(), match.end())
        for word in words
        for match in re.finditer(re.escape(word), lower)
    )
    spans: list[tuple[int, int]] = []
    for start, end in found:
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans
