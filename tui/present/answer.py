"""The first line of the list: the answer, as far as it is known, without a key.

Nothing here reads a record or works out an analysis: what is not known yet is not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

from ...compare.matching.names.roles import is_projection, role_of
from ...compare.model import Measurement
from ...compare.reports.law_words import agreement, percent, short_module
from ...compare.reports.nothing_compared import nothing_compared
from ...compare.vocabulary import MAY_BE_THEIRS
from ..theme import LOOKS
from .origin import first_known, likeness, looks_like, sure_text
from .pieces import Piece, Pieces
from .text import clean, cut, elide, width_of, wrap
from .working import checking_laws, laws_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from ...compare.comparison import Comparison
    from ...compare.model import Cause, Counts, FirstDivergence
    from ..theme import Look

_NAME_SHARE = 0.45  # of the line that a name may take
_INDENT = "   "  # of the second line
_WITH_WEIGHTS = "the weights would tell the cause: :model reference DIR, or --reference-model"
_LEAST_WORDS = 16  # cells of a sentence that still tell something beside what follows it
_UNCERTAINTY = re.compile(r" ± \S*\d")
_LAYERS = re.compile(r", in (?:all )?\d+ (?:of \d+ )?layers$")
_ASIDE = re.compile(r" \(or [^()]*\)$")  # what else would look the same
_REFERENCE = re.compile(r" where the reference has (.+)$")
_FEWER_WORDS = (
    (" are multiplied by ", " times "),
    ("it gives what ", "gives the values of "), (" gives in the reference", ""),
)  # fmt: skip
_LIMIT = re.compile(r", \S+ allowed for .*$")


@dataclass(frozen=True)
class Answer:
    """`name` is the module that it is about, `words` the rest from the longest form to the
    shortest, `end` what the shortest keeps where it is cut; `style` is that of the name, or of the
    words where there is none. `hint` is how more can be known, where there is room.
    """

    words: tuple[str, ...]
    name: str = ""
    style: Style | None = None
    end: str = ""
    hint: str = ""


def answer_line(
    comparison: Comparison, counts: Counts, look: Look, width: int, working: bool
) -> Pieces:
    """The answer and, while layers are checked against their laws, how far that is. `working`:
    whether anything is still being measured or checked.
    """
    return _lines(comparison, counts, look, width, working, lines=1)[0]


def answer_lines(
    comparison: Comparison, counts: Counts, look: Look, width: int, working: bool
) -> list[Pieces]:
    """The same, on a second line too where a cause would be cut on one."""
    return _lines(comparison, counts, look, width, working, lines=2)


def _lines(
    comparison: Comparison, counts: Counts, look: Look, width: int, working: bool, lines: int
) -> list[Pieces]:  # fmt: skip
    answer = answer_of(comparison, counts, look, working)
    progress = laws_progress(comparison) if working else ""
    room = width - 2 - (width_of(progress) + 2 if progress else 0)
    pieces: list[Piece] = [(" ", None)]
    if answer.name:
        most = max(_LEAST_WORDS, int(_NAME_SHARE * room))
        name = clean(answer.name, look.terminal.ascii)
        name = elide(name, min(width_of(name), most), look.signs.dots)
        pieces += [(name, answer.style), ("  ", None)]
        room -= width_of(name) + 2
    forms = [clean(form, look.terminal.ascii) for form in answer.words]
    style = look.palette.strong if answer.name else answer.style
    if lines > 1 and answer.end and all(width_of(form) > room for form in forms):
        words, more = on_two_lines(forms, room, width - len(_INDENT) - 1, look.signs.dots)
    else:
        words, more = fitting(forms, room, look.signs.dots, answer.end), ""
    pieces.append((words, style))
    if progress:
        pieces.append((f"  {progress}", look.palette.accent))
    if more:
        return [pieces, [(_INDENT + more, style)]]
    if answer.hint and lines > 1 and width_of(answer.hint) + len(_INDENT) < width:
        return [pieces, [(_INDENT + answer.hint, look.palette.muted)]]
    return [pieces]


def on_two_lines(forms: Sequence[str], room: int, below: int, dots: str) -> tuple[str, str]:
    """The first of several forms whose words go into `room` cells and `below` more on a second
    line; where none does, the last one, cut there.
    """
    first, rest = "", ""
    for form in forms:
        first = wrap(form, room)[0]
        rest = form[len(first) :].strip()
        if width_of(rest) <= below:
            break
    return first, cut(rest, below, dots)


def fitting(forms: Sequence[str], room: int, dots: str, end: str = "") -> str:
    """The first of several forms that fits; where none does, the last one without its `end`, or
    cut in front of it as long as that leaves something to read.
    """
    for form in (*forms, forms[-1].removesuffix(end)):
        if width_of(form) <= room:
            return form
    kept = end if forms[-1].endswith(end) and room - width_of(end) >= _LEAST_WORDS else ""
    return cut(forms[-1].removesuffix(kept), room - width_of(kept), dots) + kept


def answer_of(comparison: Comparison, counts: Counts, look: Look, working: bool) -> Answer:
    """What is known so far."""
    nothing = nothing_compared(comparison)
    if nothing is not None:
        return Answer((nothing.line, nothing.reasons[0]), style=look.style("diverged"))
    first = first_known(comparison)
    if first is None:
        return _no_divergence(comparison, counts, look, working)
    name, style = short_module(first.module), look.style(first.verdict)
    if not first.causes:
        return Answer(_first_words(comparison, first), name, style, hint=_hint(comparison, first))
    cause = first.causes[0]
    return Answer(cause_words(cause), name, style, _least_share(cause))


def cause_words(cause: Cause) -> tuple[str, ...]:
    """`eps 0 where the reference has 1e-2, explains 99.99 %`; what gives way first is how many
    layers show it, then digits of the share, how sure the numbers are, and what else would look the
    same; the rest is then said in fewer words.
    """
    share, least = f", explains {percent(cause.explained)}", _least_share(cause)
    bare = _LAYERS.sub("", cause.text)
    plain = _UNCERTAINTY.sub("", bare)
    forms = [cause.text + share, bare + share, bare + least, plain + least]
    short = _REFERENCE.sub(r" (reference \1)", _ASIDE.sub("", plain))
    for words, fewer in _FEWER_WORDS:
        short = short.replace(words, fewer)
    return tuple(dict.fromkeys([*forms, short + least]))


def _least_share(cause: Cause) -> str:
    """The share with two digits, rounded down: 99.99 % where more than that is explained."""
    return f", explains {floor(1e4 * cause.explained) / 100:g} %"


def _hint(comparison: Comparison, first: FirstDivergence) -> str:
    """What would tell the cause: the weights of a module that its law needs, where they are not
    known.
    """
    row = comparison.rows[first.index]
    record = row.reference or row.candidate
    role = role_of(first.module, None if record is None else record.module_class)
    needed = is_projection(role) or role in ("mlp", "experts")
    tried = comparison.judges_by_laws and comparison.laws is not None
    by_value = isinstance(comparison.measurements[first.index], Measurement)
    if not (needed and tried and by_value and first.verdict == "diverged"):
        return ""
    return "" if comparison.models.reference is not None else _WITH_WEIGHTS


def _first_words(comparison: Comparison, first: FirstDivergence) -> tuple[str, ...]:
    """Where no cause is known: whether the error was made there, and why that is said."""
    row, verdict = comparison.rows[first.index], comparison.verdicts[first.index]
    if first.module != row.canonical:
        where = "introduced inside"
    else:
        where = "introduced here" if verdict.origin == "made" else LOOKS[verdict.level].word
    if not comparison.first_is_final() or checking_laws(comparison):
        where += ", so far"  # the laws may find another one, or that nothing is wrong
    sure = "" if first.confidence is None else f" ({sure_text(first.confidence)})"
    reason = verdict.reason.removeprefix(f"introduced inside {first.module}, ")
    long = f": {likeness(first)}{reason}"
    if verdict.by_statistics:
        where, reason = f"{where} by statistics", reason.removeprefix("by statistics: ")
        long = f": {reason}"
    brief = f", {_error(comparison, first)}" if _error(comparison, first) else f": {_brief(reason)}"
    unpaired, found, _ = reason.partition(f" {MAY_BE_THEIRS}")
    if found:  # the size of the error says less than that it may come from elsewhere
        return where + long, f"{where}: {unpaired}{found}", f"{where}: {unpaired}", where
    looks = looks_like(first)
    forms = [where + sure + long, f"{where}{sure}{brief}, {looks}" if looks else ""]
    if looks and first.verdict == "diverged":  # tells more than the size, and than how sure it is
        forms += [f"{where}{brief}, {looks}", f"{where}, {looks}"]
    forms += [where + sure + brief, where + brief]
    return tuple(form for form in forms if form)


def _error(comparison: Comparison, first: FirstDivergence) -> str:
    """`relative L2 0.12`, of a divergence that is a matter of size."""
    found = comparison.measurements[first.index]
    if first.verdict != "diverged" or not isinstance(found, Measurement):
        return ""
    return "" if found.relative_l2 is None else f"relative L2 {found.relative_l2:.2g}"


def _brief(reason: str) -> str:
    """A reason without what was allowed, and without what is said of both sides."""
    return _LIMIT.sub("", reason.partition("; ")[0].partition(": ")[0])


def _no_divergence(
    comparison: Comparison, counts: Counts, look: Look, working: bool
) -> Answer:  # fmt: skip
    """Nothing diverges among what is known."""
    found = agreement(comparison, counts)
    waiting = comparison.level_counts().get("pending", 0)
    if waiting:
        return Answer(found.words)
    style = look.palette.warn if found.doubts else look.style("ok")
    if comparison.judges_by_laws and comparison.laws is None:
        (said,) = found.words
        if working:
            return Answer((f"{said} so far",), style=style)
        stopped = f"{said}; stopped before all layers were checked against their laws"
        forms = (stopped, f"{said}; not all layers were checked")
        return Answer(forms, style=look.palette.warn)
    return Answer(found.words, style=style)
