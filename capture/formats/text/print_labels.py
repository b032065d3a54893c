"""What prints in a log are called: by what stands before them on their line, or by the lines above.

[DEBUG] layer 0 attn_out: tensor([[...       name: `layer 0 attn_out`
2026-11-20 09:00:00,123 - model - INFO - q = tensor([[...
layer 1                                      a heading: goes before the labels below it
mlp output
tensor([[...                                 name: `layer 1 mlp output`
"""

from __future__ import annotations

import re

from ...places import place_of

LONGEST_NAME = 1000
_LONGEST_LABEL = 200
_LONGEST_HEADING = 60
_LONGEST_DETAILS = 300
_LONGEST_PLAIN = 80  # words before a print without `=` or `:`
# A logger's name behind the level, `INFO model: embed`: without a number, and none of a model's own
# words; what follows it must be a label itself.
_LOGGER = (
    r"(?:root|__main__|main|model|logger"
    r"|(?!\S*(?:proj|norm|attn|atten|mlp|embed|head|weight|layer|block))[a-z_]+(?:\.[a-z_]+)+)"
)
_LABEL_FOLLOWS = (
    r"(?!(?:tensor|array|shape|size|dims?|dtype|device|mean|std|min|max|norm|values?|data)\b)"
    r"(?=[a-z_][\w.]*(?:\s*(?:[:=]|->)|\s*$|\s+\w))"
)
# What loggers write before a message: levels, times, places in the program, names in brackets.
_PREFIX = re.compile(
    r"^(?:"
    r"\[[^\[\]]{1,80}\](?:\s*[:|-])?"
    r"|\(\w{1,40} pid=\d+\)"
    r"|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|TRACE)\b(?::[\w.]*:)?(?:\s*[:|-])?"
    rf"(?:\s+{_LOGGER}:\s+{_LABEL_FOLLOWS})?"
    r"|[IWEDF]\d{4}(?:\d{4})?\b"
    r"|[\w.]+:[\w<>.]+:\d+\s*[-|]"
    r"|\d{1,10}\s+(?=[\w./-]+\.(?:py|cpp|cc|cu|h):\d)"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d\d-\d\d\s+\d\d:\d\d:\d\d"
    r"|\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"|[\w./-]+\.(?:py|cpp|cc|cu|h):\d+(?:\])?(?:\s*[:|-])?"
    r"|rank\s?\d+\s*[:|]"
    r"|[-|]\s+(?:[\w.]+\s+[-|]\s+)?"
    r")\s*",
    re.IGNORECASE,
)
_DECORATION = " \t'\"{},;([=-*#~<>|"
_LAYER = re.compile(r"\b(?:layers?|blocks?|blk|h)[\s_.:#-]*\d+", re.IGNORECASE)
_HEADING = re.compile(r"(?:[A-Za-z_]+\s+)?(?:layers?|blocks?|blk|h)[\s_.:#-]*\d+", re.IGNORECASE)
_NUMBERED = re.compile(r"[A-Za-z].*\d")
_TELLS = re.compile(r"[A-Za-z][._]\w|[A-Za-z]\d")
# What stands outside of the layers, whatever heading came last.
_OUTSIDE = re.compile(r"final|lm[_ ]?head|logits|embed|vocab", re.IGNORECASE)


# What stands of a tensor before its print: shape, dtype, device, statistics.
_SHAPE_WORD = r"\b(?:tensor[ _])?(?:shape|size|dims?|dimensions)\b\s*[:=]?\s*"
_SIZES = r"[\[(][\d\s,]{0,200}[\])]"
_DETAIL = (
    rf"(?:{_SHAPE_WORD})?torch\.Size\({_SIZES}\)"
    rf"|{_SHAPE_WORD}(?:{_SIZES}|\d{{1,18}}(?:x\d{{1,18}}){{0,31}}\b)"
    r"|[\[(]\s*\d{1,18}\s*,[\d\s,]{0,200}[\])]"
    r"|\b(?:d?type\s*[:=]\s*)?torch\.(?:bfloat|float|u?int|complex|bool)\w{0,12}\b"
    r"|\bdtype\s*[:=]\s*[\w.]{1,40}"
    r"|\b(?:bfloat16|float(?:16|32|64))\b"
    r"|<tf\.Tensor:"
    r"|\bdevice\s*[:=]\s*[\w:'\"()=]{1,40}"
    r"|\b(?:mean|std|var|min|max|norm|sum|absmax)\s*[:=]\s*[+-]?"
    r"(?:[\d.]{1,40}(?:e[+-]?\d{1,4})?|nan|inf)\b"
)
_SAID_SHAPE = re.compile(rf"{_SIZES}|(?<=[\s:=])\d{{1,18}}(?:x\d{{1,18}}){{1,31}}\b", re.IGNORECASE)
_DETAILS = re.compile(
    rf"(?:(?:{_DETAIL})[\s,;:|=*#~<>)\]-]{{0,20}})+(?:(?:values?|data|content|tensor|numpy)\s*[:=]?\s*)?$",
    re.IGNORECASE,
)
# Where loggers write a name: in brackets, or between their other columns.
_MARKED = re.compile(
    r"\[([^\[\]]{1,80})\]|\b(?:DEBUG|INFO|WARNING|ERROR):([\w.]{1,200}):|[-|]\s+([\w.]{1,200})\s+[-|]"
)
_NO_LABEL = re.compile(
    r"(?:debug|info|warn|warning|error|critical|trace|notice|root|__main__|main|log|logger"
    r"|(?:main)?thread\W?\d*|(?:process|pid|rank|worker|gpu|cuda|tp|pp|dp)[\W_]?\d*"
    r"|[IWED]\b.*|.*\.(?:py|cpp|cc|cu|h)\b.*|[^A-Za-z_].*)",
    re.IGNORECASE,
)
# `Layer model.layers.0.mlp`, `module=lm_head`: the path is the name.
_KIND = re.compile(
    r"(?:layer|module|tensor|name|op|node|key)"
    r"(?:\s*[:=]\s*(?=[A-Za-z_]\S*$)|\s+(?=[A-Za-z_]\w*(?:\.\w+)+(?:\(\d+\))?$))",
    re.IGNORECASE,
)
_MARKS = ("->", "=>", "\u2192", "=", ":")  # between a name and its print
_ROLES = {"output": "output", "out": "output", "outputs": "output", "input": "input", "in": "input"}


