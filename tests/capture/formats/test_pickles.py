"""Objects of all kinds in torch files and pickles: what holds tensors is looked through, what
cannot be read costs itself alone, and nothing is ever unpickled.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layertui.capture import Capture, CaptureError, open_capture
from layertui.capture.load import load


@dataclasses.dataclass
class Outputs:
    hidden: Any
    extra: Any = None


@dataclasses.dataclass(frozen=True)
class Slotted:
    __slots__ = ("hidden",)
    hidden: Any


class Named(collections.namedtuple("Named", "first second")):
    pass


class Items(dict):  # type: ignore[type-arg]
    pass


class ModelLike(collections.OrderedDict):  # type: ignore[type-arg]
    """Pickled as transformers' `ModelOutput` is."""

    def __reduce__(self) -> Any:
        made, _, *rest = super().__reduce__()
        return (made, tuple(self.values()), *rest)


class Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trap}",)


def values(capture: Capture) -> dict[str, np.ndarray[Any, Any]]:
    return {r.name: load(r.locator) for r in capture.records if r.locator is not None}


def errors(capture: Capture) -> dict[str, str]:
    return {r.name: r.error for r in capture.records if r.error is not None}


ARRAYS = {
    "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "swapped": np.arange(4, dtype=">i4"),
    "whole": np.arange(3),
    "flags": np.array([True, False]),
    "one": np.float32(2.5),
    "none": np.zeros((0, 3), np.float16),
    "complex": np.array([1 + 2j], np.complex64),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["pkl", "pt", "npy", "pickle in a .pt"])
def test_arrays(tmp_path: Path, kind: str, protocol: int) -> None:
    path = tmp_path / f"acts.{kind[-3:].strip('.').strip()}"
    if kind == "pkl":
        path.write_bytes(pickle.dumps(ARRAYS, protocol))
    elif kind == "pt":
        torch.save(ARRAYS, path, pickle_protocol=protocol)
    elif kind == "npy":
        np.save(path, ARRAYS, allow_pickle=True)  # type: ignore[arg-type]
    else:
        path = tmp_path / "acts.pt"
        path.write_bytes(pickle.dumps(ARRAYS, protocol))
    capture = open_capture(path)
    assert errors(capture) == {}
    found = values(capture)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype.newbyteorder("=")


def test_objects_are_looked_through(tmp_path: Path) -> None:
    one, two = torch.arange(3.0), torch.ones(2, 2)
    value = {
        "dataclass": Outputs(one, (two, None)),
        "slots": Slotted(one),
        "namedtuple": Named(one, two),
        "dict": Items(x=one),
        "output": ModelLike(logits=one, hidden_states=(two, two)),
        "namespace": argparse.Namespace(t=one, n=3),
        "default": collections.defaultdict(list, {"y": one}),
        "mixed": [None, (one, [{"z": two}])],
    }
    torch.save(value, tmp_path / "a.pt")
    capture = open_capture(tmp_path)
    assert errors(capture) == {}
    assert list(values(capture)) == [
        "dataclass/hidden", "dataclass/extra/0", "slots/hidden", "namedtuple/0", "namedtuple/1",
        "dict/x", "output/logits", "output/hidden_states/0", "output/hidden_states/1",
        "namespace/t", "default/y", "mixed/1/0", "mixed/1/1/0/z",
    ]  # fmt: skip


