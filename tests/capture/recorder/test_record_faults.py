"""Everything that can go wrong while a model is recorded, and what is left then."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from layertui.capture import Capture, CaptureError, open_capture, record
from layertui.capture.load import load
from support.tiny_models import assert_holds, by_key, ids, make, plain_hooks, raw_bytes

LOOP = """
    import sys, time, torch
    from layertui.capture import record
    torch.set_num_threads(1)
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    with torch.no_grad(), record(model, sys.argv[1], shard_seconds=0.2):
        for step in range(100_000):
            model(torch.randn(8, 64))
            print(step, flush=True)
            time.sleep(0.002)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_shards(folder: Path, number: int) -> None:
    until = time.monotonic() + 300
    while len(list(folder.glob("data-*.safetensors"))) < number:
        assert time.monotonic() < until
        time.sleep(0.01)


def assert_all_readable(capture: Capture) -> None:
    assert capture.records
    for found in capture.records:
        assert found.error is None, found.error
        assert found.locator is not None
        load(found.locator).sum()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    with start(LOOP, tmp_path / "c") as process:
        wait_for_shards(tmp_path / "c", 3)
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last > 300:
                break
        process.send_signal(signal.SIGKILL)
    capture = open_capture(tmp_path / "c")
    assert capture.complete is False
    assert any("incomplete" in note for note in capture.notes)
    assert_all_readable(capture)
    # Steps take over 2 ms, a shard is closed after 0.2 s: no more than a second's are lost.
    assert max(r.step for r in capture.records) > last - 500
    with record(nn.Linear(1, 1), tmp_path / "c", overwrite=True) as _:
        pass
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["manifest.jsonl"]


