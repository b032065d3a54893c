"""The process with torch beside the threads that measure, on CPU tensors: same numbers, nothing
lost when it is, nothing left behind. None of this runs on a GPU.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from layertui.compare.comparison import Comparison
from layertui.compare.device import worker
from layertui.compare.device.process import DeviceError, LostError
from layertui.compare.device.seen import seen_by_torch
from layertui.compare.device.worker import TorchDevice, pass_of
from layertui.compare.measuring.fused import OnePass, Place
from layertui.compare.measuring.kernel import NO_KERNEL
from layertui.compare.measuring.measure import measure
from layertui.compare.measuring.pair_reader import CancelledError
from layertui.compare.measuring.sums import Sums
from layertui.compare.model import Failure, Measurement
from support.small_captures import layer_file, opened, two_sides
from support.sums.held import TOLERANCE, assert_held
from support.sums.nearly import assert_nearly

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("error")]

PARENT = """
import sys, time
from layertui.compare.device.worker import TorchDevice

device = TorchDevice("cpu")
device.start()
print(device.pid, flush=True)
time.sleep(120)
"""


@contextmanager
def started(block: int = 64) -> Iterator[TorchDevice]:
    device = TorchDevice("cpu", least=1, block=block)
    try:
        device.start()
        yield device
    finally:
        device.close()


def gone(pid: int, patience: float = 60.0) -> bool:
    """Whether a process ends within so many seconds."""
    deadline = time.monotonic() + patience
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def measured(comparison: Comparison, device: TorchDevice | None = None) -> list[Any]:
    assert comparison.measure(use_cache=False, threads=1, device=device)
    return comparison.measurements


@pytest.fixture(params=["", "1"], ids=["compiled", "numpy"])
def _arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_KERNEL, request.param)


@pytest.mark.usefixtures("_arithmetic")
def test_measurements_are_those_without(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 4)
    odd = np.load(layer_file(sides[1], 2))
    odd[3, 1], odd[7] = np.nan, np.inf
    np.save(layer_file(sides[1], 2), odd)
    want = measured(opened(sides))
    with started() as device:
        found = measured(opened(sides), device)
        assert device.passed == len(want) == 4
    assert all(isinstance(one, Measurement) for one in want)
    for one, other in zip(found, want, strict=True):
        assert_nearly(one, other)


def test_short_pairs_stay_here(tmp_path: Path) -> None:
    device = TorchDevice("cpu")
    assert all(
        isinstance(one, Measurement) for one in measured(opened(two_sides(tmp_path, 2)), device)
    )
    assert device.pid is None


def test_a_file_cut_short_is_the_failure_that_it_was(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 3)
    comparison, again = opened(sides), opened(sides)
    os.truncate(layer_file(sides[0], 1), 300)
    want = measured(comparison)
    with started() as device:
        assert measured(again, device)[1] == want[1]
        assert not device.lost
    assert isinstance(want[1], Failure)
    assert want[1].side == "reference"


def test_numbers_beyond_float64_are_measured_here(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 1)
    for side in sides:
        array = np.load(layer_file(side, 0)).astype(np.float64)
        array[40] *= 1e200
        np.save(layer_file(side, 0), array)
    task = opened(sides).task(0)
    with started() as device:
        found = measure(task, None, device)
        assert (device.passed, device.lost) == (0, "")
    assert isinstance(found, Measurement)
    assert_nearly(found, measure(task))


# What happens to the process


@dataclasses.dataclass
class Pair:
    """Two files of float32, and what a device says of them."""

    x: np.ndarray
    y: np.ndarray
    places: tuple[Place, Place]
    sums: Sums = dataclasses.field(default_factory=lambda: Sums(TOLERANCE))

    def over(self, device: TorchDevice, **options: Any) -> int:
        take = options.pop("take", self.sums.merge)
        cancelled = options.pop("cancelled", None)
        tolerances = TOLERANCE.rtol, TOLERANCE.atol
        return device.pass_over_files(*self.places, self.x.size, tolerances, take, cancelled)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(60_000).astype(np.float32)
    y = x + rng.standard_normal(x.size).astype(np.float32)
    places = []
    for name, values in (("x", x), ("y", y)):
        (tmp_path / name).write_bytes(values.tobytes())
        places.append(Place(os.open(tmp_path / name, os.O_RDONLY), 0, "float32"))
    yield Pair(x, y, (places[0], places[1]))
    for place in places:
        os.close(place.descriptor)


def test_one_killed_half_way_through_a_pair_gives_back_the_rest(pair: Pair) -> None:
    with started(block=16) as device:
        pid = device.pid
        assert pid is not None

        def kill(found: OnePass, start: int) -> None:
            pair.sums.merge(found, start)
            if start == 0:
                os.kill(pid, signal.SIGKILL)

        done = pair.over(device, take=kill)
        assert 0 < done < pair.x.size
        assert done % 16 == 0
        assert device.lost.startswith("the process that measured on cpu was ended by SIGKILL: ")
        assert pair.over(device) == 0
    assert_held(pair.sums, pair.x[:done], pair.y[:done], ("float32", "float32"))


def test_one_killed_loses_no_pair(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 3)
    want = measured(opened(sides))
    with started() as device:
        assert device.pid is not None
        os.kill(device.pid, signal.SIGKILL)
        found = measured(opened(sides), device)
        assert "SIGKILL" in device.lost
    for one, other in zip(found, want, strict=True):
        assert_nearly(one, other)


def test_one_that_gives_up_is_lost(pair: Pair) -> None:
    with started(block=1 << 40) as device:  # more than a device may be asked for
        assert pair.over(device) == 0
        assert device.lost.startswith(
            "the process that measured on cpu gave up (ValueError: a block"
        )
        assert device.lost.endswith("its pairs were measured on the CPU")


def test_cancelling_ends_it_and_another_pair_starts_one(pair: Pair) -> None:
    with started(block=16) as device:
        pid = device.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(CancelledError):
            pair.over(device, cancelled=lambda: time.monotonic() - began > 0.1)
        assert gone(pid)
        assert not device.lost
        deadline = time.monotonic() + 120
        while not pair.over(device) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert device.passed == 1
    assert_held(pair.sums, pair.x, pair.y, ("float32", "float32"))


def test_who_finds_it_at_work_does_not_wait(pair: Pair) -> None:
    seen: list[int] = []
    with started(block=1 << 20) as device:
        pair.over(device, take=lambda *_: seen.append(pair.over(device)))
        assert seen == [0]
        assert device.passed == 1


def test_ctrl_c_is_not_for_it(pair: Pair) -> None:
    with started() as device:
        assert device.pid is not None
        assert os.getsid(device.pid) == device.pid
        assert pair.over(device) == pair.x.size
        pid = device.pid
    assert gone(pid, 0)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_does_not_outlive_a_killed_parent(end: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_no_descriptors_and_threads_stay(tmp_path: Path) -> None:
    sides = two_sides(tmp_path, 2)
    measured(opened(sides))
    own = psutil.Process()
    before = own.num_fds(), threading.active_count(), len(own.children())
    with started() as device:
        measured(opened(sides), device)
    assert (own.num_fds(), threading.active_count(), len(own.children())) == before


# What there is


def test_without_a_gpu_cuda_is_refused_and_auto_does_nothing(pair: Pair) -> None:
    if not seen_by_torch().startswith("no CUDA device"):
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="--device cuda:1: torch sees no CUDA device"):
        TorchDevice("cuda:1").start()
    device = TorchDevice("auto", least=1)
    assert pair.over(device) == 0
    pid = device.pid
    assert pid is not None
    deadline = time.monotonic() + 120
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        assert pair.over(device) == 0
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
    assert device.lost == ""


def test_without_torch_it_says_what_to_install(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "has_package", lambda _: False)
    with pytest.raises(DeviceError, match="--device cuda needs the extra 'torch': pip install"):
        TorchDevice("cuda").start()
    device = TorchDevice("auto", least=1)
    assert pair.over(device) == 0
    assert (device.pid, device.lost) == (None, "")


PARTS = [[9] * 9, [9] + [0] * 7, [9] + [0] * 7, [0] * 4, [0] * 4, 0, 0, 0, True]


@pytest.mark.parametrize("answer", [{}, {"pass": []}, {"pass": PARTS}, {"pass": [[]] * 9}])
def test_answers_that_make_no_sense(answer: dict[str, Any]) -> None:
    assert pass_of({"pass": PARTS}, 9).taken == 9
    with pytest.raises(LostError, match="understood"):
        pass_of(answer, 8)
