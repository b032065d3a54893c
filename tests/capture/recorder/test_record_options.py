"""What `record` can be asked for, and taps, added arrays, gradients, operators."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from layertui.capture import CaptureError, open_capture, record, tap
from support.tiny_models import assert_holds, by_key, ids, make, value


class Block(nn.Module):
    """A module with a tap, an in-place change of its argument, and nested arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, extra: Any = None, *, flag: bool = False) -> Any:
        y = tap("scores", self.linear(x))
        x.mul_(0)
        tap("scores", y + 1)
        return {"first": y, "rest": (y * 2, [y * 3, None])}


def test_what_was_passed_is_what_is_stored(tmp_path: Path) -> None:
    block, x = Block(), torch.arange(6.0).reshape(2, 3)
    before = x.clone()
    pair = (torch.ones(1), {"k": torch.zeros(2), "n/a": np.arange(3)})
    with torch.no_grad(), record(block, tmp_path / "c") as recorder:
        block(x, pair, flag=True)
    records = by_key(tmp_path / "c")
    assert not x.any()
    assert_holds(records[0, "", 1, "input_0"], before)
    assert_holds(records[0, "linear", 1, "input_0"], before)
    assert_holds(records[0, "", 1, "input_1_0"], pair[0])
    assert_holds(records[0, "", 1, "input_1_1_k"], torch.zeros(2))
    assert_holds(records[0, "", 1, "input_1_1_n_a"], torch.arange(3))
    y = value(records[0, "linear", 1, "output"])
    assert_holds(records[0, "", 1, "output_first"], y)
    assert_holds(records[0, "", 1, "output_rest_0"], y * 2)
    assert_holds(records[0, "", 1, "output_rest_1_0"], y * 3)
    assert_holds(records[0, "scores", 1, "value"], y)
    assert_holds(records[0, "scores", 2, "value"], y + 1)
    assert recorder.never_fired == ["unused"]
    assert "1 module never ran: unused" in open_capture(tmp_path / "c").notes
    calls = [json.loads(line)["call"] for line in (tmp_path / "c/manifest.jsonl").open()
             if line.startswith('{"call"')]  # fmt: skip
    assert [(call["module"], call["n"]) for call in calls] == [("linear", 1), ("", 1)]
    assert calls[1]["kwargs"] == {"flag": True}
    assert calls[1]["args"][1][1]["dict"].keys() == {"k", "n/a"}
    assert calls[0]["parent"] == calls[1]["id"]


def test_a_write_that_torch_does_not_count_is_seen(tmp_path: Path) -> None:
    """Kernels that write through a pointer leave the version of a tensor as it is."""

    class Sneaky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.numpy()[...] = 5
            return x

    x, model = torch.zeros(70_000), Sneaky()
    with record(model, tmp_path / "c"):
        model(x)
    records = by_key(tmp_path / "c")
    assert_holds(records[0, "", 1, "input_0"], torch.zeros(70_000))
    assert_holds(records[0, "", 1, "output"], torch.full((70_000,), 5.0))


def test_equal_samples_are_not_enough_to_be_the_same(tmp_path: Path) -> None:
    x = torch.zeros(100_001)
    one = x.clone()
    one[77_777] = 1
    with record(None, tmp_path / "c") as recorder:
        for name, tensor in (("a", x), ("b", one), ("c", one.clone()), ("d", x.to(torch.int32))):
            recorder.add(name, tensor)
    records = {r.module: r for r in open_capture(tmp_path / "c").records}
    assert_holds(records["b"], one)
    assert records["b"].locator == records["c"].locator
    assert records["a"].locator != records["b"].locator
    assert_holds(records["d"], x.to(torch.int32))


def test_tap_below_a_module(tmp_path: Path) -> None:
    model = nn.Sequential(Block())
    with torch.no_grad(), record(model, tmp_path / "c", include="0.unused") as recorder:
        tap("outside", torch.ones(1))
        recorder.add("outside", torch.zeros(1))
        model[0](torch.ones(1, 3))
        tap("pair", (torch.ones(1), torch.zeros(1)))
    assert all(r.error is None for r in open_capture(tmp_path / "c").records)
    names = [r.module for r in open_capture(tmp_path / "c").records]
    assert names == ["outside", "outside", "0.scores", "0.scores", "pair_0", "pair_1"]


