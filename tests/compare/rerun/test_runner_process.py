"""Runners that crash, hang, print rubbish or give wrong tensors: said in words, nothing is left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layertui.capture.runners.layers import RerunError
from layertui.capture.runners.spec import RunnerSpec
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Failure, Measurement
from layertui.compare.rerun.layers import rows_of
from layertui.compare.rerun.session import RerunSession
from layertui.compare.rules.rules_file import load_rules
from support.small_model import captures, runner

CLI = [sys.executable, "-m", "layertui.cli.main"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    captures(folder)
    return folder


@pytest.fixture(autouse=True)
def private_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files go where the test can count them."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


@pytest.fixture
def comparison(made: Path) -> Comparison:
    found = open_comparison(str(made / "reference"), str(made / "candidate"))
    found.measure(use_cache=False)
    return found


@pytest.fixture
def session(comparison: Comparison) -> Iterator[RerunSession]:
    with RerunSession(comparison) as found:
        yield found


def engine(made: Path, mode: str = "good", timeout: float = 20.0) -> RunnerSpec:
    return RunnerSpec("external", command=runner(made, mode), timeout=timeout)


def row_named(session: RerunSession, label: str) -> int:
    (found,) = [row.index for row in session.comparison.rows if row.label == label]
    return found


def gone(pid: int) -> bool:
    """True once there is no such process; a zombie of another parent is none any more."""
    for _ in range(1000):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def pid_of(made: Path, what: str = "pid") -> int:
    place = made / f"weights.json.{what}"
    for _ in range(2000):
        if place.exists() and place.read_text():
            return int(place.read_text())
        time.sleep(0.05)
    raise AssertionError("the runner did not start")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_wrong_layer_is_convicted_and_the_other_is_not(
    session: RerunSession, made: Path, private_temporary: Path
) -> None:
    before = contents(made / "reference"), contents(made / "candidate")
    session.choose(engine(made))
    assert session.rerun(rows_of(session.layers.all))
    up, down = row_named(session, "up-output"), row_named(session, "down-output")
    assert session.judgement(up).kind == "wrong"
    assert "wrong on its own" in session.judgement(up).sentence
    assert session.judgement(down).kind == "inherited"
    assert "only passes on an error in its inputs (inputs differ by" in (
        session.judgement(down).sentence
    )
    single = session.results[down].single
    assert isinstance(single, Measurement) and single.relative_l2 is not None
    assert single.relative_l2 < 1e-6
    whole = session.results[row_named(session, "model-output")]
    assert whole.problem == "the whole model is not run"
    assert session.wrong_rows() == [up]
    assert (contents(made / "reference"), contents(made / "candidate")) == before
    pid = pid_of(made)
    session.close()
    assert gone(pid) and not list(private_temporary.iterdir())


def test_the_output_can_be_looked_at(session: RerunSession, made: Path) -> None:
    from layertui.compare.measuring.pair_reader import PairReader

    session.choose(engine(made))
    index = row_named(session, "down-output")
    assert session.pair_task(index) is None
    session.rerun([index])
    task = session.pair_task(index)
    assert task is not None
    with PairReader(task.reference, task.candidate) as reader:
        x, y, _ = reader.window(())
    assert x is not None and y is not None and abs(x - y).max() < 1e-5


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash", r"the runner crashed \(SIGSEGV\); its last output: cannot go on"),
        ("hang", r"did not answer within 1 s"),
        ("rubbish", r"something that is not a message: 'Segmentation fault\? \?\[31mno\?\[0m'"),
        ("endless", r"an endless line"),
        ("error", r"out of cheese"),
        ("other id", r"answered 2, which was not asked"),
        ("no file", r"wrote no outputs"),
        ("truncated", r"outputs cannot be read: output|output cannot be read: truncated"),
    ],
)
def test_a_rerun_that_goes_wrong_is_said_in_words(
    mode: str, words: str, session: RerunSession, made: Path, private_temporary: Path
) -> None:
    import re

    session.choose(engine(made, mode, 1.0 if mode == "hang" else 20.0))
    index = row_named(session, "down-output")
    session.rerun([index])
    found = session.results[index]
    assert found.problem is not None and found.failed and found.single is None
    assert re.search(words, found.problem), found.problem
    assert "\n" not in found.problem
    assert session.judgement(index).kind == "unknown"
    pid = pid_of(made)
    if mode not in ("error", "no file", "truncated"):
        assert gone(pid)
    session.choose(engine(made))  # and goes on with one that works
    assert session.rerun([index]) and session.results[index].problem is None
    session.close()
    assert gone(pid) and not list(private_temporary.iterdir())


def test_nan_and_shapes_are_never_fine(session: RerunSession, made: Path) -> None:
    index = row_named(session, "down-output")
    session.choose(engine(made, "nan"))
    session.rerun([index])
    assert session.judgement(index).kind == "wrong" and "NaN" in session.judgement(index).sentence
    session.choose(engine(made, "shape"))
    session.rerun([index])
    single = session.results[index].single
    assert isinstance(single, Failure) and single.level == "shape"
    assert "[1, 2]" in session.judgement(index).sentence


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash at start", "ended with status 3; its last output: no engine today"),
        ("no hello", "did not answer within 1 s"),
        ("version", "speaks version 2 of the protocol"),
    ],
)
def test_a_runner_that_does_not_start(
    mode: str, words: str, session: RerunSession, made: Path
) -> None:
    session.choose(engine(made, mode, 1.0 if mode == "no hello" else 20.0))
    with pytest.raises(RerunError, match=words):
        session.rerun([row_named(session, "down-output")])
    assert gone(pid_of(made))


def test_a_command_that_is_none(session: RerunSession) -> None:
    session.choose(RunnerSpec("external", command="/no/such/program --fast"))
    with pytest.raises(RerunError, match="/no/such/program: cannot be started"):
        session.rerun([row_named(session, "down-output")])


def test_a_rerun_can_be_cancelled_and_the_runner_lives_on(
    session: RerunSession, made: Path
) -> None:
    told: list[str] = []
    session.choose(engine(made, "waits"))

    def stop() -> bool:
        return "compiling 1 s" in told

    index = row_named(session, "down-output")
    assert not session.rerun([index], lambda progress: told.append(progress.text), stop)
    assert index not in session.results
    assert session.hello is not None and not gone_now(pid_of(made))


def gone_now(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_hanging_runner_is_killed_when_cancelled(session: RerunSession, made: Path) -> None:
    session.choose(engine(made, "hang"))
    begun = time.monotonic()
    assert not session.rerun(
        [row_named(session, "down-output")], cancelled=lambda: time.monotonic() - begun > 0.5
    )
    assert gone(pid_of(made)) and time.monotonic() - begun < 50  # it would sleep for 60


def test_close_ends_a_rerun_that_waits(session: RerunSession, made: Path) -> None:
    session.choose(engine(made, "hang", 60.0))
    done: list[bool] = []
    index = row_named(session, "down-output")
    worker = threading.Thread(target=lambda: done.append(session.rerun([index])))
    worker.start()
    while session.hello is None:
        time.sleep(0.05)
    session.close()
    worker.join(50)
    assert not worker.is_alive() and done == [False]


def test_what_a_runner_started_ends_too(
    session: RerunSession, made: Path, private_temporary: Path
) -> None:
    session.choose(engine(made, "grandchild"))
    session.rerun([row_named(session, "down-output")])
    pid = pid_of(made, "grandchild")
    session.close()
    assert gone(pid) and not list(private_temporary.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_program_is_ended(
    how: signal.Signals, made: Path, private_temporary: Path
) -> None:
    (made / "weights.json.pid").unlink(missing_ok=True)
    command = [*CLI, "rerun", made / "reference", made / "candidate", "down", "--runner",
               runner(made, "hang")]  # fmt: skip
    child = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pid = pid_of(made)
    time.sleep(0.3)
    assert list(private_temporary.iterdir())
    child.send_signal(how)
    _, err = child.communicate(timeout=300)
    assert gone(pid)
    for _ in range(1000):
        if not list(private_temporary.iterdir()):
            break
        time.sleep(0.05)
    assert not list(private_temporary.iterdir())
    if how == signal.SIGINT:
        assert child.returncode == 130 and err.strip() == "layertui: interrupted"


def with_recipe(made: Path, where: Path, recipe: str) -> Comparison:
    """The captures with `recipe` on both sides of the second layer's input."""
    rules = where / "rules.toml"
    rules.write_text(
        f'[[recipe]]\nmatch = "down-input_0"\nreference = "{recipe}"\ncandidate = "{recipe}"\n'
    )
    sides = str(made / "reference"), str(made / "candidate")
    found = open_comparison(*sides, rules=load_rules(str(rules)))
    found.measure(use_cache=False)
    return found


