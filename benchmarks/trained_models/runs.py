"""Runs of `trained.py`: captures of references and candidates, compared, and what came out."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from opening import cause_names, compared
from torch import Tensor, nn

from layertui.compare.comparison import Comparison
from small_models.fault_models import all_tensors, as_tf32
from small_models.quantising import int4_groups, rounded_rows

from .builds import (
    NarrowLinear,
    SplitLinear,
    candidate,
    captured,
    checkpoint,
    inputs_of,
    reference,
)
from .planting import Answer, TrainedFault

Build = Callable[[Any, Path, torch.dtype], Any]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: the module that is blamed, and the names of its causes, the best first. `causes`
    is None where none were tried.
    """

    module: str
    causes: tuple[str, ...] | None
    words: str


def found_in(comparison: Comparison) -> tuple[Found, ...]:
    """What diverged, the first divergence first."""
    first = comparison.first_divergence()
    if first is None:
        return ()
    listed: Any = getattr(comparison, "findings", ())
    more = [one for one in (listed() if callable(listed) else listed) if one != first]
    return tuple(_found(one) for one in (first, *more))


def _found(one: Any) -> Found:
    names = cause_names(one)
    return Found(one.module, names, f"{one.causes[0].text} | {one.reason}" if names else one.reason)


@dataclass(frozen=True, slots=True)
class Case:
    """What came out of one pair. `wanted` is the culprit, None for a clean pair; `accepted` are the
    causes that are right; `others` are the findings wanted besides, by culprit and causes.
    """

    name: str
    dtype: str
    answer: Answer
    wanted: str | None
    accepted: tuple[str, ...]
    found: tuple[Found, ...]
    seconds: float
    status: int = 0
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def module(self) -> str | None:
        if self.found:
            return self.found[0].module
        return "exit status 1" if self.wanted is None and self.status else None

    @property
    def cause(self) -> str | None:
        return self.found[0].causes[0] if self.found and self.found[0].causes else None

    @property
    def named(self) -> bool:
        """The culprit is right; of what cannot be told, silence is right as well."""
        return self.module == self.wanted or (self.answer == "below" and self.module is None)

    @property
    def cause_right(self) -> bool | None:
        """None where no cause is asked for."""
        if self.answer != "named" or self.wanted is None:
            return None
        return self.named and self.cause in self.accepted

    @property
    def false_cause(self) -> bool:
        """A cause was named that is none of those that are right."""
        return self.cause is not None and self.cause not in self.accepted

    @property
    def right(self) -> bool:
        return self.named and self.cause_right is not False and not self.false_cause

    @property
    def others_found(self) -> int:
        """How many of the other faults of the same candidate are findings with the right cause."""
        rest = {one.module: (one.causes or ("",))[0] for one in self.found[1:]}
        return sum(rest.get(module) in causes for module, causes in self.others)


@dataclass(frozen=True, slots=True)
class CleanPair:
    """A pair that differs by rounding alone. `build` makes the candidate of the reference model,
    its checkpoint and the candidate's dtype; `rewrite` makes another capture of the candidate's.
    """

    name: str
    left: str
    right: str
    build: Build
    base: str = "llama"
    scene: str = "prompt"
    rewrite: Callable[[Path, Path], Path] | None = None
    outputs_only: bool = False

    @property
    def dtype(self) -> str:
        return f"{self.left}-{self.right}"


def _split(source: Any, _: Path, dtype: torch.dtype) -> Any:
    return candidate(source, dtype)


def _narrow(source: Any, _: Path, dtype: torch.dtype) -> Any:
    return candidate(source, dtype, NarrowLinear, own_code=False)


class _Tf32Linear(SplitLinear):
    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.linear(as_tf32(x), as_tf32(weight))


def _tf32(source: Any, _: Path, dtype: torch.dtype) -> Any:
    return candidate(source, dtype, _Tf32Linear, own_code=False)


def _sdpa(_: Any, folder: Path, dtype: torch.dtype) -> Any:
    return reference(folder, dtype, "sdpa")


def _same_code(_: Any, folder: Path, dtype: torch.dtype) -> Any:
    return reference(folder, dtype)


