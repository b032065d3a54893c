"""Tiny models for `faults.py`: seven families, another build of each, and captures of both.

The reference is transformers' model. The candidate is a copy of it in which every Linear adds up
its product in four parts and rounds in between, and every root mean square norm stays in float32
to its end, so that all values differ by rounding. The capture of a candidate exists in two forms:
as torch names things, and as MAX does (ragged, q, k and v fused, no records of what MAX runs
without a module, the last token only behind the layers). Any capture can be thinned out, for what
users have who do not record everything.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from layertui.capture import open_capture, record
from layertui.capture.demo.model import Linear
from layertui.capture.load import load

VOCABULARY, TOKENS, HEAD = 320, 48, 16
FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2", "mixtral")
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "attn_implementation": "eager", "use_cache": False, "tie_word_embeddings": False,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"head_dim": HEAD, "attention_bias": True}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": HEAD}),
    "mistral": ("Mistral", {"head_dim": HEAD, "sliding_window": 8}),
    "gemma2": ("Gemma2", {"head_dim": HEAD, "sliding_window": 8}),
    "mixtral": ("Mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2}),
}


def build_reference(
    family: str, layers: int, dtype: torch.dtype, seed: int = 0, massive: bool = False
) -> nn.Module:
    """A model with weights large enough for every part to matter. `massive` makes one channel of
    the first token of `token_ids(seed)` a thousand times as large as the others from the second
    layer on, as it is in trained models.
    """
    torch.manual_seed(seed)
    if family == "gpt2":
        config: Any = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=64, n_layer=layers, n_head=4, n_positions=128,
            bos_token_id=1, eos_token_id=2, attn_implementation="eager", use_cache=False,
        )  # fmt: skip
        model: nn.Module = transformers.GPT2LMHeadModel(config)
    else:
        name, more = _CLASSES[family]
        config = getattr(transformers, f"{name}Config")(
            num_hidden_layers=layers, **{**_SIZES, **more}
        )
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.1)
            elif "norm" in name or "ln_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(6.0 if "q_proj" in name or "k_proj" in name else 4.0)
        if massive:
            _make_massive(model, token_ids(seed))
    return model.to(dtype).eval()


_MASSIVE, _CHANNEL = 1000.0, 11  # times the usual size, and the channel that is


def _make_massive(model: Any, ids: Tensor) -> None:
    """One inner channel of the second MLP answers to the first token alone, and writes into one
    channel; where the MLP's output is normalised, or made by experts, the token's embedding has it.
    """
    inner = getattr(model, "model", None) or model.transformer
    layers = inner.layers if hasattr(inner, "layers") else inner.h
    mlp = layers[1].mlp
    if hasattr(layers[1], "post_feedforward_layernorm") or hasattr(mlp, "experts"):
        rows = inner.embed_tokens.weight
        rows[ids[0, 0], _CHANNEL] = _MASSIVE * rows.square().mean().sqrt()
        return
    seen: list[Tensor] = []
    hooks = [
        mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0][0])),
        layers[1].register_forward_hook(
            lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
        ),
    ]
    model.eval()(input_ids=ids)
    for hook in hooks:
        hook.remove()
    wanted = torch.zeros(ids.shape[1])
    wanted[0] = 1.0
    answer = torch.linalg.lstsq(seen[0], wanted[:, None], driver="gelsd").solution[:, 0]
    size = _MASSIVE * float(seen[1].square().mean().sqrt())
    if hasattr(mlp, "c_fc"):
        # Rounding moves the other tokens about 0, and gelu passes half of that on: the bias cuts
        # them off.
        mlp.c_fc.weight[:, 0], mlp.c_fc.bias[0] = 40.0 * answer, -10.0
        column, given = mlp.c_proj.weight[0], 30.0  # of gelu
    else:
        mlp.gate_proj.weight[0] = mlp.up_proj.weight[0] = 30.0 * answer
        column, given = mlp.down_proj.weight[:, 0], 30.0 * 30.0  # of silu times up
    column.zero_()[_CHANNEL] = size / given


def saved(model: Any, folder: Path) -> Path:
    """Write a model as the directory that a comparison is given."""
    model.save_pretrained(folder)
    return folder


def token_ids(seed: int = 0) -> Tensor:
    """Ids of one prompt, some of them more than once."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY // 4, (1, TOKENS), generator=generator)


class SummedLinear(Linear):
    """A Linear, or GPT-2's Conv1D, that sums in parts of the inner axis, last first."""

    def __init__(self, source: nn.Module) -> None:
        weight: Any = source.weight
        bias: Any = source.bias
        turned = isinstance(source, transformers.pytorch_utils.Conv1D)
        super().__init__(weight.T.contiguous() if turned else weight, bias)


def as_tf32(x: Tensor) -> Tensor:
    """Float32 rounded to TF32's ten bits of mantissa."""
    bits = x.float().contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).to(x.dtype)