def without_details(text: str) -> str:
    """A label without the shape, dtype and the like at its end."""
    details = _DETAILS.search(text, max(0, len(text) - _LONGEST_DETAILS))
    return text if details is None else text[: details.start()].strip(_DECORATION + ":])")


def shape_in(text: str) -> tuple[int, ...] | None:
    """The shape that the details at the end of a label say; None where they say none."""
    details = _DETAILS.search(text, max(0, len(text) - _LONGEST_DETAILS))
    said = _SAID_SHAPE.search(details[0]) if details else None
    if said is None:
        return None
    return tuple(int(size) for size in re.findall(r"\d{1,18}", said[0]))


def label_in(line: str) -> str:
    """What a line says of the print that follows it: its message without details, or the name in
    brackets before a message that is nothing else. Empty where it says nothing.
    """
    message = message_of(line)
    bare = without_details(message).strip(_DECORATION + ":").strip()
    bare = _KIND.sub("", bare, count=1) if _KIND.match(bare) else bare
    if not bare:
        *before, last = ["", *_marked_labels(line[: line.rfind(message)] if message else line)]
        return _of_role(before[-1:], last)
    return _of_role(_marked_labels(line[: line.rfind(message)])[-1:], bare)


def _of_role(before: list[str], label: str) -> str:
    """`[layers.0.mlp] output`: what a layer gives; any other label stands for itself."""
    role = _ROLES.get(label.lower())
    return f"{before[0]}-{role}" if role and before and _LAYER.search(before[0]) else label


def _marked_labels(prefix: str) -> list[str]:
    """The names in what a logger writes before a message."""
    found = [text.strip() for match in _MARKED.finditer(prefix) for text in match.groups() if text]
    return [text for text in found if not _NO_LABEL.fullmatch(text)]


def message_of(line: str) -> str:
    """A line without what its logger wrote before the message."""
    text = line.strip()
    for _ in range(8):
        match = _PREFIX.match(text)
        if match is None or not match[0]:
            break
        text = text[match.end() :]
    return text


def name_before(left: str) -> str:
    """The name in the text before a print on its line; empty where that is no name."""
    left = left.rstrip()
    mark = next((mark for mark in _MARKS if left.endswith(mark)), "")
    marked, text = bool(mark), left[: len(left) - len(mark)]
    name = label_in(text)
    if (
        not marked and name == message_of(text).strip(_DECORATION + ":").strip()
    ):  # `print("layer_0.q", q)`, not a word of a sentence
        short = len(name) <= _LONGEST_PLAIN and (left[-1:].isalnum() or left[-1:] in "_)]")
        return name if short and _TELLS.search(name) else ""
    words = name.split()
    # The last word is a name by itself, unless the words before say where it belongs.
    if len(words) > 1 and ("." in words[-1] or "-" in words[-1]) and not _LAYER.search(name):
        name = words[-1]
    return name[-LONGEST_NAME:]


class Labels:
    """The lines above a print: a label, and the heading that it stands under. A print at the very
    beginning of a file goes by the name of the `file`.
    """

    def __init__(self, file: str = "") -> None:
        self.heading = ""
        self._file = file
        self.step: int | None = None
        self.shape: tuple[int, ...] | None = None
        self._lines: list[str] = []

    def see(self, line: str) -> None:
        """A whole line without a print; a blank one ends what was said before."""
        text = label_in(line)
        self.shape = shape_in(line) or (self.shape if not text else None)
        self._file = "" if text else self._file
        if not text and message_of(line).strip(_DECORATION + ":"):
            return  # a shape or the like by itself
        if not text or len(text) > _LONGEST_LABEL:
            self._lines.clear()
            return
        place = place_of(text)
        if not place.rest and place.step is not None:
            self.step, self.heading = place.step, ""
            self._lines.clear()
        else:
            if _HEADING.fullmatch(text):
                self.heading = text
            self._lines.append(text)
            del self._lines[:-2]

    def forget(self) -> None:
        """A print ended: what comes next is about another."""
        self._file, self.shape = "", None
        self._lines.clear()

    def name(self) -> str:
        """What a print below these lines is called; empty where nothing says it."""
        if not self._lines:
            return self._file
        *above, label = self._lines
        if _HEADING.fullmatch(label):
            return label
        if above and len(above[0]) <= _LONGEST_HEADING and _NUMBERED.search(above[0]):
            self.heading = above[0]
        if self.heading and not _LAYER.search(label) and not _OUTSIDE.search(label):
            return f"{self.heading} {label}"
        return label
