"""A llama with the module tree and return conventions of serving engines (vLLM, SGLang), and the
classes of vLLM that run it: flat rows of tokens, joined projections, norms that carry the residual.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import nn


class Joined(nn.Linear):
    """A parallel linear layer: returns its output and a bias that is not added."""

    def forward(self, input: torch.Tensor) -> Any:  # noqa: A002
        return super().forward(input), None


class CarryingNorm(nn.Module):
    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight), eps

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
        if residual is not None:
            residual.add_(x)  # in place, as the fused kernel does
            x = residual
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
        return normed if residual is None else (normed, residual)


class Rotary(nn.Module):
    def __init__(self, size: int, base: float) -> None:
        super().__init__()
        self.size, self.base = size, base

    def forward(self, positions: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> Any:
        steps = torch.arange(0, self.size, 2) / self.size
        angles = positions[:, None].float() * (1.0 / self.base**steps)
        cos, sin = (torch.cat((part, part), -1)[:, None] for part in (angles.cos(), angles.sin()))

        def turned(x: torch.Tensor) -> torch.Tensor:
            heads = x.view(len(positions), -1, self.size)
            a, b = heads.chunk(2, -1)
            return (heads * cos + torch.cat((-b, a), -1) * sin).reshape(x.shape)

        return turned(q), turned(k)


class CoreAttention(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.view(len(x), -1, self.size).transpose(0, 1) for x in (q, k, v))
        many = q.shape[0] // k.shape[0]
        k, v = (x.repeat_interleave(many, 0) for x in (k, v))
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(0, 1).reshape(out.shape[1], -1)


class Attention(nn.Module):
    def __init__(self, source: Any, config: Any) -> None:
        super().__init__()
        parts = [source.q_proj.weight, source.k_proj.weight, source.v_proj.weight]
        self.sizes = [len(part) for part in parts]
        self.qkv_proj = joined(torch.cat(parts))
        self.rotary_emb = Rotary(source.head_dim, config.rope_parameters["rope_theta"])
        self.attn = CoreAttention(source.head_dim)
        self.o_proj = joined(source.o_proj.weight)

    def forward(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        qkv, _ = self.qkv_proj(hidden_states)
        q, k, v = qkv.split(self.sizes, -1)
        q, k = self.rotary_emb(positions, q, k)
        output, _ = self.o_proj(self.attn(q, k, v))
        return output


class SiluAndMul(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, -1)
        return nn.functional.silu(gate) * up


class FeedForward(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.gate_up_proj = joined(torch.cat([source.gate_proj.weight, source.up_proj.weight]))
        self.act_fn = SiluAndMul()
        self.down_proj = joined(source.down_proj.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate_up, _ = self.gate_up_proj(x)
        output, _ = self.down_proj(self.act_fn(gate_up))
        return output


class DecoderLayer(nn.Module):
    def __init__(self, source: Any, config: Any) -> None:
        super().__init__()
        eps = config.rms_norm_eps
        self.input_layernorm = CarryingNorm(source.input_layernorm.weight.clone(), eps)
        self.self_attn = Attention(source.self_attn, config)
        self.post_attention_layernorm = CarryingNorm(
            source.post_attention_layernorm.weight.clone(), eps
        )
        self.mlp = FeedForward(source.mlp)

    def forward(
        self, positions: torch.Tensor, hidden_states: torch.Tensor, residual: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if residual is None:
            residual = hidden_states.clone()
            hidden_states = self.input_layernorm(hidden_states)
        else:
            hidden_states, residual = self.input_layernorm(hidden_states, residual)
        hidden_states = self.self_attn(positions=positions, hidden_states=hidden_states)
        hidden_states, residual = self.post_attention_layernorm(hidden_states, residual)
        return self.mlp(hidden_states), residual


class Inner(nn.Module):
    def __init__(self, source: Any, config: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding.from_pretrained(source.embed_tokens.weight.detach())
        self.layers = nn.ModuleList(DecoderLayer(layer, config) for layer in source.layers)
        self.norm = CarryingNorm(source.norm.weight.clone(), config.rms_norm_eps)

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        hidden, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            hidden, residual = layer(positions, hidden, residual)
        hidden, _ = self.norm(hidden, residual)
        return hidden


class LogitsProcessor(nn.Module):
    def forward(self, lm_head: nn.Linear, hidden_states: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden_states, lm_head.weight)


class ServingLlama(nn.Module):
    """Made of a model of transformers, with the same weights."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        with torch.no_grad():
            self.config = source.config
            self.model = Inner(source.model, source.config)
            self.lm_head = nn.Linear(*reversed(source.lm_head.weight.shape), bias=False)
            self.lm_head.weight.copy_(source.lm_head.weight)
            self.logits_processor = LogitsProcessor()

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, positions)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.logits_processor(self.lm_head, hidden_states)


def joined(weight: torch.Tensor) -> Joined:
    with torch.no_grad():
        layer = Joined(weight.shape[1], weight.shape[0], bias=False)
        layer.weight.copy_(weight)
    return layer


# -- vLLM's side


class Scheduled:
    """What a scheduler hands to workers: here just the tokens."""

    def __init__(self, ids: list[int], start: int = 0) -> None:
        self.total_num_scheduled_tokens = len(ids)
        self.ids, self.start = ids, start


def install_engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package `vllm` whose workers have the names and methods of the real ones; returns the class
    of its workers, made with a model.
    """

    class WorkerBase:
        def __init__(self, vllm_config: Any, rank: int = 0) -> None:
            self.vllm_config, self.rank = vllm_config, rank
            self.model_runner: Any = None

        def get_model(self) -> nn.Module:
            raise NotImplementedError

        def execute_model(self, scheduler_output: Scheduled) -> Any:
            raise NotImplementedError

        def shutdown(self) -> None:
            return

    class Runner:
        def __init__(self, model: nn.Module) -> None:
            self.model: Any = model
            self.hidden: Any = None

        @torch.inference_mode()
        def execute_model(self, scheduled: Scheduled) -> None:
            if not scheduled.total_num_scheduled_tokens:
                return
            ids = torch.tensor(scheduled.ids)
            positions = torch.arange(scheduled.start, scheduled.start + len(ids))
            self.hidden = self.model(input_ids=ids, positions=positions)

        @torch.inference_mode()
        def sample_tokens(self) -> int:
            return int(self.model.compute_logits(self.hidden).argmax(-1)[-1])

        @torch.inference_mode()
        def _dummy_run(self, tokens: int) -> None:
            self.model(
                input_ids=torch.zeros(tokens, dtype=torch.long), positions=torch.arange(tokens)
            )

    class Worker(WorkerBase):
        def load_model(self, model: nn.Module) -> None:
            self.model_runner = Runner(model)

        def get_model(self) -> nn.Module:
            return self.model_runner.model

        def compile_or_warm_up_model(self) -> None:
            self.model_runner._dummy_run(32)

        def execute_model(self, scheduler_output: Scheduled) -> None:
            return self.model_runner.execute_model(scheduler_output)

        def sample_tokens(self, grammar_output: Any) -> int:
            return self.model_runner.sample_tokens()

        def execute_dummy_batch(self) -> None:
            self.model_runner._dummy_run(1)

    names = ("vllm", "vllm.v1", "vllm.v1.worker", "vllm.v1.worker.worker_base")
    modules: list[Any] = [types.ModuleType(name) for name in names]
    modules[0].__version__ = "0.15.0"
    modules[-1].WorkerBase = WorkerBase
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    return Worker
