"""What keys and commands do, without a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from layertui.tui.commands import COMMANDS, CommandError
from layertui.tui.jobs.news import Ended
from layertui.tui.list.row_model import ComparedRows
from support.screens.fake_host import FakeHost

_OF_SCREENS = {"notes", "why", "help", "quit", "heads", "view", "top", "slice", "axes", "recipe",
               "with", "keep", "by", "map", "trend", "set"}  # fmt: skip


@pytest.fixture
def host(small_pair: tuple[Path, Path]) -> FakeHost:
    """40 rows, measured; 12, 13 and 31 diverge."""
    host = FakeHost(*small_pair)
    host.measure()
    return host


def test_every_command_has_somebody_who_carries_it_out(host: FakeHost) -> None:
    assert {command.name for command in COMMANDS} == {*host.controllers.commands, *_OF_SCREENS}


def test_controllers_load_no_terminal(small_pair: tuple[Path, Path]) -> None:
    code = "import sys, layertui.tui.controllers; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Going places


def test_divergences_one_after_another(host: FakeHost) -> None:
    going = host.controllers.navigation
    rows = []
    for _ in range(3):
        going.divergence(1)
        rows.append(host.session.row)
    assert rows == [12, 13, 31]
    going.divergence(1)
    assert host.said == "no divergence below" and host.session.row == 31
    going.divergence(-1)
    assert host.session.row == 13


def test_the_first_divergence_says_why(host: FakeHost) -> None:
    host.session.inputs_differ = "DIFFERENT PROMPTS"
    host.controllers.navigation.first_divergence()
    assert host.session.row == 12
    assert host.said.startswith("DIFFERENT PROMPTS, which explains it; first divergence")


@pytest.mark.parametrize(
    ("text", "words"), [("40", "rows are 0 to 39"), ("", "goto where"), ("lm_head", "no row with")]
)
def test_places_that_are_none(host: FakeHost, text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        host.controllers.navigation.goto(text)


def test_nothing_to_go_to_before_rows_are_aligned(small_pair: tuple[Path, Path]) -> None:
    host = FakeHost(*small_pair)
    host.controllers.navigation.first_divergence()
    assert host.said == "no divergence so far, still measuring"
    with pytest.raises(CommandError, match="not aligned yet"):
        host.controllers.navigation.goto("3")


# Searching and filtering


def test_a_search_goes_round(host: FakeHost) -> None:
    search = host.controllers.search
    search.find("q_proj")
    assert host.session.row == 1
    search.match(-1)
    assert host.session.row == 31 and "wrapped around" in host.said
    assert search.step_out() and host.session.search_words == []
    assert not search.step_out()


def test_only_what_diverged_and_back(host: FakeHost) -> None:
    search = host.controllers.search
    search.only()
    assert list(host.list.shown) == [12, 13, 31]
    search.filter("k_proj")
    assert list(host.list.shown) == [12]
    host.controllers.step_out()
    assert host.said == "filter cleared" and len(host.list.shown) == 3
    host.controllers.step_out()
    assert len(host.list.shown) == 40


# Judging


def test_another_policy_judges_at_once(host: FakeHost) -> None:
    host.controllers.judging.threshold("mse=1e9 relative_l2=1e9")
    assert host.session.comparison is not None
    assert host.session.comparison.failing == []
    assert "verdicts" in host.list.calls
    assert host.session.limits.policy == "fixed"
    assert host.session.request.policy is not None


@pytest.mark.parametrize("text", ["mse", "mse=x", "mse=-1", "nonsense=1"])
def test_limits_that_cannot_be_read_change_nothing(host: FakeHost, text: str) -> None:
    before = host.session.limits
    host.controllers.judging.ask()
    host.answer(text)
    assert host.session.limits == before and host.said


def test_a_policy_that_was_refused_is_taken_back(host: FakeHost) -> None:
    host.controllers.judging.policy("dtype")
    before = host.session.limits
    host.controllers.judging.policy("noise")
    assert host.session.comparison is not None
    assert host.session.comparison.policy.name == "dtype"  # it takes its time: in the background
    host.controllers.judging.take_back()
    assert host.session.limits == before


# Marks and exports


def test_marked_rows_are_written(host: FakeHost, tmp_path: Path) -> None:
    export, out = host.controllers.export, tmp_path / "found.txt"
    for _ in range(2):
        export.mark()
    assert host.session.marks == {0, 1} and host.session.row == 2
    export.command(str(out))
    export.command(str(out))
    assert host.said == "still writing; Ctrl-C stops that"
    host.work()
    assert out.read_text().count("REPRODUCE") == 2
    assert host.said.startswith("wrote 2 rows to")
    export.command(str(out))
    host.answer("n")
    host.work()
    assert host.said == "not written"


def test_a_file_that_cannot_be_written(host: FakeHost, tmp_path: Path) -> None:
    host.controllers.export.command(str(tmp_path / "no such folder" / "out.txt"))
    host.work()
    assert "cannot be written" in host.said
    assert host.controllers.idle


def test_standard_output_is_free_at_the_end(host: FakeHost) -> None:
    host.controllers.export.command("-")
    host.work()
    assert "REPRODUCE" in host.output[0]


# Pairs and rules


def test_a_pair_taken_apart_and_put_together_again(host: FakeHost, tmp_path: Path) -> None:
    pairing, unsaved = host.controllers.pairing, host.session.unsaved
    comparison = host.session.comparison
    assert comparison is not None
    name = comparison.rows[0].label
    pairing.unpair()
    assert [pair.reference for pair in unsaved.apart] == [comparison.reference.records[0].name]
    assert comparison.rows[0].kind != "pair"
    host.list.open(ComparedRows(comparison))
    pairing.unpair()
    assert host.said == "unpaired"  # not while something measures the rows
    host.work()
    assert unsaved.empty and comparison.rows[0].label == name
    assert host.said == "pair restored"
    assert host.front.commands_done == 2
    host.controllers.saving.save()
    assert host.said.startswith("nothing to save")


def test_rules_are_written_where_the_user_says(host: FakeHost, tmp_path: Path) -> None:
    host.controllers.pairing.unpair()
    host.controllers.saving.save()
    host.answer(str(tmp_path / "rules.toml"))
    assert host.said == f"1 rules written to {tmp_path / 'rules.toml'}"
    assert host.session.unsaved.empty
    assert host.session.rules_path == str(tmp_path / "rules.toml")


# The work


def test_captures_are_read_measured_and_checked(small_pair: tuple[Path, Path]) -> None:
    host = FakeHost(*small_pair)
    host.controllers.comparing.read_again()
    assert host.controllers.comparing.working
    host.work()
    calls = [call for call in host.list.calls if call in ("listed", "aligned", "measured", "ended")]
    assert list(dict.fromkeys(calls)) == ["listed", "aligned", "measured", "ended"]
    assert host.session.checked and not host.controllers.comparing.working


def test_a_capture_that_is_none_ends_the_program(tmp_path: Path) -> None:
    host = FakeHost(tmp_path / "none", tmp_path / "none")
    host.controllers.comparing.read_again()
    host.work()
    assert "none" in host.ended


def test_news_of_a_job_that_was_replaced_is_ignored(host: FakeHost) -> None:
    host.controllers.symptoms.look()
    before = host.controllers.symptoms.job
    assert before is not None
    host.controllers.comparing.measure_again()
    assert host.controllers.symptoms.job is None and before.stopped()
    before.deliver(Ended(False))
    assert host.said == ""


def test_stopping_what_was_asked_for_last(host: FakeHost) -> None:
    host.controllers.comparing.measure_again()
    host.controllers.export.command("-")
    assert host.controllers.stop()
    assert host.controllers.export.job is not None and host.controllers.export.job.stopped()
    assert host.controllers.comparing.job is not None
    assert not host.controllers.comparing.job.stopped()
    assert host.controllers.stop() and not host.controllers.stop()
