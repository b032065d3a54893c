"""Hugging Face directories of tiny random models, written by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

IDS = [3, 40, 41, 42, 50, 60, 70, 71, 72, 90]
IDS_TEXT = ",".join(map(str, IDS))


def llama_config() -> Any:
    return transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1, pad_token_id=2, head_dim=16,
        tie_word_embeddings=False, architectures=["LlamaForCausalLM"], dtype="float32",
    )  # fmt: skip


def olmo2_config() -> Any:
    """Its norms use an eps that MAX 26.7 does not hand on to `q_norm` and `k_norm`."""
    return transformers.Olmo2Config(
        vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1, pad_token_id=2,
        tie_word_embeddings=False, dtype="float32",
    )  # fmt: skip


def other_config(kind: str) -> Any:
    """Kinds of models that MAX does not run on a CPU, or not at all: qwen3, gemma3, bloom."""
    sizes: dict[str, Any] = {
        "vocab_size": 320, "hidden_size": 64, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": 2, "dtype": "float32",
    }  # fmt: skip
    if kind == "bloom":
        return transformers.BloomConfig(
            **sizes, n_layer=2, n_head=4, architectures=["BloomForCausalLM"]
        )
    made, name = {
        "qwen3": (transformers.Qwen3Config, "Qwen3ForCausalLM"),
        "gemma3": (transformers.Gemma3TextConfig, "Gemma3ForCausalLM"),
    }[kind]
    return made(
        **sizes, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=128, architectures=[name],
    )  # fmt: skip


def write_llama(folder: Path) -> Path:
    """A checkpoint with weights large enough that every layer matters, and a tokenizer.

    Its weights are those of the captures `llama*-f32` in tests/data.
    """
    return write_causal(folder, llama_config())


def write_causal(folder: Path, config: Any, dtype: torch.dtype = torch.float32) -> Path:
    """The same for any causal model. With another dtype, weights are rounded once."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.1 * torch.randn_like(weight))
            else:
                weight.mul_(4)
    model = model.to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """One token a byte, as byte-level tokenizers have it, behind three special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<pad>", *letters])}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


def write_llava(folder: Path) -> Path:
    """A model of images and text, config only, with its processor."""
    sizes: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }  # fmt: skip
    folder.mkdir()
    write_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes, image_size=16, patch_size=8),
        text_config=transformers.LlamaConfig(**sizes, vocab_size=320),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        architectures=["LlavaForConditionalGeneration"],
    ).save_pretrained(folder)
    pixels = transformers.CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    transformers.LlavaProcessor(
        image_processor=pixels, tokenizer=tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_config(folder: Path, config: Any) -> Path:
    """A directory with a config only."""
    folder.mkdir()
    config.save_pretrained(folder)
    return folder


def with_wrong_weight(checkpoint: Path, folder: Path, name: str) -> Path:
    """A copy of a checkpoint in which one weight of one matrix is wrong."""
    model = transformers.LlamaForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        model.get_parameter(name)[3, 5] += 0.5
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def index_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "index.json").read_text())["cases"]
