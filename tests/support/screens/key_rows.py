r"""What each key does, one row a key: a key without a row fails `test_every_key.py`.

To add a key: a `Row` with its id of `tui/keys.py` (of a view of the pair screen: the action of its
`ViewKey`) in the list of the screen where it is seen best, and what must be on the screen after it
and not before (a regular expression; `on(9)` is the cursor on row 9). All keys of the id are
pressed, one after the other. The captures are those of `olmo2-f32`, their outputs on the list; rows
9, 13, 54 and 58 introduced errors, what follows inherited them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`before` is typed first, until `ready` is seen; `typed` right behind the key, `after` once
    `seen` is there (`gone`: is there no more), to be where the next row begins. Keys in both are as
    tmux names them, between spaces; `"garbage"` and `"remove"` stand for what the test does.
    `at`: the row that the list's cursor is put on first.
    """

    id: str
    seen: str
    at: int = 9
    before: str = ""
    ready: str = ""
    typed: str = ""
    after: str = ""
    gone: bool = False


def on(row: int | str) -> str:
    """The list's cursor on a row."""
    return rf"(?m)^[▌●] *{row} "


LIST = (
    Row("down", on(11)),
    Row("up", on(7)),
    Row("half-down", on(27)),
    Row("half-up", on(31), at=50),
    Row("page-down", on(41)),
    Row("page-up", on(11), at=50),
    Row("top", on(1)),
    Row("bottom", on(r"1\d\d")),
    Row("next-divergence", on(13)),
    Row("previous-divergence", on(9), at=13),
    Row("next-made", on(54), at=13),
    Row("previous-made", on(13), at=54),
    Row("symptoms", "q_norm-output: scale, explains", after="j"),
    Row("rerun", "which model made this capture", after="Escape"),
    Row("export", "export 1 row to", after="Escape"),
    Row("report", "bug report to", after="Escape"),
    Row("yank", r"yanked \d{2,3} bytes.* tmux buffer", after="j"),
    Row("yank-long", r"yanked \d{4,} bytes.* tmux buffer", after="j"),
    Row("command", "Enter run  Tab complete", after="Escape"),
    Row("palette", "Search for a command", after="Escape"),
    Row("help", "Marks and keys of the list", after="Escape"),
    Row("out", "search cleared", before="/ q_norm Enter", ready="/q_norm"),
    Row("suspend", "Stopped", after="f g Enter"),
    Row("redraw", "GARBAGE", before="garbage", ready="GARBAGE", gone=True),
    Row("open", r"\[1 Stats\]", after="Escape"),
    Row("first-divergence", on(9), at=50),
    Row("next-block", on(52)),
    Row("previous-block", on(52), at=58),
    Row("first-row", on(1), at=50),
    Row("screen-top", on(50), at=62, before="z z", ready=r"shape\n *50 .*\n(.*\n){5,6}▌ *62 "),
    Row("screen-bottom", on(80), at=50, before="z t", ready=r"shape\n▌ *50 "),
    Row("line-middle", r"shape\n(.*\n){5,7}▌ *50 ", at=50, before="z t", ready=r"shape\n▌ *50 "),
    Row("line-top", r"shape\n▌ *50 ", at=50),
    Row("line-bottom", r"▌ *50 .*\n row ", at=50, before="z t", ready=r"shape\n▌ *50 "),
    Row("place-back", on(50), at=50, before="f", ready=on(9)),
    Row("place-forward", on(9), at=50, before="f C-o", ready=on(50)),
    Row("place-last", on(50), at=50, before="f", ready=on(9)),
    Row("fold", "▸", at=31, after="z R"),
    Row("unfold", "▸ 3 only", at=31, before="-", ready="▸ 3 only", gone=True, after="z R"),
    Row("fold-all", "▸ L1 ", after="z R"),
    Row("unfold-all", "▸", before="z M", ready="▸ L1 ", gone=True),
    Row("search", on(13), typed="k_norm", after="Escape"),
    Row("next-match", on(54), before="/ q_norm Enter", ready="/q_norm", after="Escape"),
    Row("previous-match", on(9), at=54, before="/ q_norm Enter", ready="/q_norm", after="Escape"),
    Row("filter", "2 rows with 'k_norm'", typed="k_norm\r", after="Escape"),
    Row("only", "only diverged", after="d"),
    Row("mode", "with inputs", after="o o"),
    Row("metric", "metric rel L2", after=": metric Space mse Enter"),
    Row("thresholds", "limits ", after="Escape"),
    Row("mark", r"(?m)^● *9 ", after=": 9 Enter Space"),
    Row("unmark", "1 unmarked", before="Space", ready="(?m)^● *9 "),
    Row("pair", "now p on", at=4, after="Escape"),
    Row("unpair", "unpaired", after="P j"),
    Row("save", "rules file:", before="P", ready=r"▌ *9 .*gap(.*\n)* unpaired", after="Escape P j"),
    Row("map", "Map: ", after="q"),
    Row("trend", "Trend: ", after="q"),
    Row("next-case", r"case 2/2(.*\n)* logits:"),
    Row("previous-case", r"case 1/2(.*\n)* logits:"),
    Row("reload", "5[0-5] pairs", before="remove"),
)

