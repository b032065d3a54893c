"""The first names of a capture, before anything is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from layertui.capture import open_capture
from layertui.capture.first_names import first_names


@pytest.mark.parametrize(
    "side", ["llama-f32/torch_dump", "llama_steps-f32/torch_dump", "llama-f32/max_dump"]
)
def test_names_are_those_of_the_capture(real: Path, side: str) -> None:
    names = first_names(str(real / side), most=20)
    known = {record.name for record in open_capture(real / side).records}
    assert len(names) == 20
    assert set(names) <= known


def test_names_file_gives_execution_order(real: Path) -> None:
    names = first_names(str(real / "olmo2-f32/torch_dump"))
    capture = open_capture(real / "olmo2-f32/torch_dump")
    assert names == [record.name for record in capture.records]


def test_manifest_and_safetensors(tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    folder.mkdir()
    lines = [json.dumps({"layertui": 1})]
    lines += [
        json.dumps({"seq": i, "module": f"layers.{i}", "slot": "output", "call": 1 + i % 2})
        for i in range(1000)
    ]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    assert first_names(str(folder), 2) == ["layers.0-output", "layers.1(2)-output"]
    save_file({"a.b": np.zeros(2), "a.c": np.zeros(2)}, tmp_path / "one.safetensors")
    assert sorted(first_names(str(tmp_path / "one.safetensors"))) == ["a.b", "a.c"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b'{"seq": 1}\n{"seq":', b"null\n[]\n"])
def test_damage_gives_no_names_and_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(content)
    (tmp_path / "x.safetensors").write_bytes(content)
    assert first_names(str(tmp_path)) == []
    assert first_names(str(tmp_path / "x.safetensors")) == []
    assert first_names(str(tmp_path / "missing")) == []


def test_the_first_names_import_no_reader(tmp_path: Path) -> None:
    """Those of a manifest not even the table of readers; those of files that alone."""
    (tmp_path / "native").mkdir()
    line = json.dumps({"seq": 0, "module": "a", "slot": "output", "call": 1})
    (tmp_path / "native" / "manifest.jsonl").write_text(line + "\n")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "b.npy").write_bytes(b"")
    program = (
        "import sys\n"
        "from layertui.capture.first_names import first_names\n"
        "def formats():\n"
        "    return {m.rpartition('.')[2] for m in sys.modules if '.capture.formats.' in m}\n"
        "assert first_names('native') == ['a-output']\n"
        "assert formats() == set(), formats()\n"
        "assert first_names('files') == ['b']\n"
        "assert formats() == {'format', 'registry'}, formats()\n"
        "assert not {'numpy', 'torch', 'importlib.metadata'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ), cwd=tmp_path)
