"""In which form a picture is written, by the name of its file."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from ..commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..present.pieces import Pieces

Form = Literal["text", "svg", "png"]
_FORMS: dict[str, Form] = {".svg": "svg", ".png": "png"}
_OTHERS = (".pdf", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".eps")  # of pictures


def form_of(name: str, forms: Sequence[Form] = ("text", "svg", "png")) -> Form:
    """The form by the suffix, text where it is that of no picture. Raises `CommandError` for a
    picture of another form than `forms`.
    """
    suffix = PurePath(name.strip()).suffix.lower()
    form = _FORMS.get(suffix, "text")
    if form not in forms or suffix in _OTHERS:
        shown = " or ".join(f".{each}" for each in forms if each != "text")
        raise CommandError(f"{name.strip()}: a picture is written as {shown}")
    return form


def check_form(form: Form) -> None:
    """Raises `CommandError`, which says what to install, where a form cannot be written."""
    if form == "png":
        from ...compare.reports.plot import PlotError, require_matplotlib

        try:
            require_matplotlib()
        except PlotError as error:
            raise CommandError(f"{error} (.svg and text need nothing)") from error


def content_of(lines: Sequence[Pieces], form: Form) -> str | bytes:
    """The lines as a file of a form. PNG takes a second or two, and needs matplotlib."""
    if form == "svg":
        from .svg import svg_of_lines

        return svg_of_lines(lines)
    if form == "png":
        from .png import png_of_lines

        return png_of_lines(lines)
    texts = ("".join(text for text, _ in pieces).rstrip() for pieces in lines)
    return "\n".join(texts) + "\n"
