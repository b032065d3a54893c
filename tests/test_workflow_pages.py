"""The pages about workflows of other tools: every command on them prints what they show."""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from layertui.cli.main import status_of
from support.pages.text_dumps import cpp_side, python_side, write
from support.ranks import cut_llama as ranks
from support.ranks.cut_llama import Cut, Fault

ROOT = Path(__file__).parent.parent
PAGES = ("layer-tests", "text-dumps", "printed-tensors", "shards")
DATA = ROOT / "tests/data"


@pytest.fixture
def place(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages have beside them: captures, text dumps, logs, two files."""
    for side in ("torch_dump", "max_dump"):
        (tmp_path / side).symlink_to(real / "qwen3-f32" / side)
    norm = "model.layers.layers.0.self_attn_shards.0.q_norm-output.max"
    torch_norm = "0/model.model.layers.0.self_attn.q_norm-output.pt"
    shutil.copy(real / "qwen3-f32/torch_dump" / torch_norm, tmp_path / "a.pt")
    shutil.copy(real / "qwen3-f32/max_dump" / norm, tmp_path / "b.max")
    for folder, fault in (("clean", ""), ("dumps", "layer_1_attn_q_rope")):
        write(tmp_path / folder, "py", python_side())
        write(tmp_path / folder, "cpp", cpp_side(fault))
    with tarfile.open(DATA / "llama-console.tar.xz") as tar:
        tar.extractall(tmp_path, filter="data")
    for log in (tmp_path / "llama-console").glob("*.log"):
        log.rename(tmp_path / log.name)
    write_ranks(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_ranks(folder: Path) -> None:
    """A llama on one rank and on eight; a fault in one rank's weights; an odd rank; one missing."""
    cut = Cut(kv_heads=4)
    eight = replace(cut, ranks=8)
    ranks.write(folder / "tp1", ranks.run(cut))
    ranks.write(folder / "tp8", ranks.run(eight))
    fault = Fault(5, 1, "gate", 1.1)
    ranks.write(folder / "faulty", ranks.run(replace(eight, fault=fault)))
    odd = ranks.run(eight)
    odd[2]["model.layers.1.post_attention_layernorm"] *= 1.5
    ranks.write(folder / "odd", odd)
    ranks.write(folder / "short", ranks.run(eight)[:7])


def sessions(page: str) -> list[list[tuple[str, str]]]:
    """Of every console block the commands and what they print."""
    text = (ROOT / f"docs/manual/{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE) for block in blocks]


def as_shown(shown: str) -> re.Pattern[str]:
    """`...` stands for anything: in a line of its own for lines, else inside the line."""
    lines = []
    for line in shown.splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(re.escape(line).replace(r"\.\.\.", ".*") + r"\n")
    return re.compile("".join(lines))


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_page_shows(
    page: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sessions(page)
    assert len(found) >= 2
    for session in found:
        status = None
        for command, shown in session:
            if command == "echo $?":
                assert shown.strip() == str(status), session
                continue
            program, *words = shlex.split(command)
            assert program == "layertui"
            status = status_of(words)
            out = capsys.readouterr().out
            assert as_shown(shown).match(out), (command, out)


@pytest.mark.parametrize("fault", ["layer_1_attn_q_rope", "layer_1_mlp_intermediate",
                                   "layer_0_attn_o_proj", "layer_2_mlp_gate_proj",
                                   "layer_0_attn_residual_output", "layer_1_layer_output",
                                   "final_norm_output"])  # fmt: skip
def test_a_fault_in_any_of_the_dumps_is_the_one_that_is_named(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "py", python_side())
    write(tmp_path, "cpp", cpp_side(fault))
    assert status_of(["compare", str(tmp_path), str(tmp_path), "--format", "layer-dumps"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"first significant difference: {fault}\n")
    assert re.search(rf"^{fault} .* SIGNIFICANT$", out, re.MULTILINE)


def test_healthy_dumps_have_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "py", python_side())
    write(tmp_path, "cpp", cpp_side())
    assert status_of(["compare", str(tmp_path), str(tmp_path), "--format", "layer-dumps"]) == 0
    assert capsys.readouterr().out.startswith("no significant difference in 50 tensors\n")


def test_the_loop_of_many_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three inputs, one with a fault: the exit statuses are those of the loop on the page."""
    statuses = []
    for number, fault in enumerate(("", "layer_1_mlp_intermediate", "")):
        folder = tmp_path / f"input_{number}"
        write(folder, "py", python_side())
        write(folder, "cpp", cpp_side(fault))
        words = ["--format", "layer-dumps", "-o", str(folder / "report.txt")]
        statuses.append(status_of(["compare", str(folder), str(folder), *words]))
    assert statuses == [0, 1, 0]
    capsys.readouterr()
    again = status_of(["compare", str(tmp_path / "input_0"), str(tmp_path / "input_0")])
    assert again == 0  # a report beside the dumps is no dump