@pytest.mark.parametrize("moment", range(10))
def test_killed_soon_after_its_directory_is_there(tmp_path: Path, moment: int) -> None:
    """Counted in shards of a fifth of a second, and by the step that the run has come to."""
    folder = tmp_path / "c"
    with start(LOOP, folder) as process:
        until = time.monotonic() + 300
        while not folder.exists():
            assert time.monotonic() < until
            time.sleep(0.001)
        if moment > 2:
            wait_for_shards(folder, moment // 3)
        time.sleep(0.01 * moment)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        steps = process.stdout.read().split()
    try:
        capture = open_capture(folder)
    except CaptureError as error:
        assert not list(folder.glob("data-*.safetensors"))
        words = ("had not written any tensor yet", "ended before it began", "empty directory")
        assert any(word in str(error) for word in words), error
        return
    assert capture.complete is False
    assert any("incomplete" in note for note in capture.notes)
    assert_all_readable(capture)
    assert max(r.step for r in capture.records) > int(steps[-1]) - 1000  # of 2 ms at least


def test_interrupted_by_ctrl_c(tmp_path: Path) -> None:
    with start(LOOP, tmp_path / "c") as process:
        wait_for_shards(tmp_path / "c", 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    capture = open_capture(tmp_path / "c")
    assert_all_readable(capture)
    assert capture.complete is False
    assert any("KeyboardInterrupt" in note for note in capture.notes)


class Breaks(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.fine = nn.Linear(2, 2)
        self.bad = nn.Identity()
        self.bad.forward = self.fail  # type: ignore[method-assign]
        self.error = error

    def fail(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error

    def forward(self, x: torch.Tensor, catch: bool = False) -> torch.Tensor:
        x = self.fine(x)
        try:
            return self.bad(x)
        except ValueError:
            if not catch:
                raise
        return self.fine(x)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_a_model_that_raises(error: BaseException, tmp_path: Path) -> None:
    model = Breaks(error)
    with pytest.raises(type(error)) as caught, record(model, tmp_path / "c"):
        model(torch.ones(1, 2))
    assert caught.value is error
    assert error.__context__ is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    capture = open_capture(tmp_path / "c")
    assert capture.complete is False
    assert any(type(error).__name__ in note for note in capture.notes)
    assert_all_readable(capture)
    assert {r.name for r in capture.records} == {
        "-input_0", "fine-input_0", "fine-output", "bad-input_0",
    }  # fmt: skip


def test_an_exception_that_the_model_handles(tmp_path: Path) -> None:
    model = Breaks(ValueError("mine"))
    with torch.no_grad(), record(model, tmp_path / "c"):
        try:
            raise OSError
        except OSError:  # the user handles something else meanwhile
            model(torch.ones(1, 2), catch=True)
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    calls = [json.loads(line)["call"] for line in (tmp_path / "c/manifest.jsonl").open()
             if line.startswith('{"call"')]  # fmt: skip
    assert [(call["module"], call["n"], call["parent"]) for call in calls] == [
        ("fine", 1, 1), ("fine", 2, 1), ("", 1, None),
    ]  # fmt: skip


FULL = """
    import sys, resource, torch
    from layertui.capture import CaptureError, record
    path, limit, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(8)))
    x, done = torch.randn(64, 64), 0
    try:
        with torch.no_grad(), record(model, path, shard_bytes=100_000, format=form):
            for _ in range(30):
                y = model(x + done)
                done += 1
    except CaptureError as error:
        print(done, error)
"""


@pytest.mark.parametrize("form", ["native", "pt"])
def test_a_file_too_large_for_the_system(form: str, tmp_path: Path) -> None:
    limit = 120_000 if form == "native" else 10_000
    with start(FULL, tmp_path / "c", limit, form) as process:
        said, errors = process.communicate(timeout=300)
    assert errors == ""
    assert said.startswith("30 ")  # the model's run was not broken
    assert said.count("\n") == 1
    assert "the capture holds what came before" in said
    if form == "native":
        capture = open_capture(tmp_path / "c")
        assert capture.complete is False
        assert_all_readable(capture)


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with start(FULL, disk / "c", 0, "native") as process:
            said, errors = process.communicate(timeout=300)
        assert errors == ""
        assert said.startswith("30 ")
        assert "No space left on device" in said
        capture = open_capture(disk / "c")
        assert capture.complete is False
        assert_all_readable(capture)
        assert not list((disk / "c").glob(".*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_and_a_model_that_raises(tmp_path: Path) -> None:
    """The model's exception arrives; the disk's is a warning."""
    model = Breaks(ValueError("mine"))
    with (
        warnings.catch_warnings(record=True) as said,
        pytest.raises(ValueError, match="mine"),
        record(model, tmp_path / "c") as recorder,
    ):
        warnings.simplefilter("always")
        (tmp_path / "c" / ".data-00001.safetensors.layertui-partial").mkdir()
        recorder.add("x", torch.ones(2))
        model(torch.ones(1, 2))
    assert any("recording stopped after 0 records" in str(w.message) for w in said)


def test_two_recordings_of_one_model(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with torch.no_grad(), plain_hooks(model) as seen:
        model(**inputs)
    with torch.no_grad(), record(model, tmp_path / "a"):
        with record(model, tmp_path / "b", level="op", include="*self_attn"):
            bare = model(**inputs).logits
        model(**inputs)
    assert torch.equal(bare, seen[0, "lm_head", 1, "output"])
    a, b = by_key(tmp_path / "a"), by_key(tmp_path / "b")
    for key, tensor in seen.items():
        assert_holds(a[key], tensor)
        assert_holds(a[(1, *key[1:])], tensor)
        if key[1].endswith("self_attn"):
            assert_holds(b[key], tensor)
    assert open_capture(tmp_path / "a").complete is True
    assert open_capture(tmp_path / "b").complete is True
    assert torch._C._len_torch_dispatch_stack() == 0


def test_one_directory_for_two_recordings(tmp_path: Path) -> None:
    with record(None, tmp_path / "c") as recorder:
        recorder.add("x", [1.0])
        for overwrite in (False, True):
            with pytest.raises(CaptureError), record(None, tmp_path / "c", overwrite=overwrite):
                raise AssertionError("entered")
    assert open_capture(tmp_path / "c").complete is True


def test_a_directory_that_is_not_empty(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    model = nn.Linear(1, 1)
    with record(model, folder, format="pt"):
        model(torch.ones(1))
    with record(None, folder / "sub") as recorder:
        recorder.add("x", [1.0])
    (folder / "notes.txt").write_text("mine")
    (folder / "0" / "model.mine-output.pt").write_text("mine too")
    with pytest.raises(CaptureError, match="not empty") as caught:
        record(model, folder).__enter__()
    assert "\n" not in str(caught.value)
    with pytest.raises(CaptureError, match="was not written by a capture"):
        record(model, folder, overwrite=True).__enter__()
    (folder / "0" / "model.mine-output.pt").unlink()
    (folder / "0").rmdir()
    with record(model, folder, overwrite=True):
        model(torch.ones(1))
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["data-00001.safetensors", "manifest.jsonl", "notes.txt", "sub"]
    assert sorted(path.name for path in (folder / "sub").iterdir()) == [
        "data-00001.safetensors", "manifest.jsonl",
    ]  # fmt: skip


def test_a_shard_of_somebody_else_is_not_deleted(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    theirs = tmp_path / "data-00001.safetensors"
    save_file({"x": torch.ones(1)}, theirs)
    before = theirs.read_bytes()
    with pytest.raises(CaptureError, match=r"data-00001.safetensors was not written"):
        record(None, tmp_path, overwrite=True).__enter__()
    assert theirs.read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match="not a directory"):
        record(None, tmp_path / "file").__enter__()


def test_links_in_the_directory_are_not_followed(tmp_path: Path) -> None:
    with record(None, tmp_path / "other") as recorder:
        recorder.add("x", [1.0])
    folder = tmp_path / "c"
    folder.mkdir()
    for name in ("manifest.jsonl", "data-00001.safetensors"):
        (folder / name).symlink_to(tmp_path / "other" / name)
    with pytest.raises(CaptureError, match="was not written"):
        record(None, folder, overwrite=True).__enter__()
    assert len(open_capture(tmp_path / "other").records) == 1


def resident() -> int:
    """Bytes in memory, without what the allocator keeps of the model's own tensors."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def tensors_alive() -> int:
    """By type: `isinstance` asks proxies of objects that are gone, and lazy modules to load."""
    return sum(1 for o in gc.get_objects() if issubclass(type(o), torch.Tensor))


def test_memory_comes_back(tmp_path: Path) -> None:
    """Of the recording: buffers, threads, hooks; tensors of the model are not held."""
    model, x = nn.Sequential(*(nn.ReLU() for _ in range(8))), torch.rand(4, 1 << 20)
    with record(model, tmp_path / "warm"):
        for step in range(4):
            model((x - step)[:, :10])
    for step in range(4):
        model(x - step)
    tensors = tensors_alive()
    before = resident()
    threads = threading.active_count()
    with record(model, tmp_path / "c", buffer_bytes=64 << 20):
        for step in range(8):
            model(x - step)
        during = psutil.Process().memory_info().rss
    # Eight steps of nine tensors of 16 MB would be 1.1 GB; the allocator keeps up to 200 MB beside.
    assert during - before < 400 << 20
    assert resident() - before < 32 << 20
    assert tensors_alive() <= tensors
    assert threading.active_count() == threads
    assert not any(m.__dict__["_forward_hooks"] for m in model.modules())


def test_a_tensor_larger_than_all_bounds(tmp_path: Path) -> None:
    with record(None, tmp_path / "c", shard_bytes=1000, buffer_bytes=2000) as recorder:
        for index, size in enumerate((10, 5000, 20, 700, 3, 900, 0)):
            recorder.add(f"t{index}", torch.arange(size))
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    assert [r.shape for r in capture.records] == [(n,) for n in (10, 5000, 20, 700, 3, 900, 0)]
    assert [os.path.basename(r.path) for r in capture.records[:3]] == [
        "data-00001.safetensors", "data-00002.safetensors", "data-00003.safetensors",
    ]  # fmt: skip
    assert_all_readable(capture)


def test_models_in_several_threads(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def work(number: int) -> None:
        with torch.no_grad():
            for _ in range(20):
                model(torch.full((1, 4), float(number)))

    with record(model, tmp_path / "c"):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    assert len(capture.records) == 4 * 20 * 6
    assert_all_readable(capture)


def test_the_recorder_failing_does_not_break_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = make("gpt2")
    bare = model(**inputs).logits

    class Strange:
        @property
        def layers(self) -> list[int]:
            raise RuntimeError("strange argument")

    class Takes(nn.Module):
        def forward(self, x: torch.Tensor, other: object) -> torch.Tensor:
            return x + 1

    takes = Takes()
    with pytest.raises(CaptureError, match="strange argument"), record(takes, tmp_path / "c"):
        assert takes(torch.ones(1), Strange()).item() == 2
    assert open_capture(tmp_path / "c").complete is False
    assert raw_bytes(model(**inputs).logits) == raw_bytes(bare)


def test_a_fork_does_not_record(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    with record(model, tmp_path / "c") as recorder:
        model(torch.ones(1, 2))
        child = os.fork()
        if child == 0:
            model(torch.zeros(1, 2))
            recorder.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert {r.step for r in open_capture(tmp_path / "c").records} == {0}


def test_generation_stopped_in_the_middle_keeps_its_steps(tmp_path: Path) -> None:
    model, _ = make("llama")

    class StopError(Exception):
        pass

    class Criteria:
        def __call__(self, tokens: torch.Tensor, scores: object, **kwargs: object) -> object:
            if tokens.shape[1] > 8:
                raise StopError
            return torch.zeros(1, dtype=torch.bool)

    with pytest.raises(StopError), record(model, tmp_path / "c"):
        model.generate(ids(), max_new_tokens=9, do_sample=False, stopping_criteria=[Criteria()])
    assert {r.step for r in open_capture(tmp_path / "c").records} == {0, 1, 2}
