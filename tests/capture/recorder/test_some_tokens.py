"""Recording some tokens and some layers of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layertui.capture import record
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.open import open_capture
from layertui.capture.records import Record

torch = pytest.importorskip("torch")

TOKENS, CHANNELS, HEADS = 12, 8, 2


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(CHANNELS, CHANNELS)
        self.heads, self.scores = torch.nn.Identity(), torch.nn.Identity()
        self.pooled = torch.nn.Identity()

    def forward(self, x: Any) -> Any:
        split = self.heads(self.up(x).unflatten(-1, (HEADS, -1)).transpose(1, 2))
        weights = self.scores((split @ split.transpose(-1, -2)).softmax(-1))
        self.pooled(x.mean(1))
        return x + (weights @ split).transpose(1, 2).flatten(2)


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, CHANNELS)
        self.layers = torch.nn.ModuleList(Block() for _ in range(3))

    def forward(self, input_ids: Any) -> Any:
        x = self.embed(input_ids)
        for block in self.layers:
            x = block(x)
        return x


def recorded(
    folder: Path, batch: int = 1, length: int = TOKENS, **options: Any
) -> dict[str, Record]:
    torch.manual_seed(0)
    model = Model()
    ids = torch.randint(0, 50, (batch, length), generator=torch.manual_seed(1))
    with torch.no_grad(), record(model, folder, **options):
        model(input_ids=ids)
    return {record.name: record for record in open_capture(folder).records}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("text", "places"),
    [("last:4", slice(-4, None)), ("0:5", slice(0, 5)), ("every:5", slice(0, None, 5))],
)
def test_the_tokens_of_every_tensor(tmp_path: Path, batch: int, text: str, places: slice) -> None:
    whole = recorded(tmp_path / "whole", batch)
    part = recorded(tmp_path / "part", batch, tokens=text)
    assert part.keys() == whole.keys()
    for name, record_ in part.items():
        values, all_of_it = (load(r.locator) for r in (record_, whole[name]) if r.locator)
        axis = 2 if "heads" in name or "scores" in name else 1
        if "pooled" in name:
            assert record_.tokens is None and (values == all_of_it).all()
            continue
        assert record_.tokens is not None and record_.tokens.axis == axis, name
        assert (values == all_of_it[(slice(None),) * axis + (places,)]).all(), name


def test_what_may_be_the_axis_of_something_else_is_kept_whole(tmp_path: Path) -> None:
    """As many tokens as heads: `[batch, tokens, heads, size]` is the same to look at."""
    records = recorded(tmp_path, length=HEADS, tokens="last:1")
    assert records["layers.0.heads-output"].tokens is None
    assert records["layers.0-output"].shape == (1, 1, CHANNELS)


def test_a_short_step_is_kept_whole(tmp_path: Path) -> None:
    records = recorded(tmp_path, tokens="last:64")
    assert {record_.tokens for record_ in records.values()} == {None}


def test_the_capture_says_what_was_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, tokens="last:4", layers="0:2")
    notes = open_capture(tmp_path).notes
    assert "only some tokens of each step were recorded: last:4" in notes
    assert "only some layers were recorded: 0:2" in notes


@pytest.mark.parametrize(("layers", "numbers"), [("0:2", "01"), (1, "1"), ("2:", "2")])
def test_some_layers_and_what_stands_outside(tmp_path: Path, layers: Any, numbers: str) -> None:
    records = recorded(tmp_path, layers=layers)
    assert {name[7] for name in records if name.startswith("layers.")} == set(numbers)
    assert "embed-output" in records


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokens": "some"}, "tokens='some'"),
        ({"tokens": "last:3", "format": "pt"}, 'tokens needs format="native"'),
        ({"layers": "5:9"}, "no such layer; it has layers 0 to 2"),
        ({"layers": "x"}, "layers='x': 'x' is not the number of a layer"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        recorded(tmp_path, **options)


def test_a_model_without_layers_has_none_of_them(tmp_path: Path) -> None:
    recorder = record(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path, layers="0:1")
    with pytest.raises(CaptureError, match="stand in no list of layers"):
        recorder.__enter__()
