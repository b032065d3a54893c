"""What settings of a run are about, and which of them change numbers: a table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..laws.config_names import OF_CAUSES, OF_LAWS
from .finding import Severity


@dataclass(frozen=True, slots=True)
class Topic:
    """Settings that are reported together. `words` come before the differences."""

    name: str
    severity: Severity
    code: str
    words: str
    advice: str


_EQUAL = "make equal what should be equal"
MODEL = Topic("model", "warning", "config", "the runs differ in", _EQUAL)
QUANTISATION = Topic("quantisation", "warning", "config", "the runs are quantised in another way:",
                     "compare runs that keep weights and caches alike, or expect errors of that "
                     "size")  # fmt: skip
PRECISION = Topic("precision", "warning", "numerics", "the runs round in another way:",
                  "set both alike: a coarser one explains errors of its own rounding")  # fmt: skip
OTHERS = Topic("others", "warning", "config", "the runs differ in", _EQUAL)
GENERATION = Topic("generation", "warning", "config", "the runs generate in another way:",
                   "later steps are compared on other tokens as soon as one is chosen "
                   "otherwise")  # fmt: skip
KERNELS = Topic("kernels", "note", "numerics", "other kernels may have run:",
                "sums in another order differ by rounding alone")  # fmt: skip
VERSIONS = Topic("versions", "note", "versions", "versions differ:", "kernels may differ")
ONE_SIDED = Topic("one-sided", "note", "config", "only one config says", "the other model's "
                  "default applies there: check that it is the same")  # fmt: skip
UNIMPORTANT = Topic("unimportant", "note", "settings", "also different, with no effect on numbers:",
                    "nothing needs to be done")  # fmt: skip

# In the order in which they are reported: what changes numbers most comes first.
TOPICS = (MODEL, QUANTISATION, PRECISION, GENERATION, OTHERS, KERNELS, VERSIONS, ONE_SIDED,
          UNIMPORTANT)  # fmt: skip

# Keys of a config that change what a model computes, by the names of `laws.config_names`.
_KNOWN = {name for names in (*OF_CAUSES.values(), *OF_LAWS.values()) for name in names} | {
    "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "tie_word_embeddings",
    "model_type", "num_experts", "num_local_experts", "max_window_layers", "qk_norm",
    "use_qk_norm", "rotary_dim", "mrope_section", "embedding_size", "ffn_hidden_size",
    "moe_intermediate_size", "head_dim",
}  # fmt: skip
# A config that lacks one of these says that it is not there; it has no default of the model.
_ABSENT = re.compile(r"^(?:rope\..*|sliding_window|attention_chunk_size|\w*softcap\w*|\w*soft_cap|"
                     r"alibi|swiglu_limit|clip_qkv|\w+_multiplier|\w*bias)$")  # fmt: skip
_SECTIONS = tuple(name for name in _KNOWN if name.endswith("."))
_QUANTISED = re.compile(r"(?:^|\.)(?:quantization|quantisation|quantization_config|quant_method|"
                        r"kv_cache_dtype|cache_dtype|load_in_\dbit)(?:\.|$)")  # fmt: skip
# What has no bearing on what a model computes in evaluation mode.
_COSMETIC = re.compile(
    r"(?:^|\.)(?:_name_or_path|name_or_path|_commit_hash|architectures|transformers_version|"
    r"(?:torch_)?dtype|use_cache|auto_map|\w+_token_id|id2label|label2id|output_\w+|return_dict\w*|"
    r"problem_type|initializer_\w+|gradient_checkpointing|\w*dropout\w*|torchscript|"
    r"finetuning_task|task_specific_params|_attn_implementation\w*|chunk_size_feed_forward|"
    r"num_threads|is_decoder|_from_model_config|keys_to_ignore_at_inference|tokenizer_class|"
    r"router_aux_loss_coef|max_position_embeddings|seq_length|model_max_length|unsloth_\w+)(?:\.|$)"
)
_ROUNDING = re.compile(
    r"(?:matmul_precision|tf32|reduced_precision|fp16_accumulation|default_dtype|autocast|x64|"
    r"TF32|FPMATH|MATMUL_PRECISION|ENABLE_X64|XLA_FLAGS|(?:^|run\.|engine\.)dtype$)"
)


def topic_of_config(key: str) -> Topic:
    """What a key of a model's config is about, by its one name and the path of its section."""
    if _QUANTISED.search(key):
        return QUANTISATION
    if key in _KNOWN or key.startswith(_SECTIONS):
        return MODEL
    return UNIMPORTANT if _COSMETIC.search(key) else OTHERS


def absent_is_off(key: str) -> bool:
    """Whether a config without `key` says that there is no such thing: no window, no scaling."""
    return bool(_ABSENT.search(key))


def topic_of_setting(key: str) -> Topic:
    """What a key of a header is about: `environment.numerics.attention`, `run.attention`."""
    if _QUANTISED.search(key):
        return QUANTISATION
    if key.startswith("adapters."):
        return MODEL
    if key == "environment.versions.numpy":
        return UNIMPORTANT
    if key.startswith(("environment.versions.", "environment.hardware.")):
        return VERSIONS
    if _ROUNDING.search(key):
        return PRECISION
    if key.startswith("generation."):
        return UNIMPORTANT if _COSMETIC.search(key) else GENERATION
    if key.startswith(("environment.", "engine.")) or key == "run.attention":
        return KERNELS
    return UNIMPORTANT if _COSMETIC.search(key) else OTHERS
