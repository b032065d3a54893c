"""Habits of the source: small rooms, no circle of imports; tests use nothing private of it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = [HERE.parent / name for name in ("capture", "compare", "tui", "cli")]
MOST_FILES = 24  # of a folder, so that one look at it finds the place
MOST_LINES = 400  # of a module with one subject


def sources(*folders: Path) -> Iterator[Path]:
    return (path for folder in folders for path in sorted(folder.rglob("*.py")))


def test_no_folder_holds_too_many_files() -> None:
    sizes = Counter(path.parent for path in sources(HERE, *PROGRAM))
    assert len(sizes) > 40
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}


def test_no_module_is_too_long() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in sources(*PROGRAM)}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_circle_of_imports() -> None:
    """Imports inside functions and for type checks included."""
    graph = {module_of(path): set(imports_of(path)) for path in sources(*PROGRAM)}
    known = {module: found & graph.keys() - {module} for module, found in graph.items()}
    assert sum(map(len, known.values())) > 1000
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def module_of(path: Path) -> str:
    parts = path.relative_to(HERE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Modules of the program that a module names in relative imports; packages are not modules."""
    parts = path.relative_to(HERE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*parts[: -node.level], *(node.module or "").split("."))).rstrip(".")
            named = [f"{base}.{name.name}" for name in node.names]
            yield from named
            yield base


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
