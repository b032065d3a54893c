"""The engines whose names are known. A new one is a module of its own and a line here."""

from __future__ import annotations

from .bert import BERT
from .gpt import GPT
from .layer_dumps import LAYER_DUMPS
from .llama_cpp import LLAMA_CPP
from .meta_llama import META_LLAMA
from .names import EngineNames

ENGINES: tuple[EngineNames, ...] = (LAYER_DUMPS, LLAMA_CPP, BERT, GPT, META_LLAMA)
