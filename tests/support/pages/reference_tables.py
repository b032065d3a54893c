"""`docs/reference/registries.md`: the tables of formats, engines and forms, made of the program's
own registries. `python tests/support/pages/reference_tables.py` writes the page anew.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from layertui.capture.formats.registry import FORMATS
from layertui.compare.matching import engines
from layertui.compare.matching.engines.names import EngineNames
from layertui.compare.matching.engines.registry import ENGINES
from layertui.compare.reports.registry import FORMS

PAGE = Path(__file__).parents[3] / "docs/reference/registries.md"
_HEAD = """# What is built in

Formats of files, names of engines and forms of reports, as the program's registries have them. This
page is generated: after a change of a registry run
`python tests/support/pages/reference_tables.py`. How to add to one:
[CONTRIBUTING](../../CONTRIBUTING.md).
"""


def page() -> str:
    """The page as it should be."""
    formats = [
        (entry.name, " ".join(f"`{suffix}`" for suffix in entry.suffixes) or "any",
         "suffix and content" if entry.looks else "suffix", "yes" if entry.partial else "")
        for entry in sorted(FORMATS, key=lambda entry: entry.order)
    ]  # fmt: skip
    forms = [
        (f"`{form.name}`", form.purpose, "yes" if form.several else "", form.policy or "any")
        for form in FORMS.values()
    ]  # fmt: skip
    parts = [
        _HEAD,
        _section("Formats of captures", ("format", "files", "recognised by", "may be partial"),
                 formats),
        _section("Engines", ("engine", "names"), [(each.name, _about(each)) for each in ENGINES]),
        _section("Forms of `compare --format`", ("form", "for", "several cases", "policy"), forms),
    ]  # fmt: skip
    return "\n".join(parts)


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _about(engine: EngineNames) -> str:
    """What the engine's module says of it."""
    for found in pkgutil.iter_modules(engines.__path__):
        module = import_module(f"{engines.__name__}.{found.name}")
        own = found.name not in ("registry", "names", "tables")
        if own and any(value is engine for value in vars(module).values()):
            return (module.__doc__ or "").strip().split("\n")[0]
    return ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
