"""Text from outside made harmless, for reports and screens.

Names come out of dump files. Nothing of them may move a terminal's cursor, change colours or
reorder a line, so everything that is not printable is shown as its escape.
"""

from __future__ import annotations

from typing import Any


def clean(text: str, ascii_only: bool = False) -> str:
    """`text` without anything a terminal would act on: `\\x1b` becomes the four characters. Written
    as Python writes it, so that U+202E (`\\u202e`) cannot be taken for `\\x20` and two letters.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char, ascii_only) for char in text)


_FORMULA = ("=", "+", "-", "@")


def cell(value: Any) -> Any:
    """A value for a table: text is `clean`, and where a spreadsheet would take it for a formula an
    apostrophe stands in front (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    if not isinstance(value, str):
        return value
    return f"'{clean(value)}" if value.startswith(_FORMULA) else clean(value)


def _shown(char: str, ascii_only: bool) -> str:
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    return char.encode("unicode_escape", "replace").decode("ascii")