class CoarseLinear(SummedLinear):
    """A Linear whose factors are rounded to TF32, as tensor cores do."""

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.linear(as_tf32(x), as_tf32(self.weight))
        return out if self.bias is None else out + self.bias


class WideNorm(nn.Module):
    """A root mean square norm in float32 to the end."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(source.weight.clone(), False)
        self.epsilon: float = getattr(source, "variance_epsilon", None) or source.eps
        self.plus_one = "Gemma" in type(source).__name__

    def forward(self, x: Tensor) -> Tensor:
        wide, weight = x.float(), self.weight.float()
        root = (wide.square().mean(-1, keepdim=True) + self.epsilon).sqrt()
        return (wide / root * (1 + weight if self.plus_one else weight)).to(x.dtype)


def other_build(
    reference: nn.Module, dtype: torch.dtype, linear: type[SummedLinear] = SummedLinear
) -> nn.Module:
    """The candidate before any fault: the same weights, other arithmetic."""
    model = copy.deepcopy(reference).to(dtype)
    for name, module in list(model.named_modules()):
        parent = model.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if isinstance(module, nn.Linear | transformers.pytorch_utils.Conv1D):
            setattr(parent, leaf, linear(module))
        elif type(module).__name__.endswith("RMSNorm"):
            setattr(parent, leaf, WideNorm(module))
    return model


def capture_torch(model: nn.Module, folder: Path, ids: Tensor) -> Path:
    """Run the model once with every record taken, in the native format."""
    with torch.no_grad(), record(model, folder, overwrite=True):
        model(input_ids=ids)
    return folder


# Captures of a part of the records

_LAYER = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)$")
PARTS: dict[str, Callable[[str, str], bool]] = {
    "outputs": lambda _, slot: slot.startswith("output"),
    "layers": lambda module, slot: bool(_LAYER.search(module)) and slot.startswith("output"),
    "logits": lambda module, slot: module == "lm_head" and slot == "output",
}


def thinned_out(source: Path, folder: Path, part: str) -> Path:
    """The records of a capture that belong to one of `PARTS`, as `.pt` files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names: list[str] = []
    for module, slot, tensor in all_tensors(source):
        if PARTS[part](module, slot):
            names.append(f"{module or 'model'}-{slot}")
            torch.save(tensor.clone(), folder / f"{names[-1]}.pt")
    (folder / "tensor_names.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


# MAX-like

_DROPPED = ("rotary_emb", "gate_proj", "up_proj", "act_fn", "act", "dropout", "resid_dropout",
            "attn_dropout", "drop")  # fmt: skip
_FUSED = ("q_proj", "k_proj", "v_proj")


def write_max_like(source: Path, folder: Path) -> Path:
    """The same run as MAX would have written it."""
    shutil.rmtree(folder, ignore_errors=True)
    step = folder / "0"
    step.mkdir(parents=True)
    names: list[str] = []
    for name, tensor in _renamed(all_tensors(source)):
        torch.save(tensor.clone(), step / f"{name}.pt")
        names.append(name)
    (step / "tensor_names.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def all_tensors(folder: Path) -> Iterator[tuple[str, str, Tensor]]:
    for one in open_capture(folder).records:
        assert one.locator is not None and one.dtype is not None
        raw = load(one.locator).copy()
        dtype = getattr(torch, one.dtype)
        flat = torch.from_numpy(raw.reshape(-1).view("u1")) if raw.size else torch.empty(0)
        yield one.module, one.slot, flat.view(dtype).reshape(one.shape or ())


def _renamed(records: Iterator[tuple[str, str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    waiting: dict[str, Tensor] = {}
    for module, slot, tensor in records:
        leaf = module.rpartition(".")[2]
        ids = not tensor.is_floating_point()
        inner = module.removeprefix("model.").removeprefix("transformer.")
        if leaf in _DROPPED or inner in ("model", "transformer") or slot.startswith("input_pos"):
            continue
        if "mask" in slot or (ids and leaf not in ("embed_tokens", "wte", "gate", "experts")):
            continue
        if leaf == "self_attn" and slot == "output_1":
            continue
        ragged = tensor.squeeze(0) if tensor.dim() > 1 and tensor.shape[0] == 1 else tensor
        if inner in ("norm", "ln_f", "lm_head") or (not inner and slot.startswith("output")):
            ragged = ragged[-1:]
        name = f"model.{'layers.' if inner.startswith(('layers', 'h.')) else ''}{inner}".rstrip(".")
        if leaf in _FUSED:
            waiting[f"{leaf}-{slot}"] = ragged
            if leaf == "v_proj" and slot == "output":
                fused = name.removesuffix("v_proj") + "qkv_proj"
                yield f"{fused}-input_0", waiting["q_proj-input_0"]
                yield f"{fused}-output", torch.cat([waiting[f"{p}-output"] for p in _FUSED], -1)
            continue
        yield f"{name}-{_slot(leaf, slot)}", ragged


def _slot(leaf: str, slot: str) -> str:
    return "input_0" if leaf in ("self_attn", "attn") and slot.startswith("input_h") else slot
