"""Parameters kept with a capture: what the model had, nothing that a reader takes for a record."""

from __future__ import annotations

import json
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from layertui.capture import open_capture, record
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.weights import open_weights
from layertui.capture.weights.recorded import (
    INDEX,
    TENSORS,
    changed_since,
    digest_of,
    link_parameters,
    recorded_digests,
    recorded_parameters,
)
from layertui.compare.comparison import open_comparison

IDS = torch.tensor([[3, 17, 42, 5]])

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(real: Path) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(real / "weights" / "hf_sharded").eval()


def recorded(model: nn.Module, folder: Path, **more: Any) -> Any:
    with torch.no_grad(), record(model, folder, **more):
        model(IDS)
    return open_capture(folder)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("format_", ["native", "pt"])
def test_readers_pass_over_them(model: nn.Module, tmp_path: Path, format_: str) -> None:
    without = recorded(model, tmp_path / "none", format=format_)
    capture = recorded(model, tmp_path / "small", format=format_, parameters="small")
    assert recorded_parameters(without) is None
    assert recorded_digests(without) == {}
    assert len(capture.records) == len(without.records)
    assert [r.name for r in capture.records] == [r.name for r in without.records]
    assert capture.notes == without.notes
    assert recorded_parameters(capture) is not None


def test_small_ones_have_values_and_all_have_digests(model: nn.Module, tmp_path: Path) -> None:
    capture = recorded(model, tmp_path / "c", parameters="small")
    weights, digests = recorded_parameters(capture), recorded_digests(capture)
    assert weights is not None
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    assert digests.keys() == tensors.keys()
    for name, tensor in tensors.items():
        digest = digests[name]
        assert digest.blake2b == blake2b(raw(tensor), digest_size=16).hexdigest()
        assert digest[:2] == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
    small = {name for name, tensor in tensors.items() if tensor.dim() <= 1}
    assert weights.parameters.keys() == small
    assert any("inv_freq" in name for name in small)
    for name in small:
        assert load(weights.parameters[name].locator).tobytes() == raw(tensors[name])
    assert weights.config["rms_norm_eps"] == 1e-6
    assert weights.find("norm") is not None


def test_all_of_them_are_a_checkpoint(model: nn.Module, tmp_path: Path, real: Path) -> None:
    weights = recorded_parameters(recorded(model, tmp_path / "c", parameters="all"))
    assert weights is not None
    assert weights.notes == ()
    for name, parameter in open_weights(real / "weights" / "hf_sharded").parameters.items():
        assert np.array_equal(load(weights.parameters[name].locator), load(parameter.locator))


def test_what_is_tied_is_stored_once_and_found_twice(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 50, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("steps", torch.tensor(7))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(ids))

    weights = recorded_parameters(recorded(Tied(), tmp_path / "c", parameters="all"))
    assert weights is not None
    assert weights.parameters.keys() == {"embed.weight", "head.weight", "steps"}
    places = [weights.parameters[n].locator for n in ("embed.weight", "head.weight")]
    assert places[0] == places[1]
    assert load(weights.parameters["steps"].locator) == 7


def test_values_from_before_the_run(tmp_path: Path) -> None:
    """A model that changes its parameters while it runs was made with those it began with."""

    class Drifting(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            self.bias.data += 1
            return super().forward(input)

    model = Drifting(3, 3)
    before = model.bias.detach().clone()
    with torch.no_grad(), record(model, tmp_path / "c", parameters="small"):
        model(torch.ones(3))
    weights = recorded_parameters(open_capture(tmp_path / "c"))
    assert weights is not None
    assert np.array_equal(load(weights.parameters["bias"].locator), before.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.complex128])
