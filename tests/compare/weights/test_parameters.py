"""Parameters by canonical modules: on real captures the modules' own outputs are the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from layertui.capture import Capture, open_capture, record
from layertui.capture.load import load
from layertui.capture.values import upcast
from layertui.capture.weights import Weights, open_weights
from layertui.compare.comparison import open_comparison
from layertui.compare.matching.names.canonical import NameRules, canonical_name
from layertui.compare.weights.parameters import (
    ModuleFacts,
    SideParameters,
    Weight,
    facts_of_capture,
    facts_of_rows,
)

Array = Any
LLAMA_PROJECTIONS = 7 * 2 + 1  # of a model of two layers, with the head

torch.set_num_threads(1)


def saved(folder: Path, **tensors: torch.Tensor) -> Weights:
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return open_weights(folder)


def values(record: Any) -> Array:
    return upcast(load(record.locator), record.dtype)


def linear_errors(capture: Capture, parameters: SideParameters) -> dict[str, float]:
    """Relative error of `x W^T + b` against each recorded output that has one input of the size
    that its weight wants.
    """
    inputs: dict[tuple[str, int, int], Any] = {}
    errors: dict[str, float] = {}
    for entry in capture.records:
        module = canonical_name(entry.module, capture.root, NameRules()).module
        key = (module, entry.call, entry.step)
        if entry.slot in ("input_0", "input_hidden_states"):
            inputs[key] = values(entry)
        weight = parameters.weight(module)
        if entry.slot != "output" or weight is None or key not in inputs or len(weight.shape) != 2:
            continue
        x, y = inputs[key].astype(np.float64), values(entry).astype(np.float64)
        if x.shape[-1:] != weight.shape[1:] or y.shape[-1] != weight.shape[0]:
            continue
        expected = x @ weight.read().astype(np.float64).T
        bias = parameters.weight(module, "bias")
        if bias is not None:
            expected = expected + bias.read()
        errors[module] = float(np.linalg.norm(expected - y) / np.linalg.norm(y))
    return errors


def captured(model: torch.nn.Module, folder: Path, ids: torch.Tensor) -> Capture:
    with torch.no_grad(), record(model, folder):
        model(ids)
    return open_capture(folder)


def small(kind: str, auto: Any = AutoModelForCausalLM, **more: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    config = CONFIG_MAPPING[kind](
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **more}
    )
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases too, which start at 0
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


USUAL = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48,
}  # fmt: skip
IDS = torch.tensor([[3, 17, 42, 5, 9, 23]])


@pytest.mark.parametrize("side", ["torch_dump", "max_dump"])
def test_real_captures_of_both_frameworks(real: Path, side: str) -> None:
    capture = open_capture(real / "olmo2-f32" / side)
    weights = open_weights(real / "checkpoints" / "olmo2-f32")
    parameters = SideParameters(weights, facts_of_capture(capture))
    errors = linear_errors(capture, parameters)
    assert max(errors.values()) < 1e-6
    if side == "torch_dump":
        assert len(errors) == LLAMA_PROJECTIONS
    else:  # MAX records neither q, k, v, gate nor up
        assert {"layers.0.mlp.down_proj", "layers.1.mlp.down_proj"} <= errors.keys()
    for name, size in (("q_norm", 64), ("k_norm", 32)):
        assert parameters.weight(f"layers.1.self_attn.{name}").shape == (size,)  # type: ignore


@pytest.mark.parametrize(
    ("kind", "more", "fewest"),
    [
        ("gpt2", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}, 9),
        ("gpt_neox", USUAL, 9),
        ("phi3", USUAL, 9),
        ("qwen2", {**USUAL, "num_key_value_heads": 2}, 15),
        ("gpt_bigcode", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}, 9),
        ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}, 9),
        ("falcon", {**USUAL, "num_kv_heads": 2, "new_decoder_architecture": True}, 9),
    ],
)
def test_what_transformers_saves(
    tmp_path: Path, kind: str, more: dict[str, Any], fewest: int
) -> None:
    model = small(kind, **more)
    model.save_pretrained(tmp_path / "model")
    capture = captured(model, tmp_path / "run", IDS)
    weights = open_weights(tmp_path / "model")
    errors = linear_errors(capture, SideParameters(weights, facts_of_capture(capture)))
    assert len(errors) >= fewest
    assert max(errors.values()) < 1e-5, errors
    assert "lm_head" in errors  # tied in gpt2, bloom and gpt_bigcode: not in the file


def test_bert_with_and_without_its_prefix(tmp_path: Path) -> None:
    model = small("bert", AutoModel, **USUAL)
    model.save_pretrained(tmp_path / "model")
    capture = captured(model, tmp_path / "run", IDS)
    facts = facts_of_capture(capture)
    plain = open_weights(tmp_path / "model")
    names = {f"bert.{name}": parameter for name, parameter in plain.parameters.items()}
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): p
        for name, p in names.items()
    }
    for parameters in (plain.parameters, names, old):
        side = SideParameters(replace(plain, parameters=parameters), facts)
        errors = linear_errors(capture, side)
        assert len(errors) == 13
        assert max(errors.values()) < 1e-5
        norms = [m for m, fact in facts.items() if fact.kind == "LayerNorm"]
        assert len(norms) == 5
        for norm in norms:
            assert side.find(norm) is not None, norm
            assert side.find(norm, "bias") is not None, norm
    prefixed = {f"bert.{m}" if not m.startswith("layers") else m: f for m, f in facts.items()}
    side = SideParameters(plain, prefixed)
    assert side.find("bert.embeddings.LayerNorm") is side.weights.parameters[
        "embeddings.LayerNorm.weight"
    ]  # fmt: skip


def projections(model: torch.nn.Module, x: torch.Tensor, kind: str) -> dict[str, torch.Tensor]:
    """Queries, keys and values of layer 1 as the model's own code cuts them, [tokens, rows]."""
    inner: Any = model
    if kind == "gpt2":
        parts = inner.transformer.h[1].attn.c_attn(x).split(32, dim=2)
    elif kind == "phi3":
        parts = inner.model.layers[1].self_attn.qkv_proj(x).split([32, 16, 16], dim=2)
    elif kind == "gpt_bigcode":
        parts = inner.transformer.h[1].attn.c_attn(x).split([32, 8, 8], dim=2)
    elif kind == "gpt_neox":
        fused = inner.gpt_neox.layers[1].attention.query_key_value(x)
        parts = fused.view(1, -1, 4, 24).chunk(3, dim=-1)
    elif kind == "bloom":
        attention = inner.transformer.h[1].self_attention
        split = attention._reshape(attention.query_key_value(x))
        parts = [part.transpose(1, 2) for part in split]
    else:
        attention = inner.transformer.h[1].self_attention
        query, key, value = attention._split_heads(attention.query_key_value(x))
        if kind == "falcon":  # keys and values come repeated for every query
            key, value = key[:, :, ::2], value[:, :, ::2]
        parts = (query, key, value)
    names = ("q_proj", "k_proj", "v_proj")
    return {name: part.reshape(x.shape[1], -1) for name, part in zip(names, parts, strict=True)}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("gpt2", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
        ("gpt_bigcode", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
        ("phi3", {**USUAL, "num_key_value_heads": 2}),
        ("gpt_neox", USUAL),
        ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        ("falcon", {**USUAL, "num_kv_heads": 2, "new_decoder_architecture": True}),
        ("falcon-multi-query", {**USUAL, "multi_query": True}),
    ],
)
def test_parts_of_joined_projections(tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    model = small(kind.partition("-")[0], **more)
    model.save_pretrained(tmp_path)
    side = SideParameters(open_weights(tmp_path))
    x = torch.randn(1, 5, 32)
    with torch.no_grad():
        expected = projections(model, x, kind)
    for name, output in expected.items():
        module = f"layers.1.self_attn.{name}"
        weight, bias = side.weight(module), side.weight(module, "bias")
        assert weight is not None
        assert side.find(module) is None  # the file does not have it by itself
        ours = x[0].numpy() @ weight.read().T + (0 if bias is None else bias.read())
        assert np.abs(ours - output.numpy()).max() < 1e-5


def test_joined_of_parts(tmp_path: Path) -> None:
    """A dump of MAX has `qkv_proj` and `gate_up_proj` where the checkpoint has five matrices."""
    q, k, v = torch.randn(8, 4), torch.randn(2, 4), torch.randn(2, 4)
    bias = [torch.randn(len(part)) for part in (q, k, v)]
    layer = "model.layers.0.self_attn"
    tensors = {f"{layer}.{n}_proj.weight": t for n, t in zip("qkv", (q, k, v), strict=True)}
    tensors |= {f"{layer}.{n}_proj.bias": t for n, t in zip("qkv", bias, strict=True)}
    tensors |= {f"model.layers.0.mlp.{n}_proj.weight": torch.randn(6, 4) for n in ("gate", "up")}
    side = SideParameters(saved(tmp_path, **tensors))
    joined = side.weight("layers.0.self_attn.qkv_proj")
    assert joined is not None
    assert joined.shape == (12, 4)
    assert np.array_equal(joined.read(), torch.cat((q, k, v)).numpy())
    assert joined.names == tuple(f"{layer}.{n}_proj.weight" for n in "qkv")
    both = side.weight("layers.0.self_attn.kv_proj")
    assert both is not None
    assert np.array_equal(both.read(), torch.cat((k, v)).numpy())
    biases = side.weight("layers.0.self_attn.qkv_proj", "bias")
    assert biases is not None
    assert np.array_equal(biases.read(), torch.cat(bias).numpy())
    gate_up = side.weight("layers.0.mlp.gate_up_proj")
    assert gate_up is not None
    assert gate_up.shape == (12, 4)
    assert side.weight("layers.0.mlp.gate_up_proj", "bias") is None


def test_widths_come_from_the_captures_without_a_config(tmp_path: Path) -> None:
    weights = saved(tmp_path, **{"layers.0.self_attn.qkv_proj.weight": torch.randn(12, 4)})
    parent = "layers.0.self_attn"
    facts = {
        f"{parent}.q_proj": ModuleFacts(width=8), f"{parent}.k_proj": ModuleFacts(width=2),
    }  # fmt: skip
    assert SideParameters(weights, facts).weight(f"{parent}.v_proj").rows == slice(10, 12)  # type: ignore
    # by the matrix alone it would be three times four
    assert SideParameters(weights).weight(f"{parent}.v_proj").rows == slice(8, 12)  # type: ignore
    wrong = {
        f"{parent}.{n}_proj": ModuleFacts(width=w) for n, w in zip("qkv", (8, 8, 8), strict=True)
    }
    unsquare = saved(tmp_path / "u", **{f"{parent}.qkv_proj.weight": torch.randn(10, 4)})
    assert SideParameters(unsquare, wrong).weight(f"{parent}.v_proj") is None


def test_square_conv1d_follows_the_others(tmp_path: Path) -> None:
    """`c_proj` of an attention is square: its own shape tells nothing."""
    model = small("gpt2", vocab_size=64, n_embd=32, n_layer=1, n_head=4)
    model.save_pretrained(tmp_path)
    weights = open_weights(tmp_path)
    for config in (weights.config, {}):
        side = SideParameters(replace(weights, config=config))
        found = side.weight("layers.0.self_attn.o_proj")
        assert found is not None
        assert found.transposed
        plain: Any = model
        stored = plain.transformer.h[0].attn.c_proj.weight.detach().numpy()
        assert np.array_equal(found.read(), stored.T)
    assert not SideParameters(weights).weight("embed_tokens").transposed  # type: ignore


EXPERTS = {"num_key_value_heads": 2, "num_experts_per_tok": 2}


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_experts(tmp_path: Path, kind: str) -> None:
    """Stacked in the model; a checkpoint of Mixtral or Qwen has them apart, gpt-oss interleaved."""
    more: dict[str, Any] = {**USUAL, **EXPERTS, "num_local_experts": 4}
    if kind == "qwen3_moe":
        more |= {"num_experts": 4, "moe_intermediate_size": 48}
    if kind == "gpt_oss":
        more |= {"head_dim": 8}
    model: Any = small(kind, **more)
    model.save_pretrained(tmp_path)
    state = model.state_dict()
    side = SideParameters(open_weights(tmp_path))
    module = "layers.1.mlp.experts"
    stack = state["model.layers.1.mlp.experts.gate_up_proj"]
    down = state["model.layers.1.mlp.experts.down_proj"]
    gate, up = (stack[2, :, ::2].T, stack[2, :, 1::2].T) if kind == "gpt_oss" else stack[2].chunk(2)
    down = down[2].T if kind == "gpt_oss" else down[2]
    for part, expected in (("gate_proj", gate), ("up_proj", up), ("down_proj", down)):
        found = side.expert(module, 2, part)
        assert found is not None, part
        assert found.shape == tuple(expected.shape)
        assert np.array_equal(found.read(), expected.numpy())
        assert side.expert(module, 4, part) is None
    router = side.find("layers.1.mlp.gate_proj") or side.find("layers.1.mlp.router")
    assert router is not None
    stored = {name for name in side.weights.parameters if "experts" in name}
    assert stored
    if kind == "gpt_oss":
        raw = side.find(module, "gate_up_proj")
        assert raw is not None
        assert raw.locator.shape == (4, 32, 96)


def test_stacked_experts(tmp_path: Path) -> None:
    stack, down = torch.randn(3, 10, 4), torch.randn(3, 4, 5)
    name = "model.layers.0.mlp.experts"
    side = SideParameters(
        saved(tmp_path, **{f"{name}.gate_up_proj": stack, f"{name}.down_proj": down})
    )
    module = "layers.0.mlp.experts"
    assert side.find(module, "gate_up_proj").locator.shape == (3, 10, 4)  # type: ignore
    assert np.array_equal(side.expert(module, 1, "up_proj").read(), stack[1, 5:].numpy())  # type: ignore
    assert np.array_equal(side.expert(module, 2, "down_proj").read(), down[2].numpy())  # type: ignore


def test_quantised_weights_are_not_taken_for_numbers(tmp_path: Path) -> None:
    weights = saved(
        tmp_path,
        **{
            "layers.0.mlp.up_proj.weight": torch.zeros(4, 4, dtype=torch.int8),
            "layers.0.mlp.down_proj.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
            "layers.0.mlp.down_proj.weight_scale_inv": torch.ones(1, 1),
            "layers.0.mlp.gate_proj.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
        },
    )
    side = SideParameters(weights)
    assert side.weight("layers.0.mlp.up_proj") is None
    assert side.weight("layers.0.mlp.down_proj") is None
    assert side.weight("layers.0.mlp.gate_proj") is not None
    assert side.notes == [
        "weights are stored quantised (int8), which is not read",
        "weights are stored quantised (float8_e4m3fn), which is not read",
    ]


def test_two_parameters_with_one_canonical_name_are_not_guessed(tmp_path: Path) -> None:
    weights = saved(
        tmp_path,
        **{
            "h.0.attn.c_attn.weight": torch.ones(2),
            "layers.0.self_attn.qkv_proj.weight": torch.ones(2),
        },
    )
    assert SideParameters(weights).find("layers.0.self_attn.qkv_proj") is None
    # ... unless a capture says which it is
    known = {"layers.0.self_attn.qkv_proj": ModuleFacts(("h.0.attn.c_attn",))}
    found = SideParameters(weights, known).find("layers.0.self_attn.qkv_proj")
    assert found is weights.parameters["h.0.attn.c_attn.weight"]


def test_names_of_the_rules_file(tmp_path: Path) -> None:
    import re

    weights = saved(tmp_path, **{"stack.0.lin.weight": torch.ones(2)})
    names = NameRules(((re.compile(r"^stack\."), "layers."),), (("lin", "o_proj"),))
    assert SideParameters(weights, names=names).find("layers.0.self_attn.o_proj") is not None


def test_metas_names(real: Path) -> None:
    """Meta's own checkpoints: `layers.0.attention.wq`, `output`, `tok_embeddings`."""
    weights = open_weights(real / "weights" / "hf_sharded")
    metas = {
        "self_attn": "attention", "q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo",
        "mlp": "feed_forward", "gate_proj": "w1", "down_proj": "w2", "up_proj": "w3",
        "lm_head": "output", "embed_tokens": "tok_embeddings", "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip

    def renamed(name: str) -> str:
        return ".".join(metas.get(part, part) for part in name.removeprefix("model.").split("."))

    parameters = {renamed(name): p for name, p in weights.parameters.items()}
    assert "output.weight" in parameters
    side = SideParameters(replace(weights, parameters=parameters))
    usual = SideParameters(weights)
    for module in usual.modules():
        assert side.find(module) is usual.find(module)


def test_facts_of_the_rows_of_a_comparison(real: Path) -> None:
    comparison = open_comparison(
        str(real / "olmo2-f32" / "torch_dump"), str(real / "olmo2-f32" / "max_dump")
    )
    facts = facts_of_rows(
        comparison.rows, comparison.reference, comparison.candidate, comparison.rules
    )
    assert facts["layers.0.self_attn.q_proj"].width == 64
    assert facts["layers.0.self_attn.qkv_proj"].paths == (
        "model.layers.layers.0.self_attn.qkv_proj",
    )
    assert set(facts["embed_tokens"].paths) == {"model.model.embed_tokens", "model.embed_tokens"}


# Reading


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_blocks_rows_and_the_whole_agree(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    shape = data.draw(st.sampled_from([(7, 3), (1, 5), (5,), (0, 3), (4, 0), ()]))
    dtype = data.draw(
        st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64])
    )
    tensors = [torch.randn(shape).to(dtype) for _ in range(data.draw(st.integers(1, 3)))]
    folder = tmp_path_factory.mktemp("weights")
    weights = saved(folder, **{f"m{i}.weight": tensor for i, tensor in enumerate(tensors)})
    transposed = len(shape) == 2 and data.draw(st.booleans())
    pieces: list[Weight] = []
    expected: list[Array] = []
    for i, tensor in enumerate(tensors):
        whole = tensor.reshape(-1) if tensor.ndim == 0 else tensor
        whole = whole.T if transposed else whole
        bound = st.none() | st.integers(0, 8)
        rows = slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 2])))
        step = rows if shape and data.draw(st.booleans()) else None
        pieces.append(Weight(weights.parameters[f"m{i}.weight"], step, transposed))
        values = whole.double().numpy()
        expected.append(values if step is None else values[step])
    weight = replace(pieces[0], more=tuple(pieces[1:]))
    all_rows = np.concatenate(expected)
    assert weight.shape == all_rows.shape
    assert np.array_equal(weight.read(), all_rows)
    most = data.draw(st.integers(1, 40))
    seen = 0
    for first, block in weight.blocks(most):
        assert first == seen
        assert block.dtype == (np.float64 if dtype == torch.float64 else np.float32)
        assert block.size <= max(most, block[:1].size)
        assert np.array_equal(block, all_rows[first : first + len(block)])
        seen += len(block)
    assert seen == len(all_rows)
    wanted = data.draw(st.lists(st.integers(0, max(len(all_rows) - 1, 0)), max_size=6))
    if len(all_rows):
        assert np.array_equal(weight.take(wanted), all_rows[wanted])
    for beyond in (-1, len(all_rows)):
        with pytest.raises(IndexError):
            weight.take([beyond])
