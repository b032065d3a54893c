"""The map in words: what is off in how many layers, and what the cell under the cursor says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...compare.reports.law_words import short_module
from ..present.laws import times_text
from ..present.text import metric_number
from ..theme import LOOKS, ORIGIN_WORDS
from .cells import is_output
from .quantities import quantities

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from .cells import Key, LayerMap

_NAMED = 3  # components that a sentence names


def off_words(found: LayerMap) -> tuple[str, ...]:
    """`self_attn.q_norm, self_attn.k_norm: off in 2 of 2 layers`, those off in most layers first;
    those in as many of as many layers together.
    """
    groups: dict[tuple[int, int], list[str]] = {}
    for name, count in zip(found.components, found.counts, strict=True):
        if count[0]:
            groups.setdefault(count, []).append(name)
    sentences: list[str] = []
    for off, of in sorted(groups, key=lambda count: (-count[0] / count[1], -count[0])):
        names = groups[off, of]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        where = f"off in {off} of {of} layers" if of > 1 else "off"
        sentences.append(f"{', '.join(names[:_NAMED])}{more}: {where}")
    return tuple(sentences)


def state_words(found: LayerMap) -> str:
    """What is off; that nothing is; how far the measuring is."""
    so_far = found.measured < found.total
    progress = f"{found.measured} of {found.total} pairs measured" if so_far else ""
    off = "; ".join(off_words(found))
    if not off:
        off = "no component is off so far" if so_far else "no component is off"
        if not so_far and any(cell.fails for cell in found.cells.values()):
            off = "no error was introduced in an output of these components"
    return "; ".join(filter(None, (off, progress)))


def cell_words(comparison: Comparison, found: LayerMap, key: Key) -> str:
    """`#9 L0 self_attn.q_norm DIVERGED introduced  MSE 4.4e-02  rel L2 ...  local 41297x`."""
    cell = found.cells.get(key)
    component, layer = found.components[key[0]], found.layers[key[1]].strip()
    if cell is None:
        place = short_module(f"{layer}.{component}") if layer else component
        return f"{place}: nothing recorded"
    row = comparison.rows[cell.row]
    word = LOOKS[cell.level].word or "not measured yet"
    origin = f" {ORIGIN_WORDS[cell.origin]}" if cell.origin and cell.fails else ""
    slot = "" if is_output(row) else f" {row.slot}"
    parts = [f"#{cell.row} {short_module(row.canonical)}{slot} {word}{origin}"]
    permuted = comparison.verdicts[cell.row].permuted
    parts += ["permuted"] if permuted else []
    for metric in () if permuted else dict.fromkeys((found.metric, "relative_l2")):
        result = comparison.measurements[cell.row]
        value = None if result is None else getattr(result, "metric", lambda _: None)(metric)
        if value is not None:
            heading = quantities(metric)[0].title.removeprefix("1 - ")
            parts.append(f"{heading} {metric_number(metric, value)}")
    parts += [] if cell.local is None else [f"local {times_text(cell.local, 1.0)}"]
    parts += [] if cell.ratio is None else [f"ratio {times_text(cell.ratio, 1.0)}"]
    parts += [f"{len(cell.rows)} rows"] if len(cell.rows) > 1 else []
    return "  ".join(parts)