def test_tap_without_a_recording_does_nothing() -> None:
    x = torch.ones(1)
    assert tap("x", x) is x
    took = []
    for _ in range(3):
        started = time.thread_time()
        for _ in range(10_000):
            tap("x", x)
        took.append(time.thread_time() - started)
    assert min(took) < 0.2  # 20 us each, at the very most


@pytest.mark.parametrize("first", ["record", "Record"])
def test_record_is_a_function_whatever_was_imported_first(first: str, tmp_path: Path) -> None:
    code = (
        f"from layertui.capture import {first}\nfrom layertui.capture.records import Record\n"
        "from layertui.capture import record, tap\nimport layertui.capture.recorder, sys\n"
        f"with record(None, {str(tmp_path / 'c')!r}) as r: r.add('x', [1.0])\n"
        "assert isinstance(Record, type)\n"
        "print({'textual', 'rich', 'layertui.compare', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"
    assert len(open_capture(tmp_path / "c").records) == 1


def test_include_and_exclude(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with record(model, tmp_path / "c", include="*.layers.1.*", exclude=["*mlp*", "*norm"]):
        model(**inputs)
    modules = {r.module for r in open_capture(tmp_path / "c").records}
    inside = "model.layers.1.self_attn"
    assert modules == {inside, *(f"{inside}.{x}_proj" for x in "qkvo")}
    with record(model, tmp_path / "d", include=lambda name, m: isinstance(m, nn.Embedding)):
        model(**inputs)
    assert {r.module for r in open_capture(tmp_path / "d").records} == {"model.embed_tokens"}


def test_inputs_can_be_left_out(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with record(model, tmp_path / "c", inputs=False):
        model(**inputs)
    capture = open_capture(tmp_path / "c")
    assert {r.slot.split("_")[0] for r in capture.records} == {"output"}
    assert capture.input_ids == ids().tolist()
    text = (tmp_path / "c/manifest.jsonl").read_text()
    assert '"args": [{"tensor": {"shape": [1, 6, 16], "dtype": "float32"}}]' in text


@pytest.mark.parametrize(("steps", "kept"), [(2, {0, 1}), ([0, 3], {0, 3}), (range(2, 9), {2, 3})])
def test_chosen_steps(steps: Any, kept: set[int], tmp_path: Path) -> None:
    model, _ = make("llama")
    with record(model, tmp_path / "c", steps=steps, include="lm_head"):
        model.generate(ids(), max_new_tokens=4, do_sample=False)
    assert {r.step for r in open_capture(tmp_path / "c").records} == kept


def test_reused_and_tied_modules_count_their_calls(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)
            self.same = self.a

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(self.same(x))

    model, x = Twice(), torch.ones(1, 2)
    with torch.no_grad():
        with record(model, tmp_path / "c"):
            y = model(x)
        with record(model, tmp_path / "d", every_call=False):
            model(x)
    records = by_key(tmp_path / "c")
    assert_holds(records[0, "a", 1, "input_0"], x)
    assert_holds(records[0, "a", 2, "output"], y)
    assert (0, "same", 1, "output") not in records
    header = json.loads((tmp_path / "c/manifest.jsonl").open().readline())
    assert header["aliases"] == {"same": "a"}
    assert {key[2] for key in by_key(tmp_path / "d")} == {1}


def test_a_module_that_calls_itself(tmp_path: Path) -> None:
    class Down(nn.Module):
        def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
            return self(x + 1, n - 1) if n else x

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = Down()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down(x, 2)

    model = Root()
    with record(model, tmp_path / "c"):
        model(torch.zeros(1))
    records = by_key(tmp_path / "c")
    assert [value(records[0, "down", n, "input_0"]).item() for n in (1, 2, 3)] == [0, 1, 2]
    order = [(r.call, r.slot) for r in open_capture(tmp_path / "c").records if r.module == "down"]
    assert [call for call, slot in order if slot == "output"] == [3, 2, 1]


def test_statistics_only(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with torch.no_grad():
        with record(model, tmp_path / "c", stats_only=True):
            model(**inputs)
        with record(model, tmp_path / "full"):
            model(**inputs)
    assert not list((tmp_path / "c").glob("*.safetensors"))
    records = by_key(tmp_path / "c")
    assert open_capture(tmp_path / "c").complete is True
    for key, full in by_key(tmp_path / "full").items():
        found = records[key]
        assert (found.shape, found.dtype, found.error) == (full.shape, full.dtype, None)
        x = value(full).double()
        assert found.stats is not None
        assert found.stats["count"] == x.numel()
        assert found.stats["zeros"] == int((x == 0).sum())
        finite = x[torch.isfinite(x)]
        assert found.stats["min"] == finite.min()
        assert found.stats["max"] == finite.max()
        assert found.stats["mean"] == pytest.approx(float(finite.mean()), rel=1e-12, abs=1e-15)
        deviation = float(finite.std(correction=0))
        assert found.stats["std"] == pytest.approx(deviation, rel=1e-9, abs=1e-12)
        assert found.stats["l2"] == pytest.approx(float(finite.norm()), rel=1e-9)


def test_gradients_of_outputs(tmp_path: Path) -> None:
    model, inputs = make("gpt2")
    inputs["labels"] = inputs["input_ids"]
    seen: dict[str, torch.Tensor] = {}
    handles = [
        module.register_full_backward_hook(
            lambda m, gi, go, name=name: seen.__setitem__(name, go[0].clone())
        )
        for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)
    ]  # fmt: skip
    model(**inputs).loss.backward()
    for handle in handles:
        handle.remove()
    plain = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with record(model, tmp_path / "c", gradients=True):
        model(**inputs).loss.backward()
    assert all(torch.equal(plain[name], p.grad) for name, p in model.named_parameters()
               if p.grad is not None)  # fmt: skip
    records = by_key(tmp_path / "c")
    assert len(seen) == 5
    for name, gradient in seen.items():
        assert_holds(records[0, name, 1, "grad_output"], gradient)
    assert value(records[0, "", 1, "grad_output_loss"]).item() == 1
    assert records[0, "transformer.h.0.attn", 1, "grad_output_0"].error is None
    order = [r.module for r in open_capture(tmp_path / "c").records if r.slot == "grad_output"]
    assert order.index("lm_head") < order.index("transformer.h.1.ln_2")
    assert order.index("transformer.h.1.ln_2") < order.index("transformer.h.0.ln_1")


def test_operators_inside_one_attention(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with torch.no_grad():
        bare = model(**inputs).logits
        attention = model(**inputs, output_attentions=True).attentions[1]
        with record(model, tmp_path / "c", include="*.1.self_attn", level="op"):
            recorded = model(**inputs).logits
    assert torch.equal(bare, recorded)
    lines = [json.loads(line) for line in (tmp_path / "c/manifest.jsonl").open()]
    ops = [line for line in lines if line.get("op")]
    assert all(line["module"].startswith("model.layers.1.self_attn") for line in ops)
    records = by_key(tmp_path / "c")
    inside = "model.layers.1.self_attn"
    softmax = records[0, f"{inside}/aten._softmax.default", 1, "output"]
    assert_holds(softmax, attention)
    scores = records[0, f"{inside}/aten.bmm.default", 1, "output"]
    assert scores.shape == (4, 6, 6)
    assert (0, f"{inside}.q_proj/aten.mm.default", 1, "output") in records
    own = [line["op_index"] for line in ops if line["module"] == inside]
    assert own == list(range(1, len(own) + 1))
    source = next(line["source"] for line in ops if line["op"] == "aten._softmax.default")
    name, number = source.split(":")
    assert name == "modeling_llama.py"
    import transformers.models.llama.modeling_llama as modeling

    assert "softmax" in Path(str(modeling.__file__)).read_text().splitlines()[int(number) - 1]


def test_torch_files_as_the_print_hook_writes_them(tmp_path: Path) -> None:
    model, _ = make("llama")
    with record(model, tmp_path / "native"):
        model.generate(ids(), max_new_tokens=2, do_sample=False)
    with record(model, tmp_path / "pt", format="pt"):
        model.generate(ids(), max_new_tokens=2, do_sample=False)
    native, found = open_capture(tmp_path / "native"), open_capture(tmp_path / "pt")
    assert (found.format, found.order_source) == ("torch file", "tensor_names.txt")
    assert found.order_known
    ours = [(r.step, f"model{'.' * bool(r.module)}{r.module}", r.call, r.slot) for r in
            native.records]  # fmt: skip
    assert [(r.step, r.module, r.call, r.slot) for r in found.records] == ours
    for a, b in zip(native.records, found.records, strict=True):
        assert_holds(b, value(a))
    some = torch.load(tmp_path / "pt/1/model.lm_head-output.pt", weights_only=True)
    assert some.shape == (1, 1, 53)
    with record(model, tmp_path / "pt", format="pt", overwrite=True):
        model(ids())
    assert not (tmp_path / "pt/1").exists()


def test_arrays_that_no_module_made(tmp_path: Path) -> None:
    with record(None, tmp_path / "c", prompt="hello", meta={"model": "engine"}) as recorder:
        recorder.add("x", np.arange(6, dtype=">i4").reshape(2, 3).T, "input_0")
        recorder.add("x", torch.ones(2, dtype=torch.bfloat16), "output", module_class="Mul")
        recorder.add("x", 2.5, "output")
        recorder.add("y", np.array([1 + 2j]), step=3, call=2)
        recorder.add("z", torch.ones(2, 2).to(torch.float8_e4m3fn))
        recorder.meta(input_ids=[[1, 2]])
        with pytest.raises(CaptureError, match="numpy dtype"):
            recorder.add("bad", np.array([object()]))
        with pytest.raises(CaptureError, match="meta"):
            recorder.meta(bad=object())
    with pytest.raises(CaptureError, match="inside"):
        recorder.add("late", [1])
    capture = open_capture(tmp_path / "c")
    assert (capture.prompt, capture.model, capture.input_ids) == ("hello", "engine", [[1, 2]])
    assert capture.complete is True
    records = by_key(tmp_path / "c")
    assert value(records[0, "x", 1, "input_0"]).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert records[0, "x", 1, "output"].module_class == "Mul"
    assert value(records[0, "x", 2, "output"]).item() == 2.5
    assert value(records[3, "y", 2, "value"]).tolist() == [[1.0, 2.0]]
    assert records[0, "z", 1, "value"].dtype == "float8_e4m3fn"


def test_tensors_without_plain_values_are_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, meta: torch.Tensor, sparse: torch.Tensor) -> Any:
            nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
            return meta + 1, sparse, nested, torch.ones(1)

    sparse = torch.eye(3).to_sparse()
    model = Odd()
    with record(model, tmp_path / "c"):
        model(torch.ones(2, device="meta"), sparse)
    records = by_key(tmp_path / "c")
    assert records[0, "", 1, "input_0"].error == "not recorded: on device meta: has no values"
    assert "nested" in str(records[0, "", 1, "output_2"].error)
    assert_holds(records[0, "", 1, "input_1"], torch.eye(3))
    assert_holds(records[0, "", 1, "output_3"], torch.ones(1))
    warned = pytest.warns(RuntimeWarning, match="no files for model-input_0: on device meta")
    with warned, record(model, tmp_path / "pt", format="pt"):
        model(torch.ones(2, device="meta"), sparse)
    assert len(open_capture(tmp_path / "pt").records) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "layer"}, "level="), ({"format": "npz"}, "format="), ({"steps": 0}, "steps="),
        ({"include": "nothing.like.it"}, "leave no module"), ({"include": [3]}, "not a glob"),
        ({"format": "pt", "stats_only": True}, "stats_only"), ({"meta": {"x": object()}}, "meta"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=words), record(nn.Linear(1, 1), tmp_path / "c",
                                                          **options):  # fmt: skip
        raise AssertionError("entered")


def test_something_that_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"Recorder\.add"):
        record("model", tmp_path / "c")  # type: ignore[arg-type]
