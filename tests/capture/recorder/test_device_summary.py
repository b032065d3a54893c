"""Statistics and sketches worked out where a tensor is: the host's numbers, and no value lost.

The operations are those of an accelerator; they run on tensors of the CPU, and on a GPU if any.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layertui.capture import CaptureError, open_capture, record
from layertui.capture.projections import BLOCK, drawn, read_summary
from layertui.capture.recorder.sinks import held, stats
from layertui.capture.recorder.sinks.device_summary import (
    Draws,
    Summary,
    summarise,
    summary_bytes,
)
from layertui.capture.recorder.sinks.held import Allowance, DeviceSummaries
from layertui.capture.recorder.sinks.pool import Pool
from layertui.capture.recorder.sinks.sketch import position_sensitive
from layertui.capture.recorder.sinks.snapshot import copy_to_host, to_host
from layertui.compare.comparison import open_comparison
from support.recording.devices import on_the_device
from support.tiny_models import assert_holds, by_key, make

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DTYPES = [
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
    *([torch.float8_e8m0fnu] if hasattr(torch, "float8_e8m0fnu") else []),  # from torch 2.7 on
]  # fmt: skip
SHAPES = [
    (), (1,), (0,), (0, 3), (5,), (33,), (3, 40), (2, 5, 64), (1, 7, 100), (96, 33), (64, 64),
    (2, 3, 4, 5), (BLOCK + 77,), (3, BLOCK // 2), (stats.BLOCK + 13,),
]  # fmt: skip
DRAWS = Draws()
ROUNDING = 2.0**-42  # of the sum of all magnitudes: float64 sums in another order


def there(tensor: torch.Tensor) -> dict[str, Any]:
    numbers, event = to_host(summarise(tensor, DRAWS))
    assert numbers.numel() * 8 == summary_bytes(tuple(tensor.shape))
    return Summary(tuple(tensor.shape), numbers, event).described()


def on_the_host(tensor: torch.Tensor) -> dict[str, Any]:
    taken = copy_to_host(tensor.cpu(), Pool(0))
    return {**stats.statistics(taken.tensor()), **position_sensitive(taken)}


def assert_alike(found: dict[str, Any], expected: dict[str, Any], tensor: torch.Tensor) -> None:
    wide = tensor.double().cpu().numpy()
    sizes = np.abs(wide[np.isfinite(wide)])
    total = float(sizes.sum())
    assert found.keys() == expected.keys() - {"hash"}
    for name in ("min", "max", "nan", "inf", "zeros", "count"):
        assert found[name] == expected[name], name
        assert type(found[name]) is type(expected[name])
    for name in ("mean", "std", "l2"):
        if expected[name] is None:
            assert found[name] is None
        else:
            near = pytest.approx(expected[name], rel=1e-10, abs=1e-7 * ROUNDING * total)
            assert found[name] == near, name
    ours, theirs = read_summary(found["sketch"]), read_summary(expected["sketch"])
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        for one, other in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
            np.testing.assert_allclose(one, other, rtol=2.0**-23, atol=ROUNDING * total)


def laid_out(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """Of the same dtype, with elements that do not stand one behind the other."""
    if layout == "transposed" and tensor.dim() > 1:
        return tensor.transpose(0, -1)
    if layout == "every other" and tensor.dim():
        return tensor[..., ::2]
    if layout == "expanded":
        return tensor[None].expand(3, *tensor.shape)
    return tensor


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6), dtype=st.sampled_from(DTYPES), shape=st.sampled_from(SHAPES),
    layout=st.sampled_from(["plain", "transposed", "every other", "expanded"]),
    odd=st.sampled_from([0.0, 0.1, 1.0]), exponent=st.sampled_from([-300, -40, 0, 3, 30, 160]),
)  # fmt: skip
def test_the_numbers_are_those_of_the_host(
    device: str, seed: int, dtype: torch.dtype, shape: tuple[int, ...], layout: str, odd: float,
    exponent: int,
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0**exponent
    x[torch.rand(shape, generator=generator) < 0.1] = 0.0
    where = torch.rand(shape, generator=generator) < odd
    kinds = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
    x[where] = kinds[torch.randint(0, 3, (int(where.sum()),), generator=generator)]
    tensor = laid_out(x.to(dtype).to(device), layout)
    assert_alike(there(tensor), on_the_host(tensor), tensor)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES[4:], ids=str)
def test_every_code_of_8_bits(device: str, dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype).to(device)
    assert_alike(there(codes), on_the_host(codes), codes)


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_beyond_float64(device: str) -> None:
    """Sums and squares overflow: what cannot be told is None, and the sketch is not read."""
    huge = torch.full((3000,), 1e308, dtype=torch.float64, device=device)
    found = there(huge)
    assert (found["max"], found["mean"], found["l2"]) == (1e308, None, None)
    assert_alike(found, on_the_host(huge), huge)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("number", [0, 1, 15, 16, 40_000])
def test_places_are_drawn_alike(device: str, number: int) -> None:
    found = Draws().of(number, torch.device(device)).cpu().numpy()
    np.testing.assert_array_equal(found, drawn(number))


def test_nothing_is_waited_for() -> None:
    """Tensors without values have none to look at: no operation asks what came out of another."""
    for shape in ((), (0, 3), (33, 40), (2, stats.BLOCK)):
        found = summarise(torch.empty(shape, dtype=torch.bfloat16, device="meta"), Draws())
        assert found.device.type == "meta"
        assert found.numel() * 8 == summary_bytes(shape)


def test_a_large_tensor_has_no_sums_along_axes() -> None:
    x = torch.randn(5, 1 << 20, generator=torch.Generator().manual_seed(1))
    found = there(x)
    assert found["sketch"]["axes"] == []
    assert_alike(found, on_the_host(x), x)


class Mixed(nn.Module):
    """Numbers of all kinds pass through it."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(nn.Identity() for _ in range(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small, pairs = x.to(torch.float8_e4m3fn), torch.complex(x, -x)
        for kind, value in zip(
            self.kinds,
            (x, x.bfloat16().T, x.double()[::2], small, (x * 100).int(), x > 0, pairs, x.sum()),
            strict=True,
        ):
            kind(value)
        return x


