"""The bug report: what is wrong and why, both runs, and nothing of the user's places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from layertui.cli.main import status_of
from support.screens.tui_captures import (
    make_app,
    measured,
    type_line,
    until,
    write_pair,
    write_safetensors,
)


def report_of(reference: Path, candidate: Path, capsys: pytest.CaptureFixture[str]) -> str:
    status_of(["compare", str(reference), str(candidate), "--format", "bug-report"])
    return capsys.readouterr().out


def sections(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    heads = [at for at, token in enumerate(tokens) if token.type == "heading_open"]
    return [tokens[at + 1].content for at in heads]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    page = MarkdownIt("commonmark").enable("table").render(text)
    return [re.findall(r"<td>(.*?)</td>", row) for row in page.split("<tr>") if "<td>" in row]


def test_a_divergence(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real / "olmo2-f32"
    text = report_of(folder / "torch_dump", folder / "max_dump", capsys)
    assert sections(text) == [
        "first divergence: `layers.0.self_attn.q_norm`", "Where it diverges first",
        "Other rows that do not agree", "By kind of module", "The runs", "What is in order",
        "How to see it again",
    ]  # fmt: skip
    assert "cause: eps" in text and "1e-6 where the reference has 1e-5" in text
    assert "GREATEST DIFFERENCES" in text and "HEAT MAP" in text
    assert "layertui repro torch_dump max_dump layers.0.self_attn.q_norm" in text
    assert "layertui compare torch_dump max_dump\n" in text
    assert str(real) not in text
    made = [row for row in rows(text) if "introduced here" in row]
    assert [row[3] for row in made] == [
        f"<code>layers.{layer}.self_attn.{norm}_norm-output</code>"
        for layer, norm in ((0, "k"), (1, "q"), (1, "k"))
    ]
    assert {len(row) for row in rows(text)} == {6, 8}
    assert "- 13 of 56 pairs agree up to rounding" in text


def test_agreement(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real / "llama-f32"
    text = report_of(folder / "torch_dump", folder / "max_dump", capsys)
    assert sections(text) == [
        "no divergence", "The runs", "What is in order", "How to see it again",
    ]  # fmt: skip
    assert "layertui repro" not in text


def test_what_was_not_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, candidate = write_pair(tmp_path, 12)
    more = {f"model.layers.9.p{number}-output": [1.0] for number in range(20)}
    write_safetensors(reference / "more.safetensors", more)
    text = report_of(reference, candidate, capsys)
    assert "20 only in the reference, 0 only in the candidate, 0 unreadable" in text
    broken = candidate / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-8])
    text = report_of(reference, candidate, capsys)
    assert "1 unreadable" in text and "cannot be read" in text.partition("## The runs")[0]


def test_homes_and_hostile_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name from a file is text, whatever it has in it, and a home is `~`."""
    home = tmp_path / "home of me"
    monkeypatch.setenv("HOME", str(home))
    reference, candidate = write_pair(home / "a | <script>b</script>", 12, wrong=(7,))
    text = report_of(reference, candidate, capsys)
    assert str(home) not in text and "home of me" not in text
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script>" not in page


@pytest.mark.parametrize("name", ["found.md", "found.html"])
async def test_on_the_screen(real: Path, tmp_path: Path, name: str) -> None:
    folder = real / "olmo2-f32"
    app = make_app(folder / "torch_dump", folder / "max_dump")
    async with app.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, ":", f"report {tmp_path / name}")
        assert (
            app.said == "a report can be written when all rows are measured"
            or (tmp_path / name).exists()
        )
        await measured(pilot, app)
        await pilot.press("B")
        await type_line_again(pilot, str(tmp_path / name))
        await until(pilot, lambda: "wrote a report to" in app.said)
    text = (tmp_path / name).read_text()
    assert "layers.0.self_attn.q_norm" in text
    page = name.endswith(".html")
    assert text.startswith("<!" if page else "# ") and str(real) not in text


def test_places_of_other_files_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that options name, and the folder of the model that a capture was made from; names of
    records that have a folder's name in them stay whole.
    """
    reference, candidate = write_pair(tmp_path / "secret" / "runs", 12, wrong=(7,))
    told = '{"schema": "layertui.capture/1", "model": "/data/secret/llama-mini"}'
    (reference / "layertui.json").write_text(told)
    rules = tmp_path / "secret" / "my rules.toml"
    rules.write_text("")
    argv = ["compare", str(reference), str(candidate), "--format", "bug-report"]
    status_of([*argv, "--rules", str(rules)])
    text = capsys.readouterr().out
    assert "secret" not in text and "--rules 'my rules.toml'" in text
    assert "llama-mini" in text and "`/data" not in text


def test_no_layer_that_is_as_its_law_says_is_not_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, candidate = write_pair(tmp_path, 12)
    assert "0 layers" not in report_of(reference, candidate, capsys)


async def type_line_again(pilot: object, text: str) -> None:
    """Answer the question that is on the screen."""
    from layertui.tui.widgets.prompt import Entry

    entry = pilot.app.screen.query_one(Entry)  # type: ignore[attr-defined]
    assert entry.has_focus
    entry.value = text
    await pilot.press("enter")  # type: ignore[attr-defined]
