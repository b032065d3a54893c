"""`layertui capture --parameters`: kept by default, once for all cases, and of what MAX loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from layertui.capture import open_capture
from layertui.capture.cases import Case
from layertui.capture.engines.max_capture import Job, keep_parameters
from layertui.capture.models.run_plan import Plan
from layertui.capture.weights import open_weights
from layertui.capture.weights.recorded import INDEX, recorded_digests, recorded_parameters
from layertui.cli.main import status_of
from layertui.compare.comparison import open_comparison
from support.tiny_checkpoints import IDS_TEXT, with_wrong_weight


def capture(model: Path, out: Path, *more: str) -> int:
    return status_of(
        ["capture", "torch", str(model), "-o", str(out), "--input-ids", IDS_TEXT, *more]
    )


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ([], "small"),
        (["--parameters", "none"], "none"),
        (["--parameters", "all"], "all"),
        (["--format", "pt"], "small"),
        (["--stats-only"], "small"),
    ],
)
def test_parameters_are_kept_unless_nobody_wants_them(
    llama: Path, tmp_path: Path, more: list[str], kept: str
) -> None:
    assert capture(llama, tmp_path / "c", *more) == 0
    found = recorded_parameters(open_capture(tmp_path / "c"))
    stored = open_weights(llama).parameters
    if kept == "none":
        assert found is None
        return
    assert found is not None
    wanted = {n for n, p in stored.items() if kept == "all" or len(p.locator.shape) <= 1}
    assert wanted <= found.parameters.keys()
    assert ("model.embed_tokens.weight" in found.parameters) == (kept == "all")
    assert found.config["model_type"] == "llama"


def test_a_capture_finds_its_own_model_where_it_stands(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it was called by a path from another directory."""
    wrong = with_wrong_weight(llama, tmp_path / "wrong", "model.layers.0.mlp.down_proj.weight")
    monkeypatch.chdir(llama.parent)
    assert capture(Path(llama.name), tmp_path / "a") == 0
    assert capture(wrong, tmp_path / "b") == 0
    monkeypatch.chdir(tmp_path)
    found = open_comparison(str(tmp_path / "a"), str(tmp_path / "b")).models
    assert found.reference is not None
    assert found.candidate is not None
    assert (found.reference.path, found.candidate.path) == (str(llama), str(wrong))


def test_cases_of_a_matrix_share_them(llama: Path, tmp_path: Path) -> None:
    more = ["--seq-len", "3,4"]
    assert capture(llama, tmp_path / "m", *more) == 0
    places = [tmp_path / "m" / name / INDEX for name in ("s3", "s4")]
    assert places[0].samefile(places[1])
    again = [*more, "--overwrite", "--parameters", "none"]
    assert capture(llama, tmp_path / "m", *again) == 0
    assert not any(place.exists() for place in places)


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def stage(self, text: str, folder: str = "") -> None: ...

    def layers(self, done: int, total: int) -> None: ...


def test_of_the_checkpoint_that_max_loads(llama: Path, tmp_path: Path) -> None:
    cases = (Case("a"), Case("b"))
    folders = [str(tmp_path / case.name) for case in cases]
    for folder in folders:
        Path(folder).mkdir()
    plan, watcher = Plan("model", cases), Told()
    job = Job(plan, str(tmp_path), {"model": str(llama)}, folders, [])
    keep_parameters(job, watcher)
    for name in ("c", "d"):  # any capture that is there
        capture(llama, tmp_path / name, "--parameters", "none")
    capture_ = open_capture(tmp_path / "c")
    capture_.path = folders[1]
    digests = recorded_digests(capture_)
    assert digests.keys() == open_weights(llama).parameters.keys()
    assert recorded_parameters(capture_) is not None
    assert watcher.lines == []
    gone = Job(plan, str(tmp_path), {"model": str(tmp_path / "gone")}, [str(tmp_path)], [])
    keep_parameters(gone, watcher)
    assert "parameters are not kept" in watcher.lines[0]


def test_digests_of_both_frameworks_are_of_the_same_bytes(llama: Path, tmp_path: Path) -> None:
    """What torch runs and what lies in the file: equal where the dtype is the checkpoint's."""
    assert capture(llama, tmp_path / "c") == 0
    torch_side = recorded_digests(open_capture(tmp_path / "c"))
    (tmp_path / "max").mkdir()
    plan = Plan("model", (Case(""),))
    job = Job(plan, "", {"model": str(llama)}, [str(tmp_path / "max")], [])
    keep_parameters(job, Told())
    other = open_capture(tmp_path / "c")
    other.path = str(tmp_path / "max")
    max_side = recorded_digests(other)
    common = torch_side.keys() & max_side.keys()
    assert len(common) == len(max_side)
    assert all(torch_side[name] == max_side[name] for name in common)
