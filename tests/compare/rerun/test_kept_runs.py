"""A second verification of the same: taken from the first, and nothing that is out of date."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from layertui.capture.cases import Case
from layertui.capture.models import made_of
from layertui.capture.models.made_of import run_identity
from layertui.capture.models.run_plan import Plan
from layertui.capture.runners.process import RunnerProcess
from layertui.cli.main import status_of
from layertui.compare.rerun import kept
from layertui.compare.rerun.kept import KeptRuns
from layertui.compare.rerun.verification import open_export
from support.tiny_checkpoints import IDS_TEXT, with_wrong_weight, write_llama

WRONG = "layers.1.self_attn.o_proj"
OTHER = "layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("models")
    good = write_llama(place / "good")
    return good, with_wrong_weight(good, place / "bad", f"model.{WRONG}.weight")


@pytest.fixture(scope="module")
def first(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the export of a first verification, and the cache that it left."""
    place = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.chdir(place)
        assert verify(*sides(models)) == 1
    shutil.move(place / "export", place / "cold")
    return place


@pytest.fixture
def place(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own, with a copy of that cache."""
    shutil.copytree(first / "cache", tmp_path / "cache")
    shutil.copytree(first / "cold", tmp_path / "cold")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify(*args: Any) -> int:
    return status_of(["verify", *map(str, args)])


def sides(models: tuple[Path, Path], *more: Any, ids: str = IDS_TEXT) -> list[Any]:
    good, bad = models
    return [good, "--candidate", "torch", "--candidate-model", bad, "--input-ids", ids,
            "--save-layers", "-o", "export", *more]  # fmt: skip


def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        pytest.fail("something was run")

    monkeypatch.setattr("layertui.capture.engines.torch_capture.capture_torch", refused)
    monkeypatch.setattr(RunnerProcess, "start", refused)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


def reused(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a run said that it did not run again."""
    lines = capsys.readouterr().out.splitlines()
    return [line.split(", made")[0] for line in lines if line.startswith("reused ")]


REFERENCE = CANDIDATE = "reused     the capture in PyTorch"


def test_the_same_again_runs_nothing_and_writes_the_same(
    models: tuple[Path, Path], place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    nothing_runs(monkeypatch)
    assert verify(*sides(models)) == 1
    out = capsys.readouterr().out
    assert out.count("\nnote       reused is what was made of the same model, input, options") == 1
    assert "--no-cache runs everything again" in out
    said = [line.partition(", made 20")[0] for line in out.splitlines() if "reused  " in line]
    count = said[2].split()[1]
    assert said == [
        REFERENCE,
        CANDIDATE,
        f"reused     {count} of {count} layers with injected inputs",
    ]
    assert int(count) > 20
    assert files(place / "export") == files(place / "cold")


def test_asked_afresh_everything_runs_again(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(*sides(models, "--no-cache")) == 1
    out = capsys.readouterr().out
    assert out.count("\ncaptured ") == 2 and "reused" not in out


def test_a_weight_changed_in_place_is_seen(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the size and the time of change that the file had before."""
    good, bad = models
    copy = place / "copy"
    shutil.copytree(bad, copy)
    again = sides((good, copy))
    assert verify(*again) == 1
    assert reused(capsys) == [REFERENCE]  # another directory is another model
    weights = copy / "model.safetensors"
    before, content = weights.stat(), bytearray(weights.read_bytes())
    repaired = (good / "model.safetensors").read_bytes()
    assert len(repaired) == len(content) and repaired != content
    with open(weights, "r+b") as file:
        file.write(repaired)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_mtime_ns == before.st_mtime_ns
    assert verify(*again, "--overwrite") == 0
    assert reused(capsys) == [REFERENCE]
    assert open_export("export").wrong_layers == ()


def test_another_mode_is_another_run(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers of the first step are given what they were given before."""
    assert verify(*sides(models, "--mode", "generate", "--max-new-tokens", 2)) == 1
    (said,) = reused(capsys)
    assert re.fullmatch(r"reused     2\d of 6\d layers with injected inputs", said)
    assert {row.step for row in open_export("export").rows if row.judgement == "wrong"} == {0, 1}


def test_another_input_is_another_run(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a prompt is one, whose ids need not be made again."""
    assert verify(*sides(models, ids="3,40,41")) == 1
    assert reused(capsys) == []
    good, bad = models
    options = ["--candidate", "torch", "--candidate-model", bad, "--prompt", "hello"]
    assert verify(good, *options, "-o", "prompt") == 1
    assert reused(capsys) == []
    assert verify(good, *options, "-o", "prompt", "--overwrite") == 1
    assert len(reused(capsys)) == 3


def test_what_was_kept_and_is_damaged_is_run_again(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = 0
    for path in (place / "cache" / "layertui" / "runs").rglob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        damaged += 1
    assert damaged
    assert verify(*sides(models)) == 1
    assert reused(capsys) == []
    cold, warm = (files(place / name) for name in ("cold", "export"))
    assert warm.keys() == cold.keys()
    name = next(name for name in cold if name.endswith(".safetensors"))
    assert warm[name] == cold[name]


def test_one_answer_that_is_missing_is_asked_for(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = place / "cache" / "layertui" / "runs"
    (answers,) = [path.parent.parent for path in runs.rglob("answers.json")]
    folder = place / "answers"
    assert KeptRuns().take(answers.name, folder) is not None
    known = json.loads((folder / "answers.json").read_text())
    known.pop(next(iter(known)))
    (folder / "answers.json").write_text(json.dumps(known))
    KeptRuns().keep(answers.name, folder)
    assert verify(*sides(models)) == 1
    assert reused(capsys)[2].endswith(
        f" {len(known)} of {len(known) + 1} layers with injected inputs"
    )
    assert files(place / "export") == files(place / "cold")
    assert verify(*sides(models, "--overwrite")) == 1
    count = len(known) + 1
    assert f" {count} of {count} layers" in reused(capsys)[2]


def test_an_edited_export_does_not_reach_what_is_kept(
    models: tuple[Path, Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_runs(monkeypatch)
    assert verify(*sides(models)) == 1
    for path in (place / "export").rglob("*.safetensors"):
        with open(path, "r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\0\0\xc0\x7f")
    shutil.rmtree(place / "export")
    assert verify(*sides(models)) == 1
    assert files(place / "export") == files(place / "cold")


def test_captures_of_another_engine_are_never_kept(
    models: tuple[Path, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command may load anything: what its layers give is asked for each time."""
    from layertui.capture.runners.spec import RunnerSpec
    from layertui.cli.commands.verify_cache import RunCache

    engine = place / "engine.py"
    engine.write_text("")
    spec = RunnerSpec("external", model=str(models[0]), command=f"python {engine}")
    assert RunCache(use=True).answers(spec, place / "answers") is None


# --- what a run is made of


def plan_of(model: Path, **more: Any) -> Plan:
    return Plan(str(model), (Case(ids=((1, 2, 3),)),), **more)


def test_what_a_run_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, code = tmp_path / "model", tmp_path / "code" / "someengine"
    model.mkdir()
    code.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (code / "__init__.py").write_text("a = 1\n")
    (code / "norm.py").write_text("eps = 1e-5\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setitem(made_of.PACKAGES, "torch", ("someengine",))
    plan = plan_of(model)
    known = run_identity(plan, "torch")
    assert known is not None and run_identity(plan, "torch") == known
    assert run_identity(plan_of(model, overwrite=True), "torch") == known
    changes: list[dict[str, Any]] = [
        {"dtype": "bfloat16"}, {"parameters": "none"}, {"layers": 1}, {"seed": 7},
        {"mode": "generate"}, {"new_tokens": 2}, {"attention": "eager"}, {"device": "cpu"},
    ]  # fmt: skip
    others = [plan_of(model, **change) for change in changes]
    others += [Plan(str(model), (case,)) for case in (Case(ids=((1, 2, 4),)), Case(prompt="a"))]
    identities = [run_identity(other, "torch") for other in others]
    assert len({known, *identities}) == 1 + len(others)
    (code / "__pycache__").mkdir(exist_ok=True)
    (code / "__pycache__" / "norm.pyc").write_text("x")
    assert run_identity(plan, "torch") == known
    (code / "norm.py").write_text("eps = 1e-6\n")  # the version of the package is the same
    edited = run_identity(plan, "torch")
    assert edited not in (None, known)
    (model / "tokenizer.json").write_text("{}")
    assert run_identity(plan, "torch") not in (None, known, edited)


def test_what_cannot_be_known_is_not_kept(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert run_identity(plan_of(model), "torch") is None  # of the hub
    model.mkdir()
    assert run_identity(plan_of(model), "torch") is None  # no file tells what it is
    (model / "config.json").write_text("{}")
    assert run_identity(plan_of(model), "torch") is not None
    assert run_identity(plan_of(model, factory="package:make"), "torch") is None
    (tmp_path / "elsewhere").mkdir()
    (model / "more").symlink_to(tmp_path / "elsewhere")
    assert run_identity(plan_of(model), "torch") is None


# --- what is kept


def test_only_so_much_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 1000)
    monkeypatch.setattr(kept, "MOST_ALL", 3500)
    store = KeptRuns(tmp_path / "runs")
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "a").write_bytes(b"x" * 900)
    for number in range(3):
        store.keep(str(number), source)
        os.utime(tmp_path / "runs" / str(number) / "kept.json", (number, number))
    assert store.take("0", tmp_path / "taken") is not None  # asked for: 1 is the oldest now
    assert files(tmp_path / "taken") == files(source)
    store.keep("3", source)
    assert [store.has(str(number)) for number in range(4)] == [True, False, True, True]
    (source / "b").write_bytes(b"x" * 200)
    store.keep("large", source)
    assert not store.has("large")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"0", "2", "3"}


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"x")
    store = KeptRuns(tmp_path / "file")
    store.keep("a", source)
    assert not store.has("a") and store.take("a", tmp_path / "taken") is None
    assert not (tmp_path / "taken").exists()