def test_what_is_refused_costs_itself_alone(tmp_path: Path) -> None:
    value = {
        "a": torch.ones(2), "evil": Evil(tmp_path / "ran"), "linear": torch.nn.Linear(2, 2),
        "b": np.ones(3), "when": object(),
    }  # fmt: skip
    torch.save(value, tmp_path / "a.pt")
    capture = open_capture(tmp_path)
    assert set(values(capture)) == {"a", "b"}
    said = errors(capture)
    assert set(said) == {"evil", "linear"}
    assert "pickle wants posix.system, only tensors" in said["evil"]
    assert "Linear is a module, not a tensor: save its state_dict()" in said["linear"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.pt", "a.pkl"])
def test_a_module_is_refused_clearly(tmp_path: Path, name: str) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(CaptureError, match="is a module, not a tensor"):
        open_capture(tmp_path)


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.pickle"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_torch_tensors_in_a_plain_pickle(tmp_path: Path, name: str, protocol: int) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    value = {
        "t": whole, "view": whole[1:, ::2].t(), "b": torch.ones(3).bfloat16(), "a": np.ones(2),
        "n": torch.zeros(0, 2), "l": torch.arange(3),
    }  # fmt: skip
    (tmp_path / name).write_bytes(pickle.dumps(value, protocol))
    capture = open_capture(tmp_path)
    assert errors(capture) == {}
    found = values(capture)
    assert list(found) == list(value)
    np.testing.assert_array_equal(found["t"], whole.numpy())
    np.testing.assert_array_equal(found["view"], value["view"].numpy())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found["b"], [0x3F80] * 3)
    np.testing.assert_array_equal(found["l"], [0, 1, 2])


def test_what_only_torch_reads_in_a_plain_pickle(tmp_path: Path) -> None:
    """A tensor that is stored conjugated costs itself alone."""
    plain = torch.arange(6.0).reshape(2, 3) * (1 + 2j)
    with open(tmp_path / "d.pkl", "wb") as file:
        pickle.dump({"conjugated": plain.conj(), "plain": plain}, file)
    capture = open_capture(tmp_path / "d.pkl")
    assert np.array_equal(values(capture)["plain"], plain.numpy())
    (refused,) = [r for r in capture.records if r.locator is None]
    assert refused.name == "conjugated"
    assert "only torch itself reads" in (refused.error or "")


def test_the_local_part_of_a_distributed_tensor(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.tensor")
    program = (
        "import torch, os, sys; import torch.distributed as dist\n"
        "from torch.distributed.tensor import distribute_tensor, Shard\n"
        "from torch.distributed.device_mesh import init_device_mesh\n"
        "os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT='0', RANK='0', WORLD_SIZE='1')\n"
        "dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)\n"
        "mesh = init_device_mesh('cpu', (1,))\n"
        "t = distribute_tensor(torch.arange(6.0).reshape(2, 3), mesh, [Shard(0)])\n"
        "torch.save({'t': t, 'u': torch.ones(2)}, sys.argv[1])\n"
    )
    import subprocess
    import sys

    path = tmp_path / "a.pt"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        pytest.skip(f"no distributed tensors here: {done.stderr.strip().splitlines()[-1]}")
    capture = open_capture(tmp_path)
    assert errors(capture) == {}
    found = values(capture)
    np.testing.assert_array_equal(found["t"], np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize("key", ["model", "state_dict", "module"])
@pytest.mark.parametrize("name", ["c.pt", "pytorch_model.bin", "last.ckpt"])
def test_checkpoints_are_unwrapped(tmp_path: Path, key: str, name: str) -> None:
    state = {"lm_head.weight": torch.ones(2), "model.norm.weight": torch.zeros(3)}
    torch.save({key: state, "epoch": 3, "lr": [0.1]}, tmp_path / name)
    assert list(values(open_capture(tmp_path))) == list(state)


def test_a_dict_of_modules_called_model_stays_one(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2), "b": torch.ones(2)}}, tmp_path / "a.pt")
    assert list(values(open_capture(tmp_path))) == ["model/a", "model/b"]


def test_an_array_of_objects_that_are_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}, None], object), allow_pickle=True)
    with pytest.raises(CaptureError, match="holds no array"):
        open_capture(tmp_path)


def test_a_compressed_pickle_says_so(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.pkl").write_bytes(gzip.compress(pickle.dumps(ARRAYS)))
    with pytest.raises(CaptureError, match="compressed by gzip: unpack it first"):
        open_capture(tmp_path)


def test_raw_files_called_bin_are_still_raw(tmp_path: Path) -> None:
    np.arange(6, dtype=np.float32).tofile(tmp_path / "x.bin")
    (record,) = open_capture(tmp_path, raw="2x3xf32").records
    assert (record.shape, record.error) == ((2, 3), None)
