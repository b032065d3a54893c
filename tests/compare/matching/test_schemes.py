"""One run under many naming schemes: every record finds its own, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from layertui.capture.open import open_capture
from layertui.capture.records import Capture, Record
from layertui.compare.matching.align import align

Scheme = Callable[[str], str]


def layer(text: str) -> Scheme:
    return lambda name: re.sub(r"layers\.(\d+)", lambda m: text.format(int(m[1])), name)


def renamed(*pairs: tuple[str, str]) -> Scheme:
    def scheme(name: str) -> str:
        for old, new in pairs:
            name = re.sub(old, new, name)
        return name

    return scheme


MEGATRON = renamed(
    (r"^model\.layers", "decoder.layers"), (r"^model\.embed_tokens", "embedding.word_embeddings"),
    (r"self_attn", "self_attention"), (r"o_proj", "linear_proj"), (r"down_proj", "linear_fc2"),
    (r"post_attention_layernorm", "pre_mlp_layernorm"), (r"^lm_head", "output_layer"),
    (r"^model\.norm", "decoder.final_layernorm"),
)  # fmt: skip
TENSORRT_LLM = renamed(
    (r"^model\.", "transformer."), (r"embed_tokens", "vocab_embedding"),
    (r"self_attn", "attention"), (r"o_proj", "dense"), (r"gate_proj", "fc"),
    (r"post_attention_layernorm", "post_layernorm"), (r"up_proj", "gate"),
    (r"down_proj", "proj"), (r"transformer\.norm", "transformer.ln_f"),
)  # fmt: skip
MAXTEXT = renamed(
    (r"^model\.layers\.(\d+)", r"decoder.layers_\1"), (r"self_attn", "self_attention"),
    (r"q_proj", "query"), (r"k_proj", "key"), (r"v_proj", "value"), (r"o_proj", "out"),
    (r"gate_proj", "wi_0"), (r"up_proj", "wi_1"), (r"down_proj", "wo"),
    (r"input_layernorm", "pre_self_attention_layer_norm"),
    (r"post_attention_layernorm", "post_self_attention_layer_norm"),
    (r"^model\.norm", "decoder.decoder_norm"), (r"^model\.embed_tokens", "token_embedder"),
    (r"^lm_head", "decoder.logits_dense"),
)  # fmt: skip
LINEARS = renamed(  # ESPnet and Megatron's unfused projections
    ("self_attn", "self_attention"),
    (r"([qkv])_proj", r"linear_\1"),
    ("o_proj", "linear_out"),
)
DISTILBERT = renamed((r"([qkv])_proj", r"\1_lin"), ("o_proj", "out_lin"))
DIFFUSERS = renamed(("self_attn", "attn"), (r"([qkv])_proj", r"to_\1"))
CAMELS = renamed(
    ("self_attn", "selfAttn"), (r"([qkvo])_proj", r"\1Proj"), ("gate_proj", "gateProj"),
    ("up_proj", "upProj"), ("down_proj", "downProj"), ("input_layernorm", "inputLayernorm"),
    ("post_attention_layernorm", "postAttentionLayernorm"), ("embed_tokens", "embedTokens"),
    ("lm_head", "lmHead"), ("act_fn", "actFn"),
)  # fmt: skip


def behind(name: str) -> str:
    """`self_attn_q_proj_0`: the layer at the end."""
    found = re.match(r"model\.layers\.(\d+)\.(.*)$", name)
    if found is None:
        return layer("layer_{}")(name).rpartition(".")[2]
    return f"{found[2].replace('.', '_')}_{found[1]}"


SCHEMES: dict[str, Scheme] = {
    "as it is": lambda name: name,
    "a class in front": lambda name: f"LlamaForCausalLM.{name}",
    "debugger": lambda name: f"LlamaForCausalLM.{name}_outputs",
    "dot output": lambda name: f"{name}.output",
    "slash output": lambda name: f"{name.replace('.', '/')}/output",
    "underscore output": lambda name: f"{name}_output",
    "out": lambda name: f"{name}.out",
    "underscore out": lambda name: f"{name}_out",
    "output of several": lambda name: f"{name}.output.0",
    "plural of several": lambda name: f"{name}.outputs.0",
    "member": lambda name: f"{name}.0",
    "member by a slash": lambda name: f"{name}/0",
    "flax": lambda name: layer("layers_{}")(name).replace(".", "/") + "/__call__",
    "slashes": lambda name: name.replace(".", "/"),
    "colons": lambda name: name.replace(".", ":"),
    "underscores": lambda name: name.replace(".", "_"),
    "two underscores": lambda name: name.replace(".", "__"),
    "dashes": lambda name: name.replace(".", "-"),
    "layer in one component": layer("layer_{:02}"),
    "a letter": layer("L{:02}"),
    "blocks": layer("blocks.{}"),
    "a block": layer("block{}"),
    "brackets": layer("layers[{}]"),
    "h": layer("h.{}"),
    "prefix of a hook": lambda name: f"non_intrusive__{name}.output",
    "words in front": lambda name: f"activations/student/{name}",
    "an ending of their own": lambda name: f"{name}.fwd",
    "camels": CAMELS,
    "layer behind": behind,
    "msprobe": lambda name: f"Module.{name}.Linear.forward.0.output.0",
    "Megatron": MEGATRON,
    "TensorRT-LLM": TENSORRT_LLM,
    "MaxText": MAXTEXT,
    "ESPnet": LINEARS,
    "DistilBERT": DISTILBERT,
    "diffusers": DIFFUSERS,
    "exporter's modules": lambda name: f"__module.{name}",
    "encoder only": renamed((r"^model\.", "encoder.")),
}


@pytest.fixture
def run(real: Path) -> Capture:
    capture = open_capture(str(real / "llama-f32" / "torch_dump"))
    outputs = [r for r in capture.records if r.slot in ("output", "output_0") and r.module]
    names = {
        "model": None, "model.model": None, "model.model.rotary_emb": None,
    }  # fmt: skip
    return replace(capture, records=[r for r in outputs if r.module not in names])


def under(capture: Capture, scheme: Scheme, order: bool = False) -> Capture:
    records: list[Record] = []
    for record in capture.records:
        name = scheme(record.module.removeprefix("model."))
        records.append(
            replace(record, name=name, module=name, slot="value", key=record.name)
        )  # fmt: skip
    return replace(capture, records=records, root="", order_known=order)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_record_finds_its_own(run: Capture, name: str) -> None:
    result = align(run, under(run, SCHEMES[name]))
    wrong = [
        (row.reference.name, row.candidate.name)
        for row in result.rows
        if row.reference and row.candidate and row.candidate.key != row.reference.name
    ]
    left = [r.reference.name for r in result.rows if r.kind == "gap_reference" and r.reference]
    assert (wrong, left) == ([], [])


@pytest.mark.parametrize("one", ["underscores", "member", "Megatron", "flax", "layer behind"])
@pytest.mark.parametrize("other", ["slash output", "TensorRT-LLM", "camels", "debugger"])
def test_schemes_against_each_other(run: Capture, one: str, other: str) -> None:
    result = align(under(run, SCHEMES[one]), under(run, SCHEMES[other]))
    assert [row.kind for row in result.rows] == ["pair"] * len(run.records)
    assert all(r.reference and r.candidate and r.reference.key == r.candidate.key
               for r in result.rows)  # fmt: skip
