"""Kinds of models that are attached to in another way: compiled, fused, scripted, offloaded."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from layertui.capture import open_capture, record, tap
from support.tiny_models import assert_holds, by_key, make, value


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return tap("y", self.b(self.a(x)))


@pytest.mark.parametrize("way", ["wrapper", "method"])
@pytest.mark.parametrize("when", ["compiled before", "compiled while recording"])
def test_a_compiled_model(way: str, when: str, tmp_path: Path) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x = Net(), torch.randn(2, 4)
    eager = model(x)
    if way == "wrapper":
        run = torch.compile(model, backend="eager", fullgraph=True)
    else:
        run = model
        run.compile(backend="eager", fullgraph=True)
    with torch.no_grad():
        if when == "compiled before":
            run(x)
        frames = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        with (
            pytest.warns(RuntimeWarning, match="is compiled"),
            record(run, tmp_path / "c") as recorder,
        ):
            y = run(x)
            run(x)
        after = run(x)
    assert torch.equal(y, eager)
    assert torch.equal(after, eager)
    if when == "compiled before":
        assert (
            torch._dynamo.utils.counters["stats"]["unique_graphs"] == frames
        )  # nothing compiled again
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    records = by_key(tmp_path / "c")
    for step in (0, 1):
        assert_holds(records[step, "", 1, "input_0"], x)
        assert_holds(records[step, "", 1, "output"], y)
    prefix = "_orig_mod." if way == "wrapper" else ""
    assert {f"{prefix}a", f"{prefix}b", f"{prefix}b.0"} <= set(recorder.never_fired)
    assert "" not in recorder.never_fired
    assert any("compiled" in note and "cannot be seen" in note for note in capture.notes)
    last = (tmp_path / "c/manifest.jsonl").read_text().splitlines()[-1]
    assert '"compiled": {"modules": [""], "frames": ' in last
    assert '"frames": 0,' not in last
    if way == "method":
        assert "watched" not in repr(model._compiled_call_impl)


def test_one_compiled_layer_of_a_model(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, x = Net(), torch.randn(2, 4)
    model.b.compile(backend="eager")
    compiled = pytest.warns(RuntimeWarning, match="b is compiled")
    with torch.no_grad(), compiled, record(model, tmp_path / "c") as recorder:
        y = model(x)
    records = by_key(tmp_path / "c")
    assert_holds(records[0, "b", 1, "output"], y)
    assert_holds(records[0, "b", 1, "input_0"], value(records[0, "a", 1, "output"]))
    assert recorder.never_fired == ["b.0", "b.1"]


def test_a_compiled_function_around_a_model(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, x = Net(), torch.randn(2, 4)
    eager = model(x)

    @torch.compile(backend="eager", fullgraph=True)
    def run(x: torch.Tensor) -> torch.Tensor:
        return model(x) + 1

    with torch.no_grad(), record(model, tmp_path / "c") as recorder:
        recorder.add("marker", x)
        assert torch.equal(run(x), eager + 1)
    assert set(recorder.never_fired) == {"", "a", "b", "b.0", "b.1"}


@pytest.mark.parametrize("training", [False, True])
def test_transformer_encoders_keep_their_fused_path(training: bool, tmp_path: Path) -> None:
    """torch takes another path, with other rounding, as soon as a module has a hook."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training)
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        bare = model(x)
        with record(model, tmp_path / "c") as recorder:
            recorded = model(x)
        assert torch.equal(bare, recorded)
        assert torch.equal(bare, model(x))
    records = by_key(tmp_path / "c")
    assert_holds(records[0, "", 1, "output"], bare)
    assert_holds(records[0, "layers.1", 1, "output"], value(records[0, "", 1, "output"]))
    assert ("layers.0.linear1" in recorder.never_fired) == (not training)
    assert all("forward" not in m.__dict__ for m in model.modules())


def test_a_scripted_model(tmp_path: Path) -> None:
    model = torch.jit.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(1, 2))
    with torch.no_grad(), record(model, tmp_path / "c"):
        y = model(torch.ones(1, 2))
    assert_holds(by_key(tmp_path / "c")[0, "", 1, "output"], y)


def test_tracing_a_model_while_it_is_recorded(tmp_path: Path) -> None:
    model, x = Net(), torch.ones(1, 4)
    with record(model, tmp_path / "c") as recorder:
        recorder.add("marker", x)
        traced = torch.jit.trace(model, x, check_trace=False)
    assert "copy_" not in str(traced.inlined_graph)


def test_a_model_spread_over_devices(tmp_path: Path) -> None:
    """With accelerate's hooks, which move inputs and weights as layers come by."""
    accelerate = pytest.importorskip("accelerate")
    model, inputs = make("llama")
    with torch.no_grad():
        bare = model(**inputs).logits
        spread = accelerate.cpu_offload(copy.deepcopy(model), execution_device="cpu")
        assert any(p.is_meta for p in spread.parameters())
        with record(spread, tmp_path / "c"):
            recorded = spread(**inputs).logits
    assert torch.equal(bare, recorded)
    with torch.no_grad(), record(model, tmp_path / "d"):
        model(**inputs)
    plain = by_key(tmp_path / "d")
    found = by_key(tmp_path / "c")
    assert found.keys() == plain.keys()
    for key, one in plain.items():
        assert_holds(found[key], value(one))


def test_dispatch_modes_of_the_user_see_nothing_more(tmp_path: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.hooks import RemovableHandle

    model, x = Net(), torch.ones(1, 4)
    counted = []
    for recording in (False, True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            if recording:
                with record(model, tmp_path / "c", level="op"):
                    model(x)
            else:
                model(x)
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1] > 0
    assert all(not isinstance(h, RemovableHandle) for h in model._forward_hooks.values())


def test_an_operator_level_recording_of_a_compiled_model(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, x = Net(), torch.randn(2, 4)
    ran = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        return lambda *args: ran.append(1) or graph(*args)

    run = torch.compile(model, backend=backend)
    with torch.no_grad():
        bare = run(x)
        warned = pytest.warns(RuntimeWarning, match="compiled")
        with warned, record(run, tmp_path / "c", level="op"):
            recorded = run(x)
    assert torch.equal(bare, recorded)
    assert len(ran) == 2  # as compiled code, both times
    assert_holds(by_key(tmp_path / "c")[0, "", 1, "output"], recorded)
    whole = nn.Sequential(nn.ReLU(), run)
    warned = pytest.warns(RuntimeWarning, match="compiled")
    with torch.no_grad(), warned, record(whole, tmp_path / "d", level="op"):
        whole(x)
    assert len(ran) == 3
    modules = [r.module for r in open_capture(tmp_path / "d").records]
    assert "0/aten.relu.default" in modules
    assert not any(module.startswith("1/") for module in modules)
