"""What Tab offers, without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.tui.commands import COMMANDS
from layertui.tui.completion.arguments import ARGUMENTS, Wanted, wanted
from layertui.tui.completion.candidates import Candidates, Cycle, fitting
from layertui.tui.completion.completer import Completions
from layertui.tui.completion.files import candidates_in
from layertui.tui.completion.names import next_parts
from layertui.tui.widgets.footer import shortened, window
from support.screens.fake_host import FakeHost


@pytest.mark.parametrize(
    ("line", "kind", "start"),
    [
        ("", "commands", 0), ("me", "commands", 0), (":me", "commands", 1),
        ("metric ", "metrics", 7), ("m m", None, 0), ("metr m", "metrics", 5),
        ("goto layers.0 q", "records", 14),
        ("model ref", "sides", 6), ("model reference ~/my mod", "files", 16),
        ("export a b", "files", 7), ("w a", "files", 2),
        ("recipe cand squeeze(0) | tr", "recipes", 25),
        ("recipe tr", "recipes", 7), ("threshold mse=1 rel", "limits", 16), ("notes x", None, 0),
        ("nonsense x", None, 0), ("case my case", "cases", 5), ("metric  m", "metrics", 8),
    ],
)  # fmt: skip
def test_what_a_line_wants(line: str, kind: str | None, start: int) -> None:
    found = wanted(line)
    assert found == (None if kind is None else Wanted(kind, start))  # type: ignore[arg-type]


def test_arguments_belong_to_commands() -> None:
    assert set(ARGUMENTS) <= {command.name for command in COMMANDS}


def test_words_that_fit() -> None:
    assert fitting("metric m", 7, ["mse", "max_abs", "ulp", "mse"]).words == ("mse", "max_abs")
    assert fitting("view gr", 5, ["Stats", "Greatest"]).words == ("Greatest",)
    assert fitting("view x", 5, ["Stats"]).words == ()


def test_tab_after_tab() -> None:
    cycle = Cycle("metric ma", Candidates(7, ("max_abs", "max_rel")))
    lines = [cycle.step(1) for _ in range(5)]
    assert lines == [
        "metric max_", "metric max_abs", "metric max_rel", "metric ma", "metric max_abs",
    ]  # fmt: skip
    assert [cycle.step(-1), cycle.step(-1)] == ["metric ma", "metric max_rel"]


def test_shift_tab_begins_at_the_end() -> None:
    assert Cycle("show ", Candidates(5, ("outputs", "inputs"))).step(-1) == "show inputs"


def test_one_or_no_candidate() -> None:
    one = Cycle("re", Candidates(0, ("report",)))
    assert [one.step(1), one.step(1)] == ["report", "report"]
    assert Cycle("xx", Candidates(0)).step(1) == "xx"


def test_names_are_completed_part_by_part() -> None:
    names = ("embed", "layers.0.mlp", "layers.0.mlp.up", "layers.10.mlp", "layers.0.attn")
    assert next_parts(names, "") == ["embed", "layers."]
    assert next_parts(names, "layers.") == ["layers.0.", "layers.10."]
    assert next_parts(names, "layers.0.m") == ["layers.0.mlp", "layers.0.mlp."]
    assert next_parts(names, "nowhere") == []


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run one").mkdir()
    for name in ("report.md", "rules.toml", ".hidden", "bad\nname"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert candidates_in("export r", 7).words == ("report.md", "rules.toml", "run one/")
    assert candidates_in("", 0).words == ("report.md", "rules.toml", "run one/")
    assert candidates_in(".h", 0).words == (".hidden",)
    assert candidates_in(f"{tmp_path}/ru", 0).words == (
        f"{tmp_path}/rules.toml",
        f"{tmp_path}/run one/",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert candidates_in("~/rep", 0).words == ("~/report.md",)
    assert candidates_in("nowhere/x", 0) == candidates_in("a\0/b", 0) == Candidates(0)


@pytest.fixture
def host(small_pair: tuple[Path, Path]) -> FakeHost:
    host = FakeHost(*small_pair)
    host.measure()
    return host


def completed(host: FakeHost, line: str) -> tuple[str, ...] | None:
    found: list[Candidates] = []
    Completions(host).line(line, found.append)
    return found[0].words if found else None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("me", ("metric",)), ("metric ml", ()), ("metric ul", ("ulp",)), ("pol", ("policy",)),
        ("policy n", ("noise",)), ("show i", ("inputs",)), ("goto layers.", None),
        ("threshold mse", ("mse=",)), ("recipe cand sq", ("squeeze(",)), ("view hi", ()),
        ("by ", ("component",)), ("model ", ("reference", "candidate")), ("keep ki", ("kind",)),
        ("runner ! ru", ()),
    ],
)  # fmt: skip
def test_what_the_line_offers(host: FakeHost, line: str, words: tuple[str, ...] | None) -> None:
    if words is None:
        words = tuple(f"layers.{layer}." for layer in range(4))
    assert completed(host, line) == words


def test_files_are_looked_for_in_a_job(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "found.md").touch()
    found: list[Candidates] = []
    completions = Completions(host)
    completions.line("export /nowhere/at/all", found.append)
    completions.line(f"export {tmp_path}/fou", found.append)
    assert found == []
    host.work()
    assert [each.words for each in found] == [(f"{tmp_path}/found.md",)]


def test_what_the_footer_shows_of_many() -> None:
    assert shortened(("a/b/one", "a/b/two")) == ["one", "two"]
    assert shortened(("layers.0.", "layers.10.")) == ["0.", "10."]
    assert shortened(("a/b",)) == ["a/b"]
    assert window([5] * 10, 0, 22) == (0, 4)
    assert window([5] * 10, 9, 22) == (6, 10)
    first, last = window([5] * 10, 5, 22)
    assert first <= 5 < last and last - first == 4
    assert window([50], 0, 22) == (0, 1)
