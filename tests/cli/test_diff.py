"""`layertui diff`, and `compare --before`, on real captures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layertui.cli.main import status_of


@pytest.fixture(scope="module")
def saved(real: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reports of a pair with a defect and of one without."""
    folder = tmp_path_factory.mktemp("reports")
    found = {}
    for name in ("olmo2-f32", "llama-f32"):
        sides = [str(real / name / side) for side in ("torch_dump", "max_dump")]
        path = str(folder / f"{name}.json")
        status_of(["compare", *sides, "--format", "json", "-o", path])
        found[name] = path
    return found


def test_nothing_changes_to_the_same_report(
    saved: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["diff", saved["olmo2-f32"], saved["olmo2-f32"]]) == 0
    out = capsys.readouterr().out
    assert "layers.0.self_attn.q_norm still diverges first" in out
    assert "0 cured, 0 new, 0 worse" in out


def test_a_report_of_another_model_has_lost_rows(
    saved: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["diff", saved["llama-f32"], saved["olmo2-f32"], "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "layertui.diff/1" and found["worse"] is True
    (case,) = found["cases"]
    assert case["counts"]["new"] > 0 and case["counts"]["gone"] > 0
    assert {row["change"] for row in case["rows"]} <= set(found["meanings"]) - {"same"}


@pytest.mark.parametrize("form", ["text", "json", "markdown", "bug-report"])
def test_what_has_changed_since_an_earlier_candidate(
    real: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The defect of MAX, and the reference itself in its place."""
    reference, old = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    assert status_of(["compare", reference, reference, "--before", old, "--format", form]) == 0
    out = capsys.readouterr().out
    words = "layers.0.self_attn.q_norm cured; nothing diverges any more"
    if form == "json":
        changes = json.loads(out)["changes"]
        assert changes["headline"] == words and not changes["worse"]
        assert changes["counts"]["cured"] > 20 and changes["counts"]["new"] == 0
    else:
        assert words in out


def test_the_new_run_alone_decides_the_status(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, wrong = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    assert status_of(["compare", reference, wrong, "--before", wrong]) == 1
    assert "still diverges first" in capsys.readouterr().out


def test_the_summary_without_a_screen_has_it_too(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, old = (str(real / "olmo2-f32" / side) for side in ("torch_dump", "max_dump"))
    assert status_of(["--no-tui", reference, reference, "--before", old]) == 0
    out = capsys.readouterr().out
    assert f"CHANGES SINCE {old}" in out
    assert "layers.0.self_attn.q_norm cured; nothing diverges any more" in out
    assert "--before" in out.partition("REPRODUCE")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A", "B", "--no-tui", "--before", "nowhere"], "nowhere: no such file or directory"),
        (["A", "B", "--watch"], "--watch goes with the screen"),
        (["A", "B", "--watch", "--no-tui"], "--watch goes with the screen"),
        (["A", "--watch"], "--before and --watch go with two captures"),
        (["A", "--before", "B"], "--before and --watch go with two captures"),
    ],
)
def test_what_the_screen_refuses_is_one_line(
    real: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = {letter: str(real / "llama-f32" / side)
             for letter, side in (("A", "torch_dump"), ("B", "max_dump"))}  # fmt: skip
    sides["B"] = "nowhere" if arguments[-1] == "B" else sides["B"]
    assert status_of([sides.get(word, word) for word in arguments]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "csv", "--before", "x"], "--before goes with --format text, json, markdown"),
        (["--before", "nowhere"], "nowhere: no such file or directory"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(
    real: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(real / "llama-f32" / side) for side in ("torch_dump", "max_dump")]
    assert status_of(["compare", *sides, *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_a_file_that_is_no_report_is_one_line(
    tmp_path: Path, saved: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "x.json"
    other.write_text("{}", encoding="utf-8")
    assert status_of(["diff", saved["llama-f32"], str(other)]) == 2
    assert "not a report of `layertui compare --format json`" in capsys.readouterr().err
