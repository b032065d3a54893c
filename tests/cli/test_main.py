"""The command line itself: help, version, places, and that every error is one line."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from layertui.cli.main import status_of

CLI = [sys.executable, "-m", "layertui.cli.main"]


def run(*args: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def status(*args: str) -> int:
    return status_of(list(args))


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["compare", "--help"],
        ["--where"],
        ["check", "--help"],
        ["metrics", "--help"],
        ["thresholds", "--help"],
    ],
)
def test_answers_without_heavy_imports(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from layertui.cli.main import status_of\n"
        f"status = status_of({args!r})\n"
        "heavy = {'textual', 'numpy', 'torch', 'rich', 'transformers', 'safetensors'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), 'STATUS', status)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "HEAVY [] STATUS 0", done.stderr


def test_help_names_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    text = capsys.readouterr().out
    for word in (
        "REFERENCE CANDIDATE",
        "compare",
        "demo",
        "completion",
        "--metric",
        "check",
        "metrics",
        "thresholds",
        "--thresholds",
        "--no-tui",
    ):
        assert word in text


def test_no_arguments_shows_the_help() -> None:
    done = run()
    assert done.returncode == 2
    assert "Usage: layertui" in done.stderr


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0
    assert capsys.readouterr().out == f"layertui {version('layertui')}\n"


def test_where_follows_xdg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert status("--where") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"cache   {tmp_path / 'c' / 'layertui'}"
    assert lines[2].split()[1].startswith("/")
    assert "relative" not in lines[2]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--bogus"], "--bogus"),
        (["compare", "only-one"], "give two captures to compare"),
        (["a", "b", "c"], "unexpected extra argument"),
        (["compare", "--format", "xml", "a", "b"], "xml"),
        (["compare", "--threshold", "mse", "a", "b"], "METRIC=VALUE"),
        (["compare", "--threshold", "beauty=1", "a", "b"], "no metric 'beauty'"),
        (["compare", "--threshold", "mse=nan", "a", "b"], "not a number"),
        (["compare", "--rtol", "-1", "a", "b"], "not a number"),
        (["compare", "--raw", "10xyxf32", "a", "b"], "10x64xf32"),
        (["compare", "--raw", "10xf99", "a", "b"], "f99"),
        (["compare", "--min-coverage", "2", "a", "b"], "2"),
        (["compare", "--thresholds", "missing.json", "a", "b"], "missing.json"),
        (["thresholds"], "REF BASE"),
        (["metrics", "a", "b"], "--output"),
        (["comapre", "a", "b"], "did you mean 'compare'"),
        (["demo", "--fault", "gremlins"], "gremlins"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_usage_errors_are_one_line(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert err.startswith("layertui: ")


def test_an_unforeseen_error_is_one_line_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], private_home: Path
) -> None:
    def explode(*_: object) -> int:
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr("layertui.cli.session.open_pair", explode)
    assert status("compare", "a", "b") == 2
    err = capsys.readouterr().err
    assert err.startswith("layertui: internal error: ZeroDivisionError: oh no")
    assert "Traceback" not in err
    log = private_home / "state" / "layertui" / "crash.log"
    assert "in explode" in log.read_text()


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("layertui.cli.session.open_pair", interrupt)
    assert status("compare", "a", "b") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_directory_called_like_a_command(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compare").symlink_to(real / "llama-f32" / "torch_dump")
    monkeypatch.chdir(tmp_path)
    assert status("./compare", str(real / "llama-f32" / "max_dump"), "--no-tui") == 0
    assert "self_attn" in capsys.readouterr().out


def test_without_a_terminal_the_summary_is_printed(real: Path) -> None:
    pair = real / "llama_v3_badweights-f32"
    done = run(str(pair / "torch_dump"), str(pair / "max_dump"))
    assert done.returncode == 1
    assert "embed_tokens" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_a_closed_pipe_is_no_accident(real: Path) -> None:
    pair = real / "llama-f32"
    args = [*CLI, "compare", str(pair / "torch_dump"), str(pair / "max_dump")]
    child = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(60) == 0
    assert errors == ""


@pytest.mark.parametrize(
    ("redirect", "expected", "said"),
    [(">/dev/full", 2, "No space left"), (">&-", 2, "closed"), ("2>&-", 0, ""), ("<&-", 0, "")],
)
def test_standard_streams_may_be_full_or_closed(
    real: Path, redirect: str, expected: int, said: str
) -> None:
    pair = real / "llama-f32"
    command = [*CLI, "compare", str(pair / "torch_dump"), str(pair / "max_dump")]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirect}', "-", *command],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == expected, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_a_terminal_that_cannot_draw_is_refused(real: Path) -> None:
    pair = real / "llama-f32"
    status, text = run_in_pty("dumb", str(pair / "torch_dump"), str(pair / "max_dump"))
    assert status == 2
    assert "TERM is dumb" in text
    assert "layertui compare" in text
    assert "\x1b" not in text


def run_in_pty(term: str, *args: str) -> tuple[int, str]:
    """Run on a pseudo-terminal until the program ends: exit status and all it wrote."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [*CLI, *args], {**os.environ, "TERM": term})
    chunks = []
    with contextlib.suppress(OSError):  # Linux says EIO when the other end has closed
        while chunk := os.read(terminal, 65536):
            chunks.append(chunk)
    _, ended = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(ended), b"".join(chunks).decode()


def test_the_summary_names_the_command_that_prints_it_again(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = real / "llama-f32"
    assert status(str(pair / "torch_dump"), str(pair / "max_dump"), "--metric", "ulp") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("layertui --no-tui ") and last.endswith("max_dump --metric ulp")
