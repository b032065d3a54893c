"""The list of faults against itself: does each fault change what it says, and by how much?

    python benchmarks/trained_check.py [--layers N] [--fault NAME ...] [--dtype f32|bf16]
                                       [--base NAME] [--cache DIR]

The candidate is run with the fault and without it, on the same machine: up to the fault both runs
are equal bit for bit, so the first record that differs belongs to the culprit (or, where it is an
input, to the module whose code made it). How much it differs, in units of the dtype's rounding,
says whether there is anything to be told. Nothing of layertui judges here.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor
from trained import parser, tasks_of

from small_models.fault_models import all_tensors
from trained_models.planting import TrainedFault
from trained_models.runs import Bench, CleanPair
from trained_models.wheels import cache_directory

_UNITS = {"f32": 2.0**-24, "bf16": 2.0**-9}


@dataclass(frozen=True, slots=True)
class Change:
    """The first record that a fault changes: its module and slot, and how much, in units of
    rounding: of the middle row, of the worst one, and the share of elements.
    """

    module: str
    slot: str
    middle: float
    worst: float
    share: float

    def blames(self, wanted: str) -> bool:
        """Whether it says what the list says; a wrong input is the fault of a module around it."""
        if self.slot.startswith("input"):
            return self.module.startswith(f"{wanted}.") or self.module == wanted
        return self.module == wanted


def first_change(good: Path, faulty: Path, unit: float) -> Change | None:
    """The first record of a good run that the faulty one has otherwise, or has not."""
    others: dict[tuple[str, str], list[Tensor]] = {}
    for module, slot, tensor in all_tensors(faulty):
        others.setdefault((module, slot), []).append(tensor)
    for module, slot, left in all_tensors(good):
        waiting = others.get((module, slot))
        if not waiting or waiting[0].shape != left.shape:
            return Change(module, slot, math.inf, math.inf, 1.0)
        right = waiting.pop(0)
        if torch.equal(left, right):
            continue
        rows = [x.double().reshape(-1, x.shape[-1]) for x in (left, right)]
        size = rows[0].norm(dim=-1).clamp(min=1e-30)
        units = (rows[1] - rows[0]).norm(dim=-1) / size / unit
        share = float((left != right).double().mean())
        return Change(module, slot, float(units.median()), float(units.max()), share)
    return None


def line(fault: TrainedFault, dtype: str, change: Change | None, layers: int) -> str:
    answer = fault.answer(dtype)
    head = f"{fault.name:28} {dtype:5} {answer:6}"
    if change is None:
        return f"{head} EQUAL: nothing differs at all"
    right = change.blames(fault.culprit(layers))
    small = (change.worst < 1) != (answer == "below")
    return (
        f"{head} {'ok' if right else 'WRONG'} {'look' if small else '    '} {change.module} "
        f"{change.slot}: middle {change.middle:.2g}, worst {change.worst:.2g} units, "
        f"{change.share:.1%} of the elements"
    )


def main() -> None:
    options = parser().parse_args()
    options.only = "faults"
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="layertui-trained-") as work:
        bench = Bench(Path(work), cache_directory(options.cache), options.layers)
        good: dict[tuple[str, str, str], Path] = {}
        for task in tasks_of(options):
            if isinstance(task, CleanPair):
                continue
            fault, dtype = task
            run = (fault.base, dtype, fault.scene)
            if run not in good:
                good = {run: bench.faulty(None, *run)}
            faulty = bench.faulty(fault, *run)
            change = first_change(good[run], faulty, _UNITS[dtype])
            print(line(fault, dtype, change, options.layers), flush=True)


if __name__ == "__main__":
    main()
