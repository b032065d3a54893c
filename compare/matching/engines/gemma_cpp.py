"""llama.cpp's Gemma 2 and 3, whose layers have norms before and behind both of their parts."""

from __future__ import annotations

from .llama_cpp import PLAIN_NORMS, RESULTS
from .names import EngineNames

GEMMA_CPP = EngineNames(
    "llama.cpp (Gemma)",
    signs=(
        (r"^attn_post_norm-\d+(?:-|$)",), (r"^ffn_post_norm-\d+(?:-|$)",),
        (r"^blk\.\d+\.post_attention_norm\b",), (r"^blk\.\d+\.post_ffw_norm\b",),
    ),
    results=RESULTS,
    ends_early=True,
    quantities=(
        *PLAIN_NORMS,
        (r"^attn_post_norm-(\d+)$", r"layers.\1.post_attention_layernorm", "output"),
        (r"^ffn_norm-(\d+)$", r"layers.\1.pre_feedforward_layernorm", "output"),
        (r"^ffn_post_norm-(\d+)$", r"layers.\1.post_feedforward_layernorm", "output"),
        (r"^blk\.(\d+)\.post_attention_norm$", r"layers.\1.post_attention_layernorm", None),
        (r"^blk\.(\d+)\.ffn_norm$", r"layers.\1.pre_feedforward_layernorm", None),
        (r"^blk\.(\d+)\.post_ffw_norm$", r"layers.\1.post_feedforward_layernorm", None),
        (r"^(?:sa_out|ffn_inp)-(\d+)$", r"layers.\1.pre_feedforward_layernorm", "input_0"),
    ),
)  # fmt: skip
