"""What recording costs: a model with a capture, without, with hooks that `torch.save` what they
see, and merely writing the same bytes.

    python benchmarks/capture_overhead.py [--hidden 1024] [--layers 8] [--tokens 512] [--repeat 5]
        [--device cuda] [--stats-only | --dump-on-mismatch]

The model is a Llama with random weights, on the CPU unless told otherwise; what is dumped on
mismatch is compared with a capture of statistics of the same run. "Writing" writes the bytes of the
capture's shards again, a MiB at a time, each file brought to the disk, from memory and with nothing
else going on. "Hooks" are what people write first: a forward hook on every module that saves the
tensors of its inputs and outputs, a file each (nothing is brought to the disk). The bar: with
capture <= without + 1.5 x writing. Exit status 1 when it is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from layertui.capture import open_capture, record

ALLOWED = 1.5


def main() -> int:
    options = _options()
    model, ids = _model(options)
    folder = Path(tempfile.mkdtemp(prefix="layertui-", dir=options.folder))
    try:
        result = _measure(model, ids, folder, options)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2) if options.json else _text(result))
    return 0 if result["within_bar"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What recording costs.")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", help="where to write, a temporary directory by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stats-only", action="store_true")
    parser.add_argument("--dump-on-mismatch", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _model(options: argparse.Namespace) -> tuple[torch.nn.Module, torch.Tensor]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 3,
        num_hidden_layers=options.layers,
        num_attention_heads=16,
        num_key_value_heads=4,
        attn_implementation="eager",
    )
    ids = torch.randint(0, 1000, (1, options.tokens))
    return LlamaForCausalLM(config).eval().to(options.device), ids.to(options.device)


def _measure(
    model: torch.nn.Module, ids: torch.Tensor, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Medians in seconds, the four kinds of runs taking turns."""
    plain, captured, written, hooked = [], [], [], []
    with torch.no_grad():
        if options.dump_on_mismatch:
            with record(model, folder / "reference", stats_only=True):
                model(ids)
        model(ids)
        for _ in range(options.repeat):
            plain.append(_seconds(lambda: model(ids)))
            shutil.rmtree(folder / "c", ignore_errors=True)
            captured.append(_seconds(lambda: _capture(model, ids, folder / "c", options)))
            shards = [path.read_bytes() for path in (folder / "c").glob("data-*")]
            written.append(_write(folder, shards))
            shutil.rmtree(folder / "h", ignore_errors=True)
            hooked.append(_seconds(lambda: _hooked(model, ids, folder / "h")))
            bytes_hooked = sum(path.stat().st_size for path in (folder / "h").iterdir())
    capture = open_capture(folder / "c")
    without, within, writing = median(plain), median(captured), median(written)
    return {
        "records": len(capture.records),
        "bytes_recorded": capture.nbytes,
        "bytes_written": sum(map(len, shards)),
        "without_capture_s": without,
        "with_capture_s": within,
        "writing_s": writing,
        "hooks_s": median(hooked),
        "bytes_by_hooks": bytes_hooked,
        "slowdown": within / without,
        "cost_in_writings": (within - without) / writing if writing else None,
        "within_bar": within <= without + ALLOWED * writing,
    }


def _capture(
    model: torch.nn.Module, ids: torch.Tensor, path: Path, options: argparse.Namespace
) -> None:
    reference = path.parent / "reference" if options.dump_on_mismatch else None
    with record(model, path, stats_only=options.stats_only, dump_on_mismatch=reference):
        model(ids)


def _hooked(model: torch.nn.Module, ids: torch.Tensor, path: Path) -> None:
    """A plain hook on every module, and `torch.save` of each tensor that it is given."""
    path.mkdir()
    count = 0

    def save(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal count
        outputs = output.values() if isinstance(output, dict) else output
        members = outputs if isinstance(output, (tuple, list, dict)) else (output,)
        for value in (*args, *kwargs.values(), *members):
            for tensor in value if isinstance(value, tuple) else (value,):
                if isinstance(tensor, torch.Tensor):
                    torch.save(tensor, path / f"{count}.pt")
                    count += 1

    handles = [module.register_forward_hook(save, with_kwargs=True) for module in model.modules()]
    try:
        model(ids)
    finally:
        for handle in handles:
            handle.remove()


def _write(folder: Path, contents: list[bytes]) -> float:
    """Seconds for files with these contents."""

    def write() -> None:
        for number, content in enumerate(contents):
            with open(folder / f"plain-{number}", "wb", buffering=0) as file:
                for start in range(0, len(content), 1 << 20):
                    file.write(memoryview(content)[start : start + (1 << 20)])
                os.fsync(file.fileno())

    taken = _seconds(write)
    for path in folder.glob("plain-*"):
        path.unlink()
    return taken


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _text(result: dict[str, Any]) -> str:
    cost = result["cost_in_writings"]
    return "\n".join(
        (
            f"records            {result['records']}, {result['bytes_recorded'] / 1e6:.1f} MB, "
            f"of which {result['bytes_written'] / 1e6:.1f} MB are written",
            f"without capture    {result['without_capture_s']:.3f} s",
            f"with capture       {result['with_capture_s']:.3f} s ({result['slowdown']:.2f} x)",
            f"with hooks         {result['hooks_s']:.3f} s, "
            f"{result['bytes_by_hooks'] / 1e6:.1f} MB by torch.save",
            f"writing the bytes  {result['writing_s']:.3f} s",
            f"cost of capture    {'-' if cost is None else f'{cost:.2f}'} x writing, "
            f"{'within' if result['within_bar'] else 'ABOVE'} the bar of {ALLOWED} x",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
