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
_LONGEST_PLAIN = 80  # words before a print without `=` or `:`
# What loggers write before a message: levels, times, places in the program, names in brackets.
_PREFIX = re.compile(
    r"^(?:"
    r"\[[^\[\]]{1,80}\](?:\s*[:|-])?"
    r"|\(\w{1,40} pid=\d+\)"
    r"|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|TRACE)\b(?::[\w.]*:)?(?:\s*[:|-])?"
    r"|[IWED]\d{4}\b"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d\d-\d\d\s+\d\d:\d\d:\d\d"
    r"|\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"|[\w./-]+\.(?:py|cpp|cc|cu|h):\d+(?:\])?(?:\s*[:|-])?"
    r"|rank\s?\d+\s*[:|]"
    r"|[-|]\s+(?:[\w.]+\s+[-|]\s+)?"
    r")\s*",
    re.IGNORECASE,
)
_DECORATION = " \t'\"{},;([=-*#~>|"
_LAYER = re.compile(r"\b(?:layers?|blocks?|blk|h)[\s_.:#-]*\d+", re.IGNORECASE)
_HEADING = re.compile(r"(?:[A-Za-z_]+\s+)?(?:layers?|blocks?|blk|h)[\s_.:#-]*\d+", re.IGNORECASE)
_NUMBERED = re.compile(r"[A-Za-z].*\d")
_TELLS = re.compile(r"[A-Za-z][._]\w|[A-Za-z]\d")
# What stands outside of the layers, whatever heading came last.
_OUTSIDE = re.compile(r"final|lm[_ ]?head|logits|embed|vocab", re.IGNORECASE)


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
    marked = left.endswith(("=", ":"))
    text = message_of(left[:-1] if marked else left)
    name = text.strip(_DECORATION).strip()
    if not marked:  # `print("layer_0.q", q)`, not a word of a sentence
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
        self._lines: list[str] = []

    def see(self, line: str) -> None:
        """A whole line without a print; a blank one ends what was said before."""
        text = message_of(line).strip(_DECORATION + ":").strip()
        self._file = "" if text else self._file
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
        self._file = ""
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
