"""Single layers of MAX models, compiled and run by the installed MAX on the CPU.

Every model lives in a process of its own, as it does in use: MAX prints natively and may abort
when an interpreter ends. The checkpoints have the weights that the captures in tests/data were
made with: MAX must give its captured numbers again. Matrices and tables give them bit by bit; norms
and attention sum in another order alone than fused with what stands before them in a whole model.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from layertui.capture import open_capture
from layertui.capture.load import load
from support.tiny_checkpoints import (
    IDS,
    llama_config,
    olmo2_config,
    write_causal,
    write_llama,
)

# Tests of one group run in one process, one after another: what one compiles is in MAX's cache for
# the next.
pytestmark = pytest.mark.max

Tensors = Mapping[str, torch.Tensor]
ROUNDING = 1e-13  # MSE that two float32 implementations may differ by
BF16_ROUNDING = 1e-4
EXACT = {"Linear", "StackedLinear", "MLP", "Embedding"}
STACK = "model.layers.layers"


class Held:
    """A model in a process of its own."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self.layers: dict[str, Any] = {}
        self.said: list[str] = []
        self.error = ""
        answer = self._answer()
        if isinstance(answer, str):
            self.error = answer
        else:
            self.layers = {info.name: info for info in answer}

    def rerun(self, name: str, inputs: Tensors, extra: Tensors | None = None) -> Any:
        """`RerunOutputs`, or the words of a `RerunError`."""
        self._pipe.send((name, dict(inputs), dict(extra or {})))
        return self._answer()

    def output(self, name: str, inputs: Tensors, extra: Tensors | None = None) -> torch.Tensor:
        """The only output."""
        answer = self.rerun(name, inputs, extra)
        assert not isinstance(answer, str), answer
        (tensor,) = answer.outputs.values()
        return tensor

    def _answer(self) -> Any:
        while True:
            kind, what = self._pipe.recv()
            if kind == "progress":
                self.said.append(what)
            else:
                return what


def _hold(pipe: Any, directory: str, options: dict[str, Any]) -> None:
    os.environ.pop("XDG_CACHE_HOME", None)  # MAX keeps what it compiled where it always does
    from layertui.capture.runners.layers import RerunError
    from layertui.capture.runners.max_layers import MaxLayers

    def tell(text: str) -> None:
        pipe.send(("progress", text))

    try:
        held = MaxLayers(directory, progress=tell, **options)
        pipe.send(("answer", held.layers()))
        while (asked := pipe.recv()) is not None:
            try:
                answer: Any = held.rerun(*asked)
            except RerunError as error:
                answer = str(error)
            pipe.send(("answer", answer))
    except RerunError as error:
        pipe.send(("answer", str(error)))
        pipe.recv()
    finally:
        os._exit(0)


@contextmanager
def holding(directory: Path, **options: Any) -> Iterator[Held]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(there, str(directory), options))
    process.start()
    there.close()
    try:
        yield Held(here)
        here.send(None)
    finally:
        process.join(timeout=10)
        process.kill()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with holding(write_llama(tmp_path_factory.mktemp("llama") / "llama")) as held:
        yield held