def test_a_recipe_without_an_inverse_is_said(made: Path, tmp_path: Path) -> None:
    with RerunSession(with_recipe(made, tmp_path, "[:, 0:2]"), engine(made)) as session:
        index = row_named(session, "down-output")
        session.rerun([index])
        problem = session.results[index].problem
        assert problem is not None and "has no inverse: it drops elements" in problem


def test_a_layout_of_the_candidate_is_undone(made: Path, tmp_path: Path) -> None:
    """The reference as `[1, 4, 3, 4]`, the candidate's own `[1, 3, 16]`, by the inverse."""
    recipe = 'rearrange(\\"b t (h d) -> b h t d\\", h=4)'
    with RerunSession(with_recipe(made, tmp_path, recipe), engine(made)) as session:
        index = row_named(session, "down-output")
        session.rerun([index])
        assert session.results[index].problem is None and not session.wrong_rows()
        single = session.results[index].single
        assert isinstance(single, Measurement) and single.relative_l2 is not None
        assert single.relative_l2 < 1e-6


def test_results_are_remembered_without_a_runner(
    session: RerunSession, comparison: Comparison, made: Path
) -> None:
    session.choose(engine(made))
    rows = rows_of(session.layers.all)
    session.rerun(rows)
    first = {index: found.single for index, found in session.results.items()}
    with RerunSession(comparison) as later:
        assert later.needs() is None  # remembered for this capture
        found = later.recall()
        assert later.hello is None
        assert {index: later.results[index].single for index in found} == {
            index: single for index, single in first.items() if single is not None
        }
        assert later.wrong_rows() == session.wrong_rows()
        assert later.pair_task(found[0]) is None
        later.rerun(found[:1], fresh=True)
        assert later.pair_task(found[0]) is not None
    (made / "engine.py").write_text((made / "engine.py").read_text() + "\n")
    with RerunSession(comparison) as changed:
        assert changed.recall() == []  # the program is another one now


