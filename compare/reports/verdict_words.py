"""A verdict in a line, and where its error comes from."""

from __future__ import annotations

from ..model import Verdict, verdict_word
from ..vocabulary import origin_words
from .words import sure_text


def origin_of(verdict: Verdict) -> str:
    """`introduced here` or `inherited`, of a verdict that fails."""
    return origin_words(verdict.level, verdict.origin) if verdict.fails else ""


def origin_line(verdict: Verdict) -> str:
    """`introduced here (97 % sure)`, or nothing."""
    word, sure = origin_of(verdict), verdict.confidence
    return f"{word} ({sure_text(sure)})" if word and sure is not None else word


def verdict_line(verdict: Verdict) -> str:
    """`DIVERGED introduced here (97 % sure)  relative L2 ...`."""
    if verdict.level == "pending":
        return "not measured yet"
    word = f"{verdict_word(verdict)} {origin_line(verdict)}".rstrip()
    reason = verdict.doubtful or verdict.reason
    return f"{word}  {reason}" if reason else word