def test_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(3).to(dtype))
            self.odd = nn.Parameter(torch.empty(2, 2, device="meta"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    model = Odd()
    with torch.no_grad(), record(model, tmp_path / "c", parameters="all"):
        model(torch.ones(3))
    capture = open_capture(tmp_path / "c")
    digests, weights = recorded_digests(capture), recorded_parameters(capture)
    assert weights is not None
    assert digests["odd"].blake2b == ""  # on no device: it has no values
    assert "odd" not in weights.parameters
    kept = dtype is not torch.complex128  # which cannot be stored
    assert bool(digests["table"].blake2b) == kept == ("table" in weights.parameters)


def test_bad_words_and_overwriting(model: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with pytest.raises(CaptureError, match='"none", "small" or "all"'):
        record(model, folder, parameters="some")
    recorded(model, folder, parameters="small")
    recorded(model, folder, overwrite=True)
    assert not (folder / INDEX).exists()
    assert not (folder / TENSORS).exists()
    for name, text in ((INDEX, '{"schema": "mine"}'), (TENSORS, "mine")):
        (folder / name).write_text(text)
        with pytest.raises(CaptureError, match="not written by a capture"):
            recorded(model, folder, overwrite=True, parameters="small")
        assert (folder / name).read_text() == text
        (folder / name).unlink()


def test_linked_to_the_captures_of_other_cases(model: nn.Module, tmp_path: Path) -> None:
    first = recorded(model, tmp_path / "a", parameters="small")
    second = recorded(model, tmp_path / "b")
    link_parameters(first.path, second.path)
    assert recorded_digests(second) == recorded_digests(first) != {}
    assert recorded_parameters(second) is not None
    link_parameters(str(tmp_path), str(tmp_path / "b"))  # there are none: nothing happens


def test_a_checkpoint_that_is_no_longer_the_same(
    real: Path, model: nn.Module, tmp_path: Path
) -> None:
    source = real / "weights" / "hf_sharded"
    place = Path(shutil.copytree(source, tmp_path / "model"))
    own: Any = AutoModelForCausalLM.from_pretrained(place).eval()
    sides = [tmp_path / "a", tmp_path / "b"]
    for side in sides:
        recorded(own, side, parameters="small")
    paths = [str(side) for side in sides]
    assert open_comparison(*paths).models.reference.path == str(place)  # type: ignore
    digests = recorded_digests(open_capture(sides[0]))
    assert changed_since(open_weights(place), digests) is None
    with torch.no_grad():
        own.model.norm.weight += 1
    own.save_pretrained(tmp_path / "other")
    assert changed_since(open_weights(tmp_path / "other"), digests) == "model.norm.weight"
    shutil.rmtree(place)
    (tmp_path / "other").rename(place)
    found = open_comparison(*paths).models
    assert found.reference is not None
    assert found.reference.path == str(sides[0] / TENSORS)
    assert found.candidate is not None
    assert "no longer what was captured: model.norm.weight is different" in found.notes[0]


# What may have happened to them


@pytest.fixture
def kept(model: nn.Module, tmp_path: Path) -> Path:
    recorded(model, tmp_path / "c", parameters="small")
    return tmp_path / "c"


@pytest.mark.parametrize("name", [INDEX, TENSORS])
@pytest.mark.parametrize("what", ["truncated", "link", "gone", "empty"])
def test_damaged_ones_are_refused_in_words(
    kept: Path, tmp_path: Path, name: str, what: str
) -> None:
    path = kept / name
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "gone":
        path.unlink()
    else:
        path.write_bytes(b"")
    capture = open_capture(kept)
    if what == "gone" and name == INDEX:
        assert recorded_parameters(capture) is None
        return
    with pytest.raises(CaptureError) as caught:
        recorded_parameters(capture)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    found = open_comparison(str(kept), str(kept)).models
    assert found.reference is None or TENSORS not in found.reference.path


def test_an_index_that_lies(kept: Path) -> None:
    path = kept / INDEX
    content = json.loads(path.read_text())
    for changes, words in (
        ({"model.norm.weight": {"dtype": "float32", "shape": [31], "blake2b": "00"}}, "not what"),
        ({"x": 3, "y": {"dtype": 1}, "z": {"dtype": "float32", "shape": [-1]}}, ""),
        ({"a": {"dtype": "float32", "shape": [32], "blake2b": ""}}, ""),  # nothing to share
    ):
        lied = {**content, "parameters": {**content["parameters"], **changes}}
        path.write_text(json.dumps(lied))
        capture = open_capture(kept)
        if words:
            with pytest.raises(CaptureError, match=words):
                recorded_parameters(capture)
            continue
        weights = recorded_parameters(capture)
        assert weights is not None
        assert not set(changes) & weights.parameters.keys()
    path.write_text(json.dumps({**content, "schema": "layertui.parameters/9"}))
    with pytest.raises(CaptureError, match="not written by this version"):
        recorded_digests(open_capture(kept))


def test_digests_are_of_plain_bytes() -> None:
    values = np.arange(4, dtype="<f4")
    assert digest_of(values) == digest_of(values.tobytes()) == digest_of(memoryview(values))
