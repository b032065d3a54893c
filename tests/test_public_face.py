"""The names that other programs import: they stay, and cost nothing before they are used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

FACES = {
    "layertui.capture": {
        "Capture", "CaptureError", "Locator", "Record", "RecordError", "add_tree", "open_capture",
        "read_headers", "record", "record_flax", "tap",
    },
    "layertui.compare": {
        "Comparison", "Measurement", "Row", "Verdict", "assert_captures_match", "json_report",
        "open_comparison",
    },
}  # fmt: skip
NAMES = [(module, name) for module, names in FACES.items() for name in sorted(names)]


@pytest.mark.parametrize("module", FACES)
def test_the_face_is_what_it_was(module: str) -> None:
    face = importlib.import_module(module)
    assert set(face.__all__) == FACES[module]
    assert FACES[module] <= set(dir(face))
    for name in FACES[module]:
        assert f"`{name}" in (face.__doc__ or ""), f"{name} is not documented"


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_name_can_be_imported(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert found.__name__ == name and found.__module__.startswith(f"{module}.")


@pytest.mark.parametrize("module", FACES)
def test_other_names_are_refused(module: str) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = importlib.import_module(module).nothing


def test_importing_the_faces_imports_nothing_heavy() -> None:
    code = (
        "import sys; import layertui.capture, layertui.compare; "
        "print([name for name in ('numpy', 'torch', 'textual', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_program_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "layertui.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("layertui "), done.stderr
