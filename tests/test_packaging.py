"""What is shipped: versions, licence, types, layers, and commands in the README that are true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("capture", "compare", "tui", "cli")


def test_the_layers_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    if not program.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_version_everywhere() -> None:
    current = PROJECT["project"]["version"]
    assert version("layertui") == current
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(current)}\]", changelog, re.MULTILINE)


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (files(f"layertui.{package}") / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][f"layertui.{package}"]


def test_every_folder_with_code_is_packaged() -> None:
    """A folder without `__init__.py` is not found, and would be missing from the wheel."""
    from setuptools import find_packages

    listed = {
        f"layertui.{name}"
        for name in find_packages(str(ROOT), include=[f"{package}*" for package in PACKAGES])
    }
    found = {
        "layertui." + ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert found == listed


def test_the_console_script() -> None:
    entries = distribution("layertui").entry_points.select(group="console_scripts")
    assert {entry.name: entry.value for entry in entries}["layertui"] == "layertui.cli.main:run"


def test_constraints_pin_every_dependency() -> None:
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    for requirement in wanted:
        if ";" not in requirement and not requirement.startswith("layertui["):
            name = re.split(r"[<>=\[ ]", requirement)[0].lower()
            assert name in pins, f"{requirement} is not in constraints.txt"


def test_ci_runs_the_readme_s_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "readme_command test-command" in script
    match = re.search(r"<!-- test-command -->\n```bash\n(.+?)\n```", readme, re.DOTALL)
    assert match
    assert "-m pytest" in match[1] and "-c constraints.txt" in match[1]


def test_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run([bash, "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_docs_name_only_commands_and_options_that_exist() -> None:
    import click

    from layertui.cli.group import layertui

    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    known = set()
    ctx = layertui.make_context("layertui", ["--help"], resilient_parsing=True)
    commands = ["", *layertui.list_commands(ctx)]
    for name in commands:
        command = layertui.get_command(ctx, name)
        assert command is not None
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        for each in (command, *inner):
            known |= {option for param in each.params for option in param.opts}
    known |= {option for param in layertui.params for option in param.opts}
    shown = re.findall(r"layertui [^`\n]*", "\n".join(page.read_text() for page in pages))
    for line in shown:
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", re.split("[#;|]", line)[0]):
            assert option in known | {"--help"}, f"{option} in {line!r}"
