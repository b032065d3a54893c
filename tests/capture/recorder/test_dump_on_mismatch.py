"""Values where a run differs from its reference, statistics elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layertui.capture import Capture, CaptureError, open_capture, record
from layertui.compare.comparison import Comparison, open_comparison
from support.recording.devices import on_the_device

torch = pytest.importorskip("torch")
nn = torch.nn

LAYERS, WIDTH = 4, 32


@pytest.fixture(autouse=True, params=["host", "device"])
def where_sketches_are_made(request: pytest.FixtureRequest) -> Iterator[None]:
    with on_the_device(request.param == "device"):
        yield


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(LAYERS)
        )

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = x + layer(x)
        return x


def recorded(folder: Path, model: Any, **options: Any) -> Capture:
    x = torch.randn(1, 10, WIDTH, generator=torch.manual_seed(1))
    with torch.no_grad(), record(model, folder, **options):
        model(x)
    return open_capture(folder)


def wrong(layer: int) -> Any:
    model = Model()
    with torch.no_grad():
        model.layers[layer][0].weight.mul_(1.01)
    return model


def with_values(capture: Capture) -> set[str]:
    return {found.name for found in capture.records if found.locator is not None}


def compared(*sides: Path) -> Comparison:
    found = open_comparison(*map(str, sides))
    assert found.measure(use_cache=False)
    return found


@pytest.mark.parametrize("stats_only", [False, True])
def test_values_begin_where_the_fault_is(tmp_path: Path, stats_only: bool) -> None:
    reference = tmp_path / "reference"
    recorded(reference, Model(), stats_only=stats_only)
    same = recorded(tmp_path / "same", Model(), dump_on_mismatch=reference)
    assert with_values(same) == set()
    other = recorded(tmp_path / "other", wrong(2), dump_on_mismatch=reference)
    assert with_values(other) == {
        "layers.2.0-output", "layers.2.1-input_0", "layers.2.1-output", "layers.2-output",
        "layers.3.0-input_0", "layers.3.0-output", "layers.3.1-input_0", "layers.3.1-output",
        "layers.3-input_0", "layers.3-output", "-output",
    }  # fmt: skip
    assert other.notes == [
        f"only values that differ from {reference}, or that it lacks, were recorded"
    ]
    first = compared(reference, tmp_path / "other").first_divergence()
    assert first is not None and first.module == "layers.2.0"
    assert compared(reference, tmp_path / "same").exit_status() == 0


class Coarse(Model):
    def forward(self, x: Any) -> Any:
        return super().forward(x.bfloat16())


def test_rounding_to_bfloat16_is_no_mismatch_unless_asked_for(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    recorded(reference, Model())
    loose = recorded(tmp_path / "loose", Coarse().bfloat16(), dump_on_mismatch=reference)
    assert with_values(loose) <= {"-input_0"}
    strict = recorded(
        tmp_path / "strict", Coarse().bfloat16(), dump_on_mismatch=reference, mismatch=1e-3
    )
    assert len(with_values(strict)) > LAYERS


def test_what_the_reference_lacks_is_written(tmp_path: Path) -> None:
    recorded(tmp_path / "reference", Model(), include="layers.0*")
    other = recorded(tmp_path / "other", Model(), dump_on_mismatch=tmp_path / "reference")
    assert not any(name.startswith("layers.0") for name in with_values(other))
    assert "layers.1.0-output" in with_values(other)


class Broken(Model):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * float("nan")


def test_what_is_not_finite_is_written(tmp_path: Path) -> None:
    recorded(tmp_path / "reference", Broken())
    other = recorded(tmp_path / "other", Broken(), dump_on_mismatch=tmp_path / "reference")
    assert with_values(other) == {"-output"}


class Twice(nn.Module):
    def __init__(self, change: bool) -> None:
        super().__init__()
        self.one, self.two, self.change = nn.Identity(), nn.Identity(), change

    def forward(self, x: Any) -> Any:
        x = self.one(x.clone())
        return self.two(x.mul_(2) if self.change else x)


def test_a_tensor_that_is_used_again_is_compared_in_its_own_place(tmp_path: Path) -> None:
    """The reference changes it in place between two modules; the other run does not."""
    names = ["one", "two"]
    recorded(tmp_path / "reference", Twice(True), include=names)
    other = recorded(
        tmp_path / "other", Twice(False), include=names, dump_on_mismatch=tmp_path / "reference"
    )
    assert with_values(other) == {"two-input_0", "two-output"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stats_only": True}, "not stats_only"), ({"format": "pt"}, 'needs format="native"'),
        ({"mismatch": 2.0}, "mismatch=2.0: a relative error"),
        ({"dump_on_mismatch": "nowhere"}, "nowhere: no such file"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    recorded(tmp_path / "reference", Model())
    given = {"dump_on_mismatch": tmp_path / "reference", **options}
    with pytest.raises(CaptureError, match=words):
        record(Model(), tmp_path / "other", **given)


def test_the_reference_is_not_overwritten(tmp_path: Path) -> None:
    recorded(tmp_path / "c", Model())
    with pytest.raises(CaptureError, match="the reference itself"):
        record(Model(), tmp_path / "c", dump_on_mismatch=tmp_path / "c", overwrite=True)
    assert open_capture(tmp_path / "c").complete