@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_capture_says_the_same_of_every_kind(tmp_path: Path, grad: Any) -> None:
    x = torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    x[3, 4], x[5, 6] = math.nan, math.inf
    model = Mixed()
    for name in ("host", "device"):
        path = tmp_path / name
        with on_the_device(name == "device"), grad(), record(model, path, stats_only=True):
            model(x)
    expected, found = by_key(tmp_path / "host"), by_key(tmp_path / "device")
    assert found.keys() == expected.keys()
    for key, other in expected.items():
        one = found[key]
        assert (one.shape, one.dtype, one.error) == (other.shape, other.dtype, None)
        assert one.stats is not None and other.stats is not None
        of_host = one.dtype in ("int32", "bool", "complex64")
        assert ("hash" in one.stats) == of_host, key
        if of_host:
            assert one.stats == other.stats
        else:
            differing = {k for k in one.stats if k != "sketch" and one.stats[k] != other.stats[k]}
            assert differing <= {"mean", "std", "l2"}


def test_nothing_is_worse_judged_for_want_of_a_hash(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with torch.no_grad():
        for name in ("one", "two"):
            with on_the_device(), record(model, tmp_path / name, stats_only=True):
                model(**inputs)
        with record(model, tmp_path / "values"):
            model(**inputs)
    for sides in (("one", "two"), ("values", "one"), ("one", "values")):
        comparison = open_comparison(*(str(tmp_path / side) for side in sides))
        assert comparison.measure(use_cache=False)
        assert comparison.exit_status() == 0
        levels = {comparison.verdicts[row.index].level for row in comparison.rows}
        assert levels <= {"identical", "ok"}


def test_whole_numbers_are_told_apart_by_their_hash(tmp_path: Path) -> None:
    ids = torch.arange(100_000)
    other = ids.clone()
    other[70_000] += 1  # in the 12th digit of the norm
    for name, value in (("one", ids), ("two", other)):
        with on_the_device(), record(None, tmp_path / name, stats_only=True) as recorder:
            recorder.add("ids", value)
    comparison = open_comparison(str(tmp_path / "one"), str(tmp_path / "two"))
    assert comparison.measure(use_cache=False)
    assert comparison.exit_status() == 1


class Changing(nn.Module):
    """Every module's output is changed in place as soon as it was recorded."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Identity() for _ in range(6))
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x.clone() * self.factor)
            self.seen.append(x.clone())
            x.add_(1.0)
        return x

    seen: list[torch.Tensor]


class Noted(Allowance):
    """The one that was made last."""

    last: Allowance

    def __init__(self, most: int) -> None:
        super().__init__(most)
        Noted.last = self


@pytest.fixture(autouse=True)
def noted_allowances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "Allowance", Noted)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No summary arrives before it is set."""
    opened = threading.Event()
    wait = Summary.wait

    def later(summary: Summary) -> None:
        assert opened.wait(60)
        wait(summary)

    monkeypatch.setattr(Summary, "wait", later)
    yield opened
    opened.set()


@pytest.mark.parametrize("room", [0, 3, 100])
def test_values_are_those_of_the_call(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Their summaries arrive after the run; some tensors at most are held on the device."""
    x = torch.randn(30, 40, generator=torch.Generator().manual_seed(1))
    reference, model = Changing(1.0), Changing(1.1)
    reference.seen, model.seen = [], []
    with record(reference, tmp_path / "reference", inputs=False):
        reference(x)
    monkeypatch.setattr(held, "MOST_HELD", room * x.numel() * 4)
    recorder = record(
        model, tmp_path / "other", inputs=False, dump_on_mismatch=tmp_path / "reference"
    )
    with on_the_device(), recorder:
        model(x)
        assert Noted.last.left == max(0, room - 7) * x.numel() * 4
        gate.set()
    records = by_key(tmp_path / "other")
    for number, seen in enumerate(model.seen):
        assert_holds(records[0, f"layers.{number}", 1, "output"], seen)
    assert Noted.last.left == room * x.numel() * 4


@pytest.mark.parametrize("kind", ["stats_only", "dump_on_mismatch"])
def test_what_waits_is_bounded_and_given_back(tmp_path: Path, kind: str) -> None:
    """There is room for two records; with any of their bytes counted for good it would fill up."""
    x = torch.randn(10, 40, generator=torch.Generator().manual_seed(1))
    with record(None, tmp_path / "reference", stats_only=True) as recorder:
        for number in range(100):
            recorder.add(f"x{number}", x * number)
    options: Any = {kind: True if kind == "stats_only" else tmp_path / "reference"}

    def run() -> None:
        room = 2 * (x.numel() * 4 + summary_bytes(tuple(x.shape)))
        recorder = record(None, tmp_path / "other", buffer_bytes=room, **options)
        with on_the_device(), recorder:
            for number in range(100):
                recorder.add(f"x{number}", x * number * (1 + number % 2))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    records = open_capture(tmp_path / "other").records
    assert len(records) == 100
    written = {found.module for found in records if found.locator is not None}
    odd = {f"x{number}" for number in range(1, 100, 2)}
    assert written == (odd if kind == "dump_on_mismatch" else set())


def test_a_device_without_room_leaves_it_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model, inputs = make("llama")
    with torch.no_grad(), record(model, tmp_path / "host", stats_only=True):
        model(**inputs)
    monkeypatch.setattr(held, "summarise", full)
    for name, options in (
        ("bare", {"stats_only": True}), ("other", {"dump_on_mismatch": tmp_path / "host"}),
    ):  # fmt: skip
        recorder = record(model, tmp_path / name, **options)
        with torch.no_grad(), on_the_device(), recorder:
            model(**inputs)
        expected, found = by_key(tmp_path / "host"), by_key(tmp_path / name)
        with_stats = {key for key, one in found.items() if one.stats is not None}
        assert len(with_stats) > len(found) / 2
        assert all(found[key].stats == expected[key].stats for key in with_stats)
        assert Noted.last.left == held.MOST_HELD


def test_a_full_disk_lets_go_of_what_is_held(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(summary: Summary) -> None:
        summary.wait()
        raise OSError(28, "No space left on device")

    model, inputs = make("llama")
    with torch.no_grad():
        with record(model, tmp_path / "reference", stats_only=True):
            model(**inputs)
        recorder = record(model, tmp_path / "other", dump_on_mismatch=tmp_path / "reference")
        with pytest.raises(CaptureError, match="No space left"), on_the_device(), recorder:
            model(**inputs)
            monkeypatch.setattr(Summary, "described", full)
            gate.set()
    assert Noted.last.left == held.MOST_HELD


def test_small_tensors_and_those_of_the_host_come_whole(tmp_path: Path) -> None:
    summaries = DeviceSummaries(hold=False)
    assert not summaries.serves(torch.zeros(100_000))
    with on_the_device(smallest=held.SMALLEST):
        assert summaries.serves(torch.zeros(2049))
        assert not summaries.serves(torch.zeros(2048))
    with record(None, tmp_path / "c", stats_only=True) as recorder:
        recorder.add("x", torch.zeros(100_000))
    stats_of = open_capture(tmp_path / "c").records[0].stats
    assert stats_of is not None and "hash" in stats_of


def test_a_copy_is_let_go_once_its_values_came(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Summary] = []
    monkeypatch.setattr(Summary, "wait", lambda summary: waited.append(summary))
    x = torch.arange(3000.0).view(3, 1000).T
    summaries = DeviceSummaries(hold=True)
    taken = summaries.take(x)
    before = summaries.allowance.left
    assert torch.equal(taken.tensor(), x)
    assert len(waited) == 1 and waited[0] is taken.summary  # it was made behind the copy
    assert (before, summaries.allowance.left) == (held.MOST_HELD - 12_000, held.MOST_HELD)


def test_an_allowance_is_never_exceeded() -> None:
    allowance = Allowance(100)
    assert allowance.take(60) and not allowance.take(41) and allowance.take(40)
    allowance.give(60)
    assert allowance.left == 60


@pytest.mark.skipif("cuda" not in DEVICES, reason="needs a GPU")
def test_on_a_gpu(tmp_path: Path) -> None:
    x = torch.randn(300, 400, generator=torch.Generator().manual_seed(1)).cuda()
    reference, model = Changing(1.0), Changing(1.1)
    reference.seen, model.seen = [], []
    model.layers.cuda()
    with record(reference, tmp_path / "reference", inputs=False, stats_only=True):
        reference(x)
    found = by_key(tmp_path / "reference")
    assert all(r.stats is not None and "hash" not in r.stats for r in found.values())
    differing = tmp_path / "other"
    with record(model, differing, inputs=False, dump_on_mismatch=tmp_path / "reference"):
        model(x)
    records = by_key(tmp_path / "other")
    for number, seen in enumerate(model.seen):
        assert_holds(records[0, f"layers.{number}", 1, "output"], seen.cpu())