class Dump:
    """The tensors of one capture, by name as the framework has it."""

    def __init__(self, path: Path, step: int | None = None) -> None:
        self._records = {
            record.name: record for record in open_capture(path).records
            if step is None or record.step == step
        }  # fmt: skip

    def __getitem__(self, name: str) -> torch.Tensor:
        record = self._records[name]
        array = load(record.locator)
        if str(record.dtype) == "bfloat16":
            return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(np.array(array))

    def inputs(self, module: str) -> dict[str, torch.Tensor]:
        names = [name for name in self._records if name.startswith(f"{module}-input_")]
        return {name.rpartition("-")[2]: self[name] for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self._records


def mse(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(((a.double().reshape(-1) - b.double().reshape(-1)) ** 2).mean())


def assert_again(again: torch.Tensor, captured: torch.Tensor, module_class: str) -> None:
    """MAX's captured output, from MAX's captured input."""
    assert again.dtype == captured.dtype and again.shape == captured.shape
    if module_class in EXACT:
        assert torch.equal(again, captured)
    else:
        assert mse(again, captured) < ROUNDING


def own_names(held: Held, dump: Dump) -> list[str]:
    """Layers that MAX captured the inputs and the output of."""
    return [
        name for name, info in held.layers.items()
        if info.reruns and f"{name}-output" in dump and set(info.inputs) <= set(dump.inputs(name))
    ]  # fmt: skip


@pytest.mark.xdist_group("llama in max")
def test_every_layer_of_a_llama(llama: Held, real: Path) -> None:
    ours, theirs = Dump(real / "llama-f32/max_dump"), Dump(real / "llama-f32/torch_dump")
    names = own_names(llama, ours)
    assert len(names) == 3 + 2 * 8
    for name in names:
        again = llama.output(name, ours.inputs(name))
        assert_again(again, ours[f"{name}-output"], llama.layers[name].module_class)
    kinds = {text.split(":")[0] for text in llama.said if text.startswith("compiling ")}
    assert {"compiling RMSNorm", "compiling MLP", "compiling TransformerBlock"} <= kinds

    for part, slot in [("", "input_1"), (".self_attn", "input_1"), (".mlp", "input_0"),
                       (".mlp.gate_proj", "input_0"), (".mlp.up_proj", "input_0")]:  # fmt: skip
        for layer in range(2):
            module = f"model.model.layers.{layer}{part}"
            at = "input_hidden_states" if part == ".self_attn" else "input_0"
            out = "output_0" if part == ".self_attn" else "output"
            given = {slot: theirs[f"{module}-{at}"][0]}
            answer = llama.rerun(f"{STACK}.{layer}{part}", given)
            assert mse(answer.outputs["output"], theirs[f"{module}-{out}"]) < ROUNDING, module
            if layer == 1:
                assert answer.compile_seconds == 0, "compiled for layer 0 already"


@pytest.mark.xdist_group("llama in max")
def test_decode_steps_and_batches_read_the_past(llama: Held, real: Path) -> None:
    """Two sequences of different lengths at once, the past as transformers keeps it."""
    model = transformers.AutoModelForCausalLM.from_config(llama_config(), dtype=torch.float32)
    model.load_state_dict(llama_weights())
    model.eval()
    past, hidden, wanted = [], [], []
    for ids in (IDS, [5, 6, 7]):
        with torch.no_grad():
            cache = model(torch.tensor([ids]), use_cache=True).past_key_values
            kept = [(layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1))
                    for layer in cache.layers]  # fmt: skip
            heard: list[Any] = []
            layer = model.model.layers[1]
            hook = layer.register_forward_hook(lambda m, a, out, h=heard: h.append((a[0], out)))
            model(torch.tensor([[9, 8]]), past_key_values=cache)
            hook.remove()
        past.append(kept[1])
        hidden.append(heard[0][0][0])
        wanted.append(heard[0][1][0])
    name = f"{STACK}.1"
    for number in range(2):
        keys, values = past[number]
        extra = {"past_keys": keys, "past_values": values}
        alone = llama.output(name, {"input_1": hidden[number]}, extra)
        assert mse(alone, wanted[number]) < ROUNDING
        assert mse(llama.output(name, {"input_1": hidden[number]}), wanted[number]) > 1e-3
    extra = {
        "past_keys": torch.cat([keys for keys, _ in past]),
        "past_values": torch.cat([values for _, values in past]),
        "past_offsets": torch.tensor([0, 10, 13]), "row_offsets": torch.tensor([0, 2, 4]),
    }  # fmt: skip
    assert mse(llama.output(name, {"input_1": torch.cat(hidden)}, extra),
               torch.cat(wanted)) < ROUNDING  # fmt: skip
    unsure = llama.rerun(name, {"input_1": torch.cat(hidden)},
                         {k: v for k, v in extra.items() if k != "past_offsets"})  # fmt: skip
    assert "past_offsets must say" in unsure

    batch = Dump(real / "llama_batch_steps-f32/max_dump", step=0)
    inputs = batch.inputs(name)
    assert len(inputs["input_4"]) > 2, "several sequences"
    assert mse(llama.output(name, inputs), batch[f"{name}-output"]) < ROUNDING


def llama_weights() -> dict[str, torch.Tensor]:
    """The weights of `write_llama`."""
    import tempfile

    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        return load_file(write_llama(Path(folder) / "llama") / "model.safetensors")


@pytest.mark.xdist_group("others in max")
def test_olmo2_q_norm_is_wrong_and_the_norm_after_attention_is_not(
    real: Path, tmp_path: Path
) -> None:
    """MAX 26.7 makes `q_norm` and `k_norm` of olmo2 with eps 1e-6, whatever the config says."""
    ours, theirs = Dump(real / "olmo2-f32/max_dump"), Dump(real / "olmo2-f32/torch_dump")
    with holding(write_causal(tmp_path / "olmo2", olmo2_config())) as olmo2:
        for part, single in [("self_attn.q_norm", 3.2e-6), ("self_attn.k_norm", 4.0e-6),
                             ("post_attention_layernorm", 2.6e-15)]:  # fmt: skip
            name, module = f"{STACK}.0.{part}", f"model.model.layers.0.{part}"
            reference = theirs[f"{module}-output"]
            injected = olmo2.output(name, {"input_0": theirs[f"{module}-input_0"][0]})
            assert mse(injected, reference) == pytest.approx(single, rel=0.05)
            assert mse(ours[f"{name}-output"], reference) > 1e-6, "as captured all three differ"
            again = olmo2.output(name, ours.inputs(name))
            assert mse(again, ours[f"{name}-output"]) < ROUNDING


@pytest.mark.xdist_group("others in max")
def test_bfloat16_where_it_is_asked_for(real: Path, tmp_path: Path) -> None:
    folder = write_causal(tmp_path / "llama", llama_config(), torch.bfloat16)
    with holding(folder) as refused:
        assert "--allow-unsupported" in refused.error and "\n" not in refused.error
    ours, theirs = Dump(real / "llama-bf16/max_dump"), Dump(real / "llama-bf16/torch_dump")
    with holding(folder, allow_unsupported=True) as llama:
        for part in (".input_layernorm", ".self_attn", ".mlp"):
            name = f"{STACK}.1{part}"
            again = llama.output(name, ours.inputs(name))
            assert again.dtype == torch.bfloat16
            assert mse(again, ours[f"{name}-output"]) < BF16_ROUNDING, name
        module = "model.model.layers.1.self_attn"
        given = {"input_1": theirs[f"{module}-input_hidden_states"][0].float()}
        injected = llama.output(f"{STACK}.1.self_attn", given)
        assert mse(injected, theirs[f"{module}-output_0"]) < BF16_ROUNDING


@pytest.mark.xdist_group("others in max")
def test_layers_of_the_module_interface_v3(real: Path, tmp_path: Path) -> None:
    ours = Dump(real / "llama_v3-f32/max_dump")
    with holding(write_llama(tmp_path / "llama"), module_api="v3") as llama:
        for part in ("input_layernorm", "self_attn", "mlp"):
            for layer in range(2):
                name = f"model.language_model.layers.{layer}.{part}"
                answer = llama.rerun(name, ours.inputs(name))
                assert mse(answer.outputs["output"], ours[f"{name}-output"]) < ROUNDING, name
                assert layer == 0 or answer.compile_seconds == 0, "compiled for layer 0 already"


@pytest.mark.xdist_group("llama in max")
def test_what_does_not_fit_is_one_line(llama: Held) -> None:
    norm, attention = f"{STACK}.0.input_layernorm", f"{STACK}.0.self_attn"
    rows = torch.zeros(3, 64)
    for name, inputs, extra, words in [
        ("model.nonsense", {}, {}, "no layer model.nonsense"),
        ("model", {}, {}, "whole model"),
        ("model.layers", {}, {}, "never calls it"),
        (norm, {}, {}, "input_0 is missing; the layer takes float32 [tokens, 64]"),
        (norm, {"input_0": rows[None]}, {}, "input_0 is float32 [1, 3, 64]"),
        (norm, {"input_0": torch.zeros(3, 65)}, {}, "input_0 is float32 [3, 65]"),
        (norm, {"input_0": torch.zeros(3, 64, dtype=torch.int64)}, {}, "input_0 is int64"),
        (norm, {"input_0": torch.zeros(0, 64)}, {}, "empty"),
        (attention, {"input_1": rows}, {"row_offsets": torch.tensor([0, 2])}, "from 0 to 3"),
        (attention, {"input_1": rows}, {"past_keys": rows}, "go together"),
        (attention, {"input_1": rows}, dict.fromkeys(("past_keys", "past_values"),
                                                     torch.zeros(5, 4, 16)), "[5, 2, 16]"),
        (attention, {"input_1": torch.zeros(129, 64)}, {}, "takes 128"),
    ]:  # fmt: skip
        said = llama.rerun(name, inputs, extra)
        assert isinstance(said, str) and words in said and "\n" not in said, said