def _quantised(weights: Callable[[Tensor], Tensor], steps: int = 0) -> Build:
    """All projections of the layers on a coarser grid, the head as it is; with `steps` their inputs
    are rounded by token as well.
    """

    def build(source: Any, _: Path, dtype: torch.dtype) -> Any:
        made = candidate(source, dtype)
        for name, module in made.named_modules():
            if isinstance(module, SplitLinear) and "layers." in name:
                coarse = weights(module.weight.detach().float()).to(dtype)
                module.weight = nn.Parameter(coarse, requires_grad=False)
                if steps:
                    module.product = partial(_of_rounded, module.product, steps)
        return made

    return build


def _of_rounded(
    product: Callable[[Tensor, Tensor], Tensor], steps: int, x: Tensor, weight: Tensor
) -> Tensor:
    return product(rounded_rows(x, steps), weight)


def saved_as_float32(source: Path, folder: Path) -> Path:
    """The capture as `.pt` files, all floats as float32, whatever they were computed in."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = []
    for module, slot, tensor in all_tensors(source):
        names.append(f"{module or 'model'}-{slot}")
        wide = tensor.float() if tensor.is_floating_point() else tensor.clone()
        torch.save(wide, folder / f"{names[-1]}.pt")
    (folder / "tensor_names.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


CLEAN: tuple[CleanPair, ...] = (
    CleanPair("eager, sdpa", "f32", "f32", _sdpa),
    CleanPair("split products", "f32", "f32", _split),
    CleanPair("eager, sdpa", "bf16", "bf16", _sdpa),
    CleanPair("split products", "bf16", "bf16", _split),
    CleanPair("same code", "f32", "bf16", _same_code),
    CleanPair("split products", "f32", "bf16", _split),
    CleanPair("same code", "f32", "fp16", _same_code),
    CleanPair("split products", "fp16", "fp16", _split),
    CleanPair("bf16 products inside", "f32", "f32", _narrow),
    CleanPair("TF32 products inside", "f32", "f32", _tf32),
    CleanPair("bf16 saved as float32", "f32", "bf16", _same_code, rewrite=saved_as_float32),
    CleanPair("int8 weights", "f32", "f32", _quantised(partial(rounded_rows, steps=127))),
    CleanPair("int4 weights", "f32", "f32", _quantised(partial(int4_groups, size=32))),
    CleanPair("int4 weights", "bf16", "bf16", _quantised(partial(int4_groups, size=64))),
    CleanPair("8-bit products", "f32", "f32", _quantised(partial(rounded_rows, steps=127), 127)),
    CleanPair("8-bit products", "bf16", "bf16", _quantised(partial(rounded_rows, steps=127), 127)),
    CleanPair("padded batch, split products", "f32", "f32", _split, scene="padded"),
    CleanPair("padded batch, split products", "bf16", "bf16", _split, scene="padded"),
    CleanPair("padded batch, eager, sdpa", "f32", "f32", _sdpa, scene="padded"),
    CleanPair("decode steps, split products", "f32", "f32", _split, scene="decode"),
    CleanPair("decode steps, split products", "bf16", "bf16", _split, scene="decode"),
    CleanPair("decode steps, eager, sdpa", "bf16", "bf16", _sdpa, scene="decode"),
    CleanPair("other prompt, split products", "f32", "f32", _split, scene="other"),
    CleanPair("other prompt, split products", "bf16", "bf16", _split, scene="other"),
    CleanPair("outputs only, split products", "f32", "f32", _split, outputs_only=True),
    CleanPair("outputs only, split products", "bf16", "bf16", _split, outputs_only=True),
    CleanPair("biases and q-k norms", "f32", "f32", _split, "qwen3"),
    CleanPair("biases and q-k norms", "bf16", "bf16", _split, "qwen3"),
    CleanPair("experts", "f32", "f32", _split, "mixtral"),
    CleanPair("experts", "bf16", "bf16", _split, "mixtral"),
    CleanPair("BERT, eager, sdpa", "f32", "f32", _sdpa, "bert"),
    CleanPair("BERT, split products", "f32", "f32", _split, "bert"),
    CleanPair("BERT, split products", "bf16", "bf16", _split, "bert"),
    CleanPair("BERT, same code", "f32", "bf16", _same_code, "bert"),
    CleanPair("BERT, padded, split products", "f32", "f32", _split, "bert", "padded"),
    CleanPair("BERT, padded, split products", "bf16", "bf16", _split, "bert", "padded"),
)


@dataclass
class Bench:
    """Makes captures below `work`. The last reference model and all references' captures are kept,
    a candidate's capture is written over the one before. `form` is how a dump is written: `torch`,
    or `outputs` for one without inputs.
    """

    work: Path
    cache: Path
    layers: int
    with_checkpoint: bool = True
    form: str = "torch"
    _model: tuple[tuple[str, str], Any] | None = field(default=None, init=False)
    _ids: dict[Path, torch.Tensor] = field(default_factory=dict, init=False)

    def checkpoint(self, base: str) -> Path:
        return checkpoint(base, self.layers, self.cache)

    def model(self, base: str, dtype: str) -> Any:
        if self._model is None or self._model[0] != (base, dtype):
            self._model = None
            self._model = ((base, dtype), reference(self.checkpoint(base), DTYPES[dtype]))
        return self._model[1]

    def reference(self, base: str, dtype: str, scene: str, thin: bool = False) -> Path:
        thin = thin or self.form == "outputs"
        folder = self.work / f"{base}-{dtype}-{scene}{'-outputs' * thin}"
        if not folder.is_dir():
            source = self.checkpoint(base)
            captured(self.model(base, dtype), folder, scene, source, inputs=not thin)
        return folder

    def faulty(self, fault: TrainedFault | None, base: str, dtype: str, scene: str) -> Path:
        """A capture of the other build, with the fault or without one."""
        source = self.checkpoint(base)
        model = candidate(self.model(base, dtype))
        if source not in self._ids:
            self._ids[source] = inputs_of("prompt", source)["input_ids"]
        model.text_ids = self._ids[source]
        if fault is not None:
            with torch.no_grad():
                fault.put(model, self.layers)
        folder = self.work / ("candidate" if fault else "good")
        return captured(model, folder, scene, source, inputs=self.form != "outputs")

    def judged(self, left: Path, right: Path, base: str) -> Outcome:
        started = time.perf_counter()
        model = self.checkpoint(base) if self.with_checkpoint else None
        try:
            comparison = compared(left, right, model)
            found, status = found_in(comparison), comparison.exit_status()
        except Exception as error:  # a case that was missed, like any other
            words = traceback.format_exc(limit=-2).replace("\n", " ")
            return Outcome(None, (Found(f"raised {type(error).__name__}", None, words),), 1, 0.0)
        return Outcome(comparison, found, status, time.perf_counter() - started)

    def clean(self, pair: CleanPair) -> Case:
        thin = pair.outputs_only or self.form == "outputs"
        left = self.reference(pair.base, pair.left, pair.scene, thin)
        source = self.checkpoint(pair.base)
        model = pair.build(self.model(pair.base, pair.left), source, DTYPES[pair.right])
        right = captured(model, self.work / "candidate", pair.scene, source, inputs=not thin)
        if pair.rewrite is not None:
            right = pair.rewrite(right, self.work / "rewritten")
        out = self.judged(left, right, pair.base)
        return Case(f"clean: {pair.name}", pair.dtype, "seen", None, (), out.found, out.seconds,
                    out.status)  # fmt: skip

    def fault(self, fault: TrainedFault, dtype: str) -> Case:
        left = self.reference(fault.base, dtype, fault.scene)
        right = self.faulty(fault, fault.base, dtype, fault.scene)
        out = self.judged(left, right, fault.base)
        others = tuple(
            (out.named(other.culprit(self.layers)), other.causes) for other in fault.also
        )
        return Case(fault.name, dtype, fault.answer(dtype), out.named(fault.culprit(self.layers)),
                    fault.causes, out.found, out.seconds, out.status, others)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """A comparison, what it found, its exit status, and how long it took; None where it raised."""

    comparison: Comparison | None
    found: tuple[Found, ...]
    status: int
    seconds: float

    def named(self, module: str) -> str:
        """What a module of the reference is called in results."""
        if self.comparison is None:
            return module
        for row in self.comparison.rows:
            if row.reference is not None and row.reference.module == module:
                return row.canonical
        raise ValueError(f"the reference has no record of {module}")


def in_groups(
    faults: tuple[TrainedFault, ...], dtypes: tuple[str, ...]
) -> Iterator[tuple[TrainedFault, str]]:
    """Faults with dtypes, those of one reference one after another."""
    pairs = [
        (fault, dtype) for fault in faults for dtype in dtypes if fault.answer(dtype) != "skipped"
    ]
    return iter(sorted(pairs, key=lambda pair: (pair[0].base, pair[1], pair[0].scene)))
