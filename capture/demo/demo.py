"""Two captures to try the program on: a small model run twice, the second time with a fault.

Written with plain forward hooks in the layout of MAX's TorchPrintHook: `0/<name>.pt`, one tensor
each, and `0/tensor_names.txt`, the names in execution order. Run as a program in a process of its
own (`main`), because it needs torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..run_metadata import write_metadata
from . import CANDIDATE_FACTORY, REFERENCE_FACTORY
from .factories import DTYPES, build_candidate, described
from .faults import FAULTS, Fault, fault_named

if TYPE_CHECKING:
    from torch import nn
    from transformers import LlamaForCausalLM


__all__ = [
    "DTYPES", "FAULTS", "capture_pair", "keep_parameters", "main", "record_call", "write_candidate",
]  # fmt: skip


def capture_pair(
    folder: str,
    fault: Fault,
    *,
    seed: int = 0,
    dtype: str = "float32",
    report: Callable[[str], None] = lambda _: None,
) -> tuple[str, str]:
    """Write both captures below `folder`; returns the paths of reference and candidate.

    `report` gets a line before each part of the work, which takes seconds.
    """
    report("loading torch and transformers")
    from .model import build_reference, reference_arguments

    report("building the model")
    model = build_reference(seed, dtype)
    reference, candidate = os.path.join(folder, "reference"), os.path.join(folder, "candidate")
    report("running the reference")
    record_call(model, reference, **reference_arguments())
    keep_parameters(model, reference)
    _describe(reference, REFERENCE_FACTORY, described(None, seed, dtype), dtype, seed)
    report(f"running the candidate ({fault.description})")
    write_candidate(model, fault, candidate)
    _describe(candidate, CANDIDATE_FACTORY, described(fault.name, seed, dtype), dtype, seed)
    return reference, candidate


def _describe(path: str, factory: str, model: str, dtype: str, seed: int) -> None:
    """Write beside the tensors which model made them, so that its layers can be run again."""
    import torch

    from .model import LAYERS, TOKENS

    write_metadata(path, {
        "framework": "torch", "framework_version": str(torch.__version__).partition("+")[0],
        "model": "the demo's small Llama", "device": "cpu", "input_ids": [list(TOKENS)],
        "complete": True, "notes": [],
        "run": {"factory": factory, "model": model, "dtype": dtype, "layers": LAYERS, "seed": seed},
    })  # fmt: skip


def keep_parameters(model: LlamaForCausalLM, path: str) -> None:
    """Keep the weights with the reference, as `record(parameters="all")` does: what a layer should
    have made of its inputs needs them.
    """
    from ..recorder.parameters import config_of, sources_of
    from ..weights.recorded import write_parameters

    write_parameters(path, "all", sources_of(model), config_of(model))


def write_candidate(reference: LlamaForCausalLM, fault: Fault, path: str) -> None:
    """Run the other implementation with the weights of `reference` and one fault."""
    from .model import candidate_arguments

    record_call(build_candidate(reference, fault), path, *candidate_arguments())


def record_call(model: nn.Module, path: str, *args: Any, **kwargs: Any) -> list[str]:
    """Call `model` once and write what goes into and comes out of every module below `path`.

    Returns the names in execution order: a module's inputs, then its outputs, when it returns.
    Raises `OSError` where it cannot write.
    """
    import torch

    folder = Path(path) / "0"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {module: f"model.{name}" if name else "model" for name, module in model.named_modules()}
    calls: dict[str, int] = {}
    names: list[str] = []

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name = paths[module]
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > 1:
            name = f"{name}({calls[name]})"
        for slot, tensor in _slots(args, kwargs, output):
            # Cloned: a view would be written with all of its storage.
            torch.save(tensor.detach().clone(), folder / f"{name}-{slot}.pt")
            names.append(f"{name}-{slot}")

    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in paths]
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    listing = "".join(f"{name}\n" for name in names)
    (folder / "tensor_names.txt").write_text(listing, encoding="utf-8")
    return names


def _slots(args: Any, kwargs: Any, output: Any) -> Iterator[tuple[str, Any]]:
    for index, value in enumerate(args):
        yield from _tensors(f"input_{index}", value)
    for key, value in kwargs.items():
        yield from _tensors(f"input_{key}", value)
    yield from _tensors("output", output)


def _tensors(slot: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The tensors in `value`, tuples and mappings taken apart; what is no tensor is passed over."""
    import torch

    if isinstance(value, torch.Tensor):
        yield slot, value
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _tensors(f"{slot}_{index}", inner)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(f"{slot}_{key}", inner)


def main(arguments: list[str] | None = None) -> int:
    """`FOLDER FAULT SEED DTYPE`: write the pair, a line of progress at a time on stdout."""
    folder, fault, seed, dtype = sys.argv[1:] if arguments is None else arguments
    import torch

    torch.set_num_threads(1)
    capture_pair(
        folder, fault_named(fault), seed=int(seed), dtype=dtype,
        report=lambda line: print(line, flush=True),
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
