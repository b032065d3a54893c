"""Parts of the recorder by themselves: statistics, structures, buffers, the end of the queue."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from layertui.capture import CaptureError, open_capture, record
from layertui.capture.recorder.sinks.dedup import Seen, Stored
from layertui.capture.recorder.sinks.pool import Pool
from layertui.capture.recorder.sinks.stats import statistics
from layertui.capture.recorder.tree import Encoder, rebuild
from support.tiny_models import by_key

DTYPES = [
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.int64, torch.int8, torch.uint8, torch.uint16, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_of_every_dtype(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(3000) * 3).relu().to(dtype)
    if dtype.is_floating_point:
        x[5], x[6] = float("nan"), float("inf") if dtype is not torch.float8_e4m3fn else 1.0
    found = statistics(x.reshape(30, 100))
    wide = x.double().numpy()
    finite = wide[np.isfinite(wide)]
    assert found["count"] == 3000
    assert found["nan"] == np.isnan(wide).sum() == int(dtype.is_floating_point)
    assert found["inf"] == np.isinf(wide).sum()
    assert found["zeros"] == (wide == 0).sum() > 1000
    assert (found["min"], found["max"]) == (finite.min(), finite.max())
    assert found["mean"] == pytest.approx(finite.mean(), rel=1e-12)
    assert found["std"] == pytest.approx(finite.std(), rel=1e-12)
    assert found["l2"] == pytest.approx(np.linalg.norm(finite), rel=1e-12)


def test_statistics_over_several_blocks() -> None:
    x = torch.randn(2_500_001, generator=torch.Generator().manual_seed(3)) + 1000
    found = statistics(x)
    wide = x.double().numpy()
    assert found["mean"] == pytest.approx(wide.mean(), rel=1e-13)
    assert found["std"] == pytest.approx(wide.std(), rel=1e-11)
    assert found["l2"] == pytest.approx(np.linalg.norm(wide), rel=1e-12)


def test_statistics_of_extremes() -> None:
    big = statistics(torch.tensor([2**63 - 1, -(2**63)]))
    assert (big["min"], big["max"]) == (-(2**63), 2**63 - 1)
    nothing = statistics(torch.tensor([float("nan")]))
    assert (nothing["min"], nothing["mean"], nothing["nan"]) == (None, None, 1)
    assert statistics(torch.empty(0, 3))["count"] == 0
    assert statistics(torch.tensor(3 + 4j))["max"] == 5


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Mine:
    x: torch.Tensor
    n: int


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
    | st.sampled_from([torch.float16, torch.device("cpu"), torch.Size([1, 2]), slice(1, None),
                       1 + 2j, "tensor"]),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_structures_come_back(value: Any) -> None:
    import json

    kept: list[Any] = []
    slots: list[str] = []

    def keep(slot: str, tensor: Any) -> Any:
        slots.append(slot)
        kept.append(tensor)
        return {"seq": len(kept) - 1}

    def with_tensors(part: Any) -> Any:
        if part == "tensor":
            return torch.ones(1) * len(kept)
        if isinstance(part, dict):
            return {key: with_tensors(inner) for key, inner in part.items()}
        if type(part) in (list, tuple):
            return type(part)(with_tensors(inner) for inner in part)
        return part

    original = with_tensors(value)
    structure = json.loads(json.dumps(Encoder(keep).encode(original, "input_0"), allow_nan=False))
    assert len(set(slots)) == len(slots)
    again = rebuild(structure, kept.__getitem__)
    assert repr(again) == repr(original)


def test_named_structures() -> None:
    kept: list[Any] = []

    def keep(slot: str, tensor: Any) -> Any:
        kept.append((slot, tensor))
        return {"seq": len(kept) - 1}

    output = BaseModelOutput(last_hidden_state=torch.ones(1), hidden_states=(torch.zeros(1),))
    structure = Encoder(keep).encode((output, Point(torch.ones(2), 3), Mine(torch.ones(3), 4)), "o")
    assert [slot for slot, _ in kept] == [
        "o_0_last_hidden_state", "o_0_hidden_states_0", "o_1_x", "o_2_x",
    ]  # fmt: skip
    again = rebuild(structure[0], lambda seq: kept[seq][1])
    assert isinstance(again, BaseModelOutput)
    assert again.hidden_states is not None
    assert torch.equal(again.hidden_states[0], torch.zeros(1))
    for own in structure[1:]:
        with pytest.raises(CaptureError, match="refused"):
            rebuild(own, lambda seq: kept[seq][1])


@pytest.mark.parametrize(
    "structure",
    [
        {"class": "os.system", "fields": {}}, {"class": "torch.save", "fields": {"f": "x"}},
        {"class": "torch.nn.Linear", "fields": {}}, {"unknown": "x.Y"}, {"dtype": "save"}, {},
    ],
)  # fmt: skip
def test_structures_of_a_bad_capture_run_nothing(structure: Any) -> None:
    with pytest.raises(CaptureError):
        rebuild(structure, lambda seq: torch.ones(1))


def test_two_arguments_that_would_have_one_slot() -> None:
    slots: list[str] = []
    encoder = Encoder(lambda slot, tensor: slots.append(slot))
    one = torch.ones(1)
    encoder.arguments((), {"x_0": one, "x": (one,), "a\n/b": {"../c": one}})
    assert slots == ["input_x_0", "input_x_0_again2", "input_a__b_.._c"]


def test_an_argument_that_holds_itself() -> None:
    own = Mine(torch.ones(1), 1)
    own.n = own  # type: ignore[assignment]
    slots: list[str] = []
    structure = Encoder(lambda slot, tensor: slots.append(slot)).encode(own, "input_0")
    assert "nested too deeply" in str(structure)
    assert 20 < len(slots) < 40


def test_buffers_are_used_again() -> None:
    pool = Pool(keep=1 << 20)
    first = pool.take(100_000)
    assert first.size >= 100_000
    first[:] = 7
    pool.give(first)
    second = pool.take(99_000)
    assert second is first
    assert pool.take(100_000) is not first
    pool.give(pool.take(4 << 20))  # more than is kept
    assert pool.take(4 << 20)[0] == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 4999), st.booleans())
def test_only_equal_bytes_are_the_same(size: int, place: int, on_disk: bool) -> None:
    import tempfile

    a = np.zeros(size, np.uint8)
    b = a.copy()
    seen = Seen()
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"xyz" + a.tobytes())
        file.flush()
        stored = Stored(5, size, None if on_disk else a, file.name, 3)
        seen.add(seen.key("float32", a), stored)
        assert seen.find(seen.key("float32", b), b) == 5
        assert seen.find(seen.key("int32", b), b) is None
        b[place % size] = 1
        assert seen.find(seen.key("float32", b), b) is None


def test_ctrl_c_while_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is slow: what is on it counts, the rest is let go."""
    real, calls = os.fsync, itertools.count(1)

    def slow(descriptor: int) -> None:
        if next(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(KeyboardInterrupt), record(None, tmp_path / "c", shard_bytes=10) as recorder:
        for index in range(100):
            recorder.add("x", torch.full((4,), index))
    capture = open_capture(tmp_path / "c")
    assert capture.complete is False
    assert any("KeyboardInterrupt" in note for note in capture.notes)
    assert 1 <= len(capture.records) < 50
    assert all(r.error is None for r in capture.records)


def test_a_complex_number_of_two_doubles_says_so(tmp_path: Path) -> None:
    x = torch.randn(3, dtype=torch.complex128)
    with record(nn.Identity(), tmp_path / "c") as recorder:
        recorder.add("x", x)
        recorder.add("y", x.to(torch.complex64).conj())
    records = {key[1]: r for key, r in by_key(tmp_path / "c").items()}
    assert (records["x"].shape, records["x"].dtype) == ((3, 2), "float64")
    assert (records["y"].shape, records["y"].dtype) == ((3,), "complex64")
    assert '"pairs_of": "complex128"' in (tmp_path / "c/manifest.jsonl").read_text()


def test_many_tensors_of_odd_sizes_in_one_large_shard(tmp_path: Path) -> None:
    """Through the file that is begun before its header is known; all aligned, no gaps."""
    from safetensors.torch import load_file

    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randint(0, 100, (int(n),), generator=generator).to(dtype)
        for n in torch.randint(1, 60_000, (150,), generator=generator)
        for dtype in (torch.float32, torch.bool, torch.int64, torch.bfloat16)
    ]
    with record(None, tmp_path / "c", shard_seconds=60) as recorder:
        for index, tensor in enumerate(tensors):
            recorder.add(f"t{index}", tensor)
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    loaded: dict[str, torch.Tensor] = {}
    for path in sorted((tmp_path / "c").glob("data-*")):
        loaded.update(load_file(path))
    assert len(loaded) == len(tensors)
    for index, (found, tensor) in enumerate(zip(capture.records, tensors, strict=True)):
        assert torch.equal(loaded[str(index)], tensor)
        assert found.locator is not None
        assert found.locator.offset % tensor.element_size() == 0
