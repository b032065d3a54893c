"""Installed without the extras: existing captures can be looked at, and nothing else is imported.

These tests take torch away from a process that has it; `.ci/run` also runs the fast tests, and
those of the screens, where it is not installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from layertui.capture import extras
from layertui.capture.errors import RecordError
from support.gguf_files.small import small_gguf

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch", "transformers", "max", "matplotlib", "onnx", "onnxruntime", "openvino", "llama_cpp",
    "fsspec", "s3fs", "dask", "distributed",
)  # fmt: skip
# Rooms that may import torch when they are imported: what the extra is for.
ROOMS_OF_TORCH = ("recorder", "engines", "models", "runners", "demo", "device")


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process in which no heavy package is installed."""
    away = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
    command = [sys.executable, "-c", away + code, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def modules() -> list[str]:
    found = []
    for package in ("capture", "compare", "tui", "cli"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if path.name != "__main__.py" and parts[1] not in ROOMS_OF_TORCH:
                found.append(".".join(("layertui", *parts)).removesuffix(".__init__"))
    return found


def test_every_module_of_the_viewer_is_imported_without_torch() -> None:
    code = "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    listed = modules()
    assert len(listed) > 150
    done = run(code, *listed)
    assert done.returncode == 0, done.stderr


def test_the_dependencies_are_those_of_a_viewer() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    core = declared.partition("\ndependencies = [")[2].partition("]")[0]
    assert not any(f'"{name}' in core for name in HEAVY)


RUN = "from layertui.cli.main import run; run()"


def test_a_comparison_needs_no_torch(real: Path) -> None:
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    done = run(RUN, "compare", *sides)
    assert done.returncode == 0 and "FIRST DIVERGENCE" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["capture", "torch", "MODEL", "-o", "OUT"], "torch"),
        (["capture", "both", "MODEL", "-o", "OUT"], "max"),
        (["capture", "max", "MODEL", "-o", "OUT"], "max"),
        (["capture", "onnx", "MODEL.onnx", "-o", "OUT", "--input-ids", "1"], "onnx"),
        (["capture", "both", "MODEL", "-o", "OUT", "--candidate", "onnx"], "onnx"),
        (["capture", "openvino", "MODEL.xml", "-o", "OUT", "--input-ids", "1"], "openvino"),
        (["capture", "llamacpp", "MODEL.gguf", "-o", "OUT", "--input-ids", "1"], "llamacpp"),
        (["verify", "MODEL", "-o", "OUT"], "torch"),
        (["compare", "SIDE", "SIDE", "--plot", "OUT.png"], "plot"),
        (["compare", "s3://bucket/a/", "SIDE"], "remote"),
        (["s3://bucket/a/", "s3://bucket/b/"], "remote"),
        (["compare", "SIDE", "SIDE", "--scheduler", "tcp://host:8786"], "cluster"),
        (["rerun", "SIDE", "SIDE", "--all", "--candidate-model", "MODEL"], "torch"),
    ],
)
def test_what_needs_an_extra_names_it_in_one_line(
    command: list[str], extra: str, real: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    places = {
        "MODEL": str(tmp_path / "model"),
        "MODEL.onnx": str(tmp_path / "model.onnx"),
        "MODEL.gguf": str(small_gguf(tmp_path / "model.gguf")),
        "SIDE": str(real / "llama-f32" / "torch_dump"),
        "OUT": str(tmp_path / "out"),
        "OUT.png": str(tmp_path / "out.png"),
    }
    done = run(RUN, *(places.get(word, word) for word in command))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("layertui: ") and f"the extra {extra!r}: pip install " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["record", "tap"])
def test_recording_without_torch_names_the_extra(name: str) -> None:
    done = run(f"from layertui.capture import {name}; {name}(None, 'x')")
    assert done.returncode == 1
    assert "needs the extra 'torch': pip install " in done.stderr.splitlines()[-1]


def test_an_odd_torch_file_names_the_extra(tmp_path: Path) -> None:
    """The format from before torch 1.6, which only torch reads: one record, one line."""
    legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    (tmp_path / "a.pt").write_bytes(legacy + bytes(200))
    done = run(RUN, "show", str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "a.pt: this kind of torch file needs the extra 'torch': pip install " in line


# --- the command that gets an extra


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({}, "pip install 'layertui[torch]'"),
        ({"url": "https://host/layertui-1.whl"}, "pip install 'layertui[torch]'"),
        (
            {"url": "https://host/repo", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "pip install 'layertui[torch] @ git+https://host/repo'",
        ),
        ({"url": "file:///nowhere/at/all"}, "pip install 'layertui[torch]'"),
    ],
)
def test_install_command(
    origin: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "distribution", lambda _: Noted(origin))
    assert extras.install_command("torch") == expected


class Noted:
    """A distribution with only `direct_url.json`."""

    def __init__(self, origin: dict[str, object]) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return json.dumps(self.origin) if self.origin else None


def test_a_checkout_is_named_not_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a checkout"
    place.mkdir()
    origin: dict[str, object] = {"url": place.as_uri(), "dir_info": {}}
    monkeypatch.setattr(extras, "distribution", lambda _: Noted(origin))
    assert extras.install_command("max") == f"pip install '{place}[max]'"
    monkeypatch.chdir(place)
    assert extras.install_command("max") == "pip install '.[max]'"
    origin["dir_info"] = {"editable": True}
    assert extras.install_command("all") == "pip install -e '.[all]'"


@pytest.mark.parametrize("noted", ["", "[]", "{", "null"])
def test_a_damaged_note_is_no_error(noted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(Noted):
        def read_text(self, name: str) -> str | None:
            return noted

    monkeypatch.setattr(extras, "distribution", lambda _: Damaged({}))
    assert extras.install_command("plot") == "pip install 'layertui[plot]'"


def test_reading_by_torch_says_so_without_starting_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layertui.capture.formats.pickles import torch_client

    monkeypatch.setattr(torch_client, "has_package", lambda _: False)
    torch_client.end_child()  # of another test
    monkeypatch.setattr(torch_client.subprocess, "Popen", None)
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(RecordError, match="needs the extra 'torch'"):
        torch_client.list_tensors(str(tmp_path / "a.pt"))
