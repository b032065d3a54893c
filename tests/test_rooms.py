"""Habits of the tests themselves: rooms of few files, and nothing private of the program."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
MOST_FILES = 22


def test_no_folder_holds_too_many_files() -> None:
    folders = [HERE, *(path for path in HERE.rglob("*") if path.is_dir())]
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}


def test_nothing_private_of_the_program_is_used() -> None:
    """Neither `from layertui.x import _y`, nor `x._y` of a module of it, nor a patch of that."""
    assert [use for path in HERE.rglob("*.py") for use in private_uses(path)] == []


def private_uses(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("layertui"):
            for name in node.names:
                modules.add(name.asname or name.name)
                if name.name.startswith("_"):
                    yield f"{path}:{node.lineno}: {name.name}"
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                pass
            case ast.Call(
                func=ast.Attribute(attr="setattr"),
                args=[ast.Name(id=module), ast.Constant(value=str(name)), *_],
            ):
                pass
            case _:
                continue
        if module in modules and name.startswith("_") and not name.startswith("__"):
            yield f"{path}:{node.lineno}: {module}.{name}"
