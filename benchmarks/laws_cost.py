"""What the laws cost on a model of the shape of Llama 3.1 8B, in units of reading its weights once.

    OPENBLAS_NUM_THREADS=1 python benchmarks/laws_cost.py [--layers 4] [--tokens 64]
        [--work DIR] [--times 3]

Random weights in bfloat16: hidden 4096, 32 heads, 8 of them for keys and values, 14336 inner
channels, a vocabulary of 8192; 4 of the 32 layers are 1.9 GB, and the cost grows with the layers as
the unit does. The unit is mapping the checkpoint and making float32 of every weight once, in
blocks, in the same run and with the files in the page cache. Seconds are those of the processor,
which a busy machine changes less; all three are taken in turns, and the least of each counts. A
pair is compared by the policy that uses no laws (measuring alone), and as usual with the
checkpoint; the difference is what laws cost.
Three pairs: rounding alone, one factor of 1.01, and an error that no hypothesis explains, for which
all of them are tried.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from opening import cause_names, compared
from torch import Tensor

from layertui.capture import record
from layertui.compare.judging.policy import DtypePolicy, Policy
from trained_models.builds import candidate
from trained_models.planting import after, new_weight, noise

_BLOCK = 1 << 24  # weights that are made float32 at once


def write_model(folder: Path, layers: int) -> Any:
    """The reference, written as a Hugging Face directory."""
    config = transformers.LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=layers, vocab_size=8192,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, rms_norm_eps=1e-5,
        attn_implementation="sdpa", use_cache=False, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("meta"):
        model: Any = transformers.LlamaForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.normal_(0.0, 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its tables were on meta
    model.save_pretrained(folder)
    return model


def read_and_upcast(folder: Path) -> float:
    """Seconds of the processor for mapping every weight and making float32 of it once."""
    started = time.process_time()
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            low, high = entry["data_offsets"]
            raw = data[low:high].view(np.uint16)
            for start in range(0, raw.size, _BLOCK):
                wide = raw[start : start + _BLOCK].astype(np.uint32)
                np.left_shift(wide, 16, out=wide).view(np.float32)
    return time.process_time() - started


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, and what was run gave."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


def _judged(left: Path, right: Path, model: Path | None, policy: Policy | None) -> Any:
    comparison = compared(left, right, model, policy)
    return comparison.first_divergence()


def _middle(model: Any) -> Any:
    return model.model.layers[len(model.model.layers) // 2]


def _fault_scale(model: Any) -> None:
    new_weight(_middle(model).mlp.down_proj, lambda w: w * 1.01)


def _fault_unknown(model: Any) -> None:
    def noisy(x: Tensor) -> Tensor:
        size = x.float().square().mean(-1, keepdim=True).sqrt()
        return (x.float() + 0.1 * size * noise(x.shape)).to(x.dtype)

    after(_middle(model).mlp.up_proj, noisy)


_PAIRS: dict[str, Callable[[Any], None]] = {
    "rounding alone": lambda _: None, "a factor of 1.01": _fault_scale,
    "an error that nothing explains": _fault_unknown,
}  # fmt: skip


def _captured(model: Any, folder: Path, ids: Tensor) -> Path:
    model.name_or_path = model.config._name_or_path = ""
    with torch.no_grad(), record(model, folder, overwrite=True):
        model(input_ids=ids)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--times", type=int, default=3, help="runs, of which the best counts")
    parser.add_argument("--work", default=None, help="a directory with room for 3 GB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="layertui-laws-", dir=options.work) as name:
        folder = Path(name)
        sides = _captures(folder, options.layers, options.tokens)
        model = folder / "model"
        read_and_upcast(model)  # into the page cache
        size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
        print(f"{size / 1e9:.2f} GB of weights")
        for title, right in sides.items():
            _report(title, folder / "reference", right, model, options.times)


def _captures(folder: Path, layers: int, tokens: int) -> dict[str, Path]:
    """The candidates' captures by what is wrong, and `reference` and `model` beside them."""
    reference = write_model(folder / "model", layers)
    ids = torch.randint(0, 8192, (1, tokens), generator=torch.Generator().manual_seed(1))
    _captured(reference, folder / "reference", ids)
    found = {}
    for title, plant in _PAIRS.items():
        other = candidate(reference, own_code=False)
        plant(other)
        found[title] = _captured(other, folder / title.replace(" ", "-"), ids)
    return found


def _report(title: str, left: Path, right: Path, model: Path, times: int) -> None:
    unit = alone = whole = float("inf")
    first = None
    for _ in range(times):
        unit = min(unit, read_and_upcast(model))
        alone = min(alone, seconds(lambda: _judged(left, right, None, DtypePolicy()))[0])
        spent, first = seconds(lambda: _judged(left, right, model, None))
        whole = min(whole, spent)
    causes = cause_names(first)
    said = f"{first.module}, causes {causes}" if first is not None else "no divergence"
    print(f"{title}: reading the weights {unit:.2f} s, measuring {alone:.2f} s, with laws "
          f"{whole:.2f} s; laws cost {whole - alone:.2f} s, {(whole - alone) / unit:.2f} x "
          f"reading the weights ({said})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
