"""How the modules of the screens hang together."""

from __future__ import annotations

import ast
from pathlib import Path

import layertui.tui

ROOT = Path(layertui.tui.__file__).parent
_MOST_LINES = 400
_MOST_LINES_OF_THE_APP = 300


def _files() -> dict[str, Path]:
    """Modules by name, from `tui` on; packages by the name of their folder."""
    found: dict[str, Path] = {}
    for path in ROOT.rglob("*.py"):
        parts = ("tui", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported(name: str, path: Path, known: set[str]) -> set[str]:
    """The modules that one imports, wherever in its text, for the type checker alone included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = package.split(".")
            base = ".".join(up[: len(up) - node.level + 1])
            module = f"{base}.{node.module}" if node.module else base
            names = {f"{module}.{alias.name}" for alias in node.names} & known
            found |= names or ({module} & known)
    return found - {name}


def test_no_circle_of_imports() -> None:
    files = _files()
    del files["tui"]  # the face, which starts everything
    rest = {name: _imported(name, path, set(files)) for name, path in files.items()}
    assert len(rest) > 50 and rest["tui.app"] >= {"tui.session", "tui.list.screen"}
    while True:
        free = {name for name, imported in rest.items() if not imported & set(rest)}
        if not free:
            break
        rest = {name: imported for name, imported in rest.items() if name not in free}
    assert rest == {}


def test_files_are_small() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").split("\n")) for name, path in
             _files().items()}  # fmt: skip
    assert {name: count for name, count in lines.items() if count > _MOST_LINES} == {}
    assert lines["tui.app"] <= _MOST_LINES_OF_THE_APP
