"""Tiny random models of many families, and what plain hooks see of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from layertui.capture import Record, open_capture
from layertui.capture.load import load

Model = tuple[nn.Module, dict[str, Any]]
VOCABULARY = 53
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": None,
}  # fmt: skip


def ids(length: int = 6, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


def _language(config: str, kind: str, **more: Any) -> Model:
    settings = getattr(transformers, config)(
        **{**SIZES, "num_key_value_heads": 2, "attn_implementation": "eager", **more}
    )
    return getattr(transformers, kind)(settings), {"input_ids": ids()}


def llama() -> Model:
    return _language("LlamaConfig", "LlamaForCausalLM")


def qwen3() -> Model:
    return _language("Qwen3Config", "Qwen3ForCausalLM", head_dim=8)


def gemma3() -> Model:
    return _language(
        "Gemma3TextConfig", "Gemma3ForCausalLM", head_dim=8, sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip


def mixtral() -> Model:
    return _language(
        "MixtralConfig", "MixtralForCausalLM", num_local_experts=4, num_experts_per_tok=2
    )


def gpt2() -> Model:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=4, n_positions=64,
        bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), {"input_ids": ids()}


def bert() -> Model:
    config = transformers.BertConfig(**{**SIZES, "eos_token_id": 2})
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    return transformers.BertModel(config), {"input_ids": ids(), "attention_mask": mask}


def t5() -> Model:
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)
    return model, {"input_ids": ids(), "decoder_input_ids": ids(3)}


def vit() -> Model:
    config = transformers.ViTConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        image_size=16, patch_size=8,
    )  # fmt: skip
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    return transformers.ViTModel(config), {"pixel_values": image}


def cnn() -> Model:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    return model, {"input": image}


FAMILIES: dict[str, Callable[[], Model]] = {
    maker.__name__: maker for maker in (llama, qwen3, gemma3, gpt2, mixtral, bert, t5, vit, cnn)
}


def make(family: str) -> Model:
    """A model in evaluation mode with weights that are the same every time."""
    torch.manual_seed(0)
    model, inputs = FAMILIES[family]()
    return model.eval(), inputs


Key = tuple[int, str, int, str]  # step, module, call, slot


@contextmanager
def plain_hooks(model: nn.Module) -> Iterator[dict[Key, torch.Tensor]]:
    """Clones of all inputs and outputs in nested tuples and dicts, by hooks and nothing else.

    Caches are left out: a plain hook sees one object that the whole model writes to.
    """
    seen: dict[Key, torch.Tensor] = {}
    calls: dict[str, int] = {}
    running: dict[str, list[int]] = {}
    step = -1

    def note(key: tuple[int, str, int], slot: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            seen[(*key, slot)] = value.detach().clone()
        elif isinstance(value, (tuple, list)):
            for i, part in enumerate(value):
                note(key, f"{slot}_{i}", part)
        elif isinstance(value, dict) or dataclasses.is_dataclass(value):
            for name, part in dict(value).items():
                note(key, f"{slot}_{name}", part)

    def hooks(name: str) -> tuple[Any, Any]:
        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal step
            if not name:
                step += 1
                calls.clear()
            calls[name] = calls.get(name, 0) + 1
            running.setdefault(name, []).append(calls[name])
            for i, value in enumerate(args):
                note((max(step, 0), name, calls[name]), f"input_{i}", value)
            for word, value in kwargs.items():
                note((max(step, 0), name, calls[name]), f"input_{word}", value)

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            note((max(step, 0), name, running[name].pop()), "output", output)

        return before, after

    handles = []
    for name, module in model.named_modules():
        before, after = hooks(name)
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def raw_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_holds(record: Record, tensor: torch.Tensor) -> None:
    """The record has exactly the bits, shape and dtype of `tensor`."""
    assert record.error is None, record.error
    assert record.locator is not None
    assert record.shape == tuple(tensor.shape)
    assert record.dtype == str(tensor.dtype).removeprefix("torch.")
    assert np.asarray(load(record.locator)).tobytes() == raw_bytes(tensor)


def by_key(path: Path) -> dict[Key, Record]:
    records = open_capture(path).records
    found = {(r.step, r.module, r.call, r.slot): r for r in records}
    assert len(found) == len(records)
    return found


def value(record: Record) -> torch.Tensor:
    assert record.locator is not None and record.dtype is not None
    raw = np.array(load(record.locator))
    flat = torch.from_numpy(raw.reshape(-1).view(np.uint8))
    return flat.view(getattr(torch, record.dtype)).reshape(raw.shape)