def test_needs_says_what_is_not_known(comparison: Comparison) -> None:
    with RerunSession(comparison) as session:
        question = session.needs()
        assert question is not None and question.text == "which model made this capture"
        with pytest.raises(RerunError, match="not known: which model"):
            session.rerun([0])


# --- the command


def rerun(*args: Any) -> int:
    return status_of(["rerun", *map(str, args)])


def test_the_command(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = made / "reference", made / "candidate"
    assert rerun(*sides, "up", "down", "--runner", runner(made)) == 1
    out = capsys.readouterr().out
    assert "wrong on its own: up" in out and "this layer is wrong on its own" in out
    assert "the layer itself is fine: it only passes on an error in its inputs" in out
    assert rerun(*sides, "down") == 0  # the runner is remembered
    capsys.readouterr()
    assert rerun(*sides, "--all", "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "layertui.rerun/1" and report["blamed"] == ["up"]
    rows = {row["canonical"]: row for row in report["rows"]}
    assert rows["down"]["judgement"] == "inherited" and rows["down"]["single"]["mse"] < 1e-12
    assert rows["down"]["entire"]["mse"] > 1e-6 and rows["down"]["inputs"]["mse"] > 1e-6
    assert rows["model"]["problem"] == "the whole model is not run"


def test_the_command_with_a_runner_that_crashes(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = made / "reference", made / "candidate"
    assert rerun(*sides, "down", "--runner", runner(made, "crash")) == 1
    assert "the runner crashed (SIGSEGV)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "name layers, or give --all"),
        (["upp"], "neither capture has the layer 'upp'; did you mean 'up'?"),
        (["up"], "not known which model made this capture"),
        (["up", "--runner", ""], "which command runs this engine"),
        (["up", "--runner", "a", "--factory", "b:c"], "give only one of them"),
        (["up", "--candidate-model", "/no/such/model"], "/no/such/model"),
        (["up", "--factory", "no_such_module:f"], "no_such_module"),
    ],
)
def test_usage(more: list[str], words: str, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerun(made / "reference", made / "candidate", *more) == 2
    err = capsys.readouterr().err
    assert err.startswith("layertui: ") and err.count("\n") == 1 and words in err, err


# --- what a capture may say


def test_a_capture_names_no_code_that_is_run(comparison: Comparison, tmp_path: Path) -> None:
    from layertui.compare.rerun.remembered import proposed

    capture = comparison.candidate
    capture.run = {"model": str(tmp_path), "factory": "os:getcwd"}
    with RerunSession(comparison) as session:
        assert session.spec is None and session.needs() is not None
    capture.run = {"model": str(tmp_path), "attention": "somebody/kernels", "command": "rm x"}
    told = proposed(capture)
    assert told.attention is None and told.command is None and told.kind == "torch"
    capture.run = {"model": "somebody/model", "layers": "many", "seed": [1]}
    assert proposed(capture).model is None


def test_a_broken_choice_is_not_remembered(comparison: Comparison, made: Path) -> None:
    with RerunSession(comparison) as session:
        session.choose(engine(made, "crash at start"))
        with pytest.raises(RerunError):
            session.start()
    with RerunSession(comparison) as later:
        assert later.needs() is not None


@pytest.mark.parametrize(
    "hello",
    [b"", b"[]", b"{}", b'{"type": 1}', b'{"type": "hello"}', b'{"type": "hello", "protocol": 1}',
     b'{"type": "hello", "protocol": 1, "layers": [{}]}', b"\xff\xfe", b'{"type": "outputs"}',
     b'{"type": "hello", "protocol": 1, "layers": [{"name": "a", "inputs": [1]}]}',
     b'{"type": "error", "text": "no\\nluck"}', b"[" * 100_000],
)  # fmt: skip
def test_a_hello_that_is_none_is_one_line(hello: bytes) -> None:
    from layertui.capture.runners.protocol import decode, read_hello

    with pytest.raises(RerunError) as raised:
        read_hello(decode(hello))
    assert str(raised.value) and "\n" not in str(raised.value)
