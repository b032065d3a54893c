"""The page about captures elsewhere and clusters: its examples print what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.console_examples import blocks, run_block
from support.remote.s3_server import s3_server, upload

PAGE = (Path(__file__).parent.parent / "docs/manual/remote.md").read_text(encoding="utf-8")


def code(mark: str, language: str = "python") -> str:
    (found,) = re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def place(real: Path, tmp_path: Path) -> Path:
    for side in ("torch_dump", "max_dump"):
        shutil.copytree(real / "qwen3-f32" / side, tmp_path / side)
    return tmp_path


def test_captures_by_url(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    (block,) = blocks(PAGE, "remote-example")
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for side in ("torch_dump", "max_dump"):
            upload(place / side, side)
        run_block(block, place)


def test_a_cluster(place: Path) -> None:
    pytest.importorskip("distributed")
    (block,) = blocks(PAGE, "cluster-example")
    run_block(block, place)


def test_an_executor(place: Path, real: Path) -> None:
    for side in ("torch_dump", "max_dump"):  # a healthy pair
        shutil.rmtree(place / side)
        shutil.copytree(real / "llama-f32" / side, place / side)
    (place / "test.py").write_text(code("executor-example"))
    subprocess.run([sys.executable, "test.py"], cwd=place, check=True, timeout=300)


def test_the_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code("paper-example"), "docs", "exec"), {})
    assert capsys.readouterr().out == code("paper-output", "text")
