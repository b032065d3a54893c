"""The engines whose names are known. A new one is a module of its own and a line here.

Of those with signs the first that is recognised counts.
"""

from __future__ import annotations

from .bert import BERT
from .fairseq import FAIRSEQ
from .gemma_cpp import GEMMA_CPP
from .gpt import GPT, GROUPED_GPT
from .graphs import ONNX, OPENVINO
from .home_made import HOME_MADE
from .hooks import MSPROBE
from .jax import KERAS, MAXTEXT
from .layer_dumps import LAYER_DUMPS
from .llama_cpp import LLAMA_CPP, LLAMA_CPP_GRAPH
from .megatron import MEGATRON
from .meta_llama import META_LLAMA
from .names import EngineNames
from .serving import VLLM
from .tensorrt_llm import TENSORRT_LLM, TENSORRT_LLM_UNGATED
from .transformer_lens import TRANSFORMER_LENS
from .vision import VISION

ENGINES: tuple[EngineNames, ...] = (
    ONNX, OPENVINO, MSPROBE, TRANSFORMER_LENS, MEGATRON, TENSORRT_LLM, TENSORRT_LLM_UNGATED, VLLM,
    MAXTEXT, VISION, GROUPED_GPT, GEMMA_CPP, LLAMA_CPP_GRAPH, LAYER_DUMPS, LLAMA_CPP,
    BERT, GPT, META_LLAMA, KERAS,
    FAIRSEQ, HOME_MADE,
)  # fmt: skip