_TOP = r"\[2 Top\].*\n 640 .*by absolute"
_STATS = r"\[1 Stats\]"
# On the pair of row 9; where `before` is a number, in that view.
PAIR = (
    Row("view-1", _STATS, before="2", ready=r"\[2 Top\]"),
    *(Row(f"view-{at}", rf"\[{at} \w+\]", before="1", ready=_STATS) for at in range(2, 9)),
    Row("next-view", r"\[2 Top\]", before="1", ready=_STATS),
    Row("previous-view", r"\[8 Explain\]", before="1", ready=_STATS),
    Row("two-views", "two views need 160 columns; here are 100", before="1", ready=_STATS),
    Row("next-row", "row 11 of", before="1", ready=_STATS, after="K"),
    Row("previous-row", "row 7 of", before="1", ready=_STATS, after="J"),
    Row("right", r"\[0:\d+, 1:", before="5", ready=r"\[0:\d+, 0:", after="Left"),
    Row("left", r"\[0:\d+, 0:", before="5 Right", ready=r"\[0:\d+, 1:"),
    Row("page-right", r"\[0:\d+, [5-9]:", before="5", ready=r"\[0:\d+, 0:", after="<"),
    Row("page-left", r"\[0:\d+, 0:", before="5 >", ready=r"\[0:\d+, [5-9]:"),
    Row("enter", r"\[5 Values\]", before="2", ready=_TOP),
    Row("order", "by relative difference", before="2", ready=_TOP, after="s s"),
    Row("axis", "along axis 0", before="2", ready=_TOP, after="a a a"),
    Row("leave", r"\[:, :\]", before="4 Enter", ready=r"\[2:5, 16:32\]"),
    Row("quantity", "reference over", before="4", ready="difference. over", after="v v v v"),
    Row("axes", "rows axis 1", before="4", ready="rows axis 0", after="x"),
    Row("edit", "recipe:", before="6", ready=r"\[6 Layout\]", after="Escape"),
    Row("rank", "Likely recipes, best first", before="6", ready=r"\[6 Layout\]"),
    Row("write", "keep for p this pair", before="6 l Enter", ready="on trial", after="Escape z"),
    Row("undo", "as it was aligned", before="6 l Enter", ready="on trial"),
)  # fmt: skip

# Begins on row 9, each with what brings the cursor back there.
_ON_MAP = "#9 L0 self_attn.q_norm"
MAP = (
    Row("map-quantity", "Map: local error", ready=_ON_MAP, after="v v v"),
    Row("map-left", "q_norm: nothing recorded", ready=_ON_MAP, after="l"),
    Row("map-right", "L1 self_attn.q_norm", ready=_ON_MAP, after="h"),
    Row("down", "L0 self_attn.k_proj", ready=_ON_MAP, after="k"),
    Row("help", "Keys of the map", ready=_ON_MAP, after="Escape"),
    Row("map-go", "56 pairs", ready=_ON_MAP, after="M"),
)
TREND = (
    Row("trend-in", "  outputs ", ready=r"(?m)^ #9 L0", after="-"),
    Row("trend-out", "  outputs ", before="+", ready="  outputs ", gone=True),
    Row("trend-right", "#11 L0", ready=r"(?m)^ #9 L0", after="h"),
    Row("trend-left", "#7 L0", ready=r"(?m)^ #9 L0", after="l"),
    Row("help", "Keys of the trend", ready=_ON_MAP, after="Escape"),
    Row("trend-go", "56 pairs", ready=r"(?m)^ #9 L0", after="T"),
)

# These end the program.
ENDS = (
    Row("back", "ended=0"),
    Row("quit", "ended=0"),
    Row("cancel", "ended=0"),
)
