"""Noise or bug: clean pairs that must not be blamed, planted faults that must be found.

    python benchmarks/faults.py [--only clean|faults] [--fault NAME] [--seeds 1]
                                [--layers 4,12,32] [--families llama,gpt2]

Clean pairs: seven families, float32 against float32, bfloat16 against bfloat16, float32 against
bfloat16 and float32 against products in TF32, the candidate summing in another order; all records,
and outputs, layers or logits only (not of mixtures of experts: without the routers' records nobody
can tell their flips). Faults: each in float32 and bfloat16, the candidate's dump in torch's form
and in MAX's. Prints every case, misses included, and the shares:
culprit named exactly, right symptom first (where one applies), clean pairs without a divergence.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from fault_list import FAULTS, Planted
from fault_models import (
    FAMILIES,
    PARTS,
    CoarseLinear,
    SummedLinear,
    build_reference,
    capture_torch,
    other_build,
    thinned_out,
    token_ids,
    write_max_like,
)

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.policy import NoisePolicy

FORMS = ("torch", "max")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Case:
    """What came out: the module that was named and the first symptom, and what was wanted."""

    name: str
    dtype: str
    form: str
    module: str | None
    wanted: str | None
    symptom: str | None
    symptoms: tuple[str, ...]
    words: str

    @property
    def named(self) -> bool:
        return self.module == self.wanted

    @property
    def right_symptom(self) -> bool | None:
        """None where no symptom applies or the module was missed."""
        if not self.symptoms or not self.named:
            return None
        return self.symptom in self.symptoms


def compared(reference: Path, candidate: Path) -> Comparison:
    comparison = open_comparison(str(reference), str(candidate), policy=NoisePolicy())
    comparison.measure(use_cache=False, threads=1)
    return comparison


def clean_cases(
    folder: Path, layers: list[int], seeds: int, families: tuple[str, ...] = FAMILIES
) -> Iterator[tuple[Case, Comparison]]:  # fmt: skip
    pairs = (("f32", "f32"), ("bf16", "bf16"), ("f32", "bf16"), ("f32", "tf32"))
    for seed in range(seeds):
        for depth in layers:
            for family in families:
                for left, right in pairs:
                    reference = build_reference(family, depth, DTYPES[left], seed)
                    linear = CoarseLinear if right == "tf32" else SummedLinear
                    candidate = other_build(reference, DTYPES.get(right, torch.float32), linear)
                    sides = _captures(folder, reference, candidate, seed)
                    name, dtype = f"clean {family} {depth} layers", f"{left}-{right}"
                    for form, side in zip(FORMS, sides[1:], strict=True):
                        comparison = compared(sides[0], side)
                        yield _clean(name, dtype, form, comparison), comparison
                    for part in PARTS if family != "mixtral" else ():
                        thin = [
                            thinned_out(side, folder / f"{side.name}-{part}", part)
                            for side in sides[:2]
                        ]
                        comparison = compared(*thin)
                        yield _clean(name, dtype, part, comparison), comparison


def _clean(name: str, dtype: str, form: str, comparison: Comparison) -> Case:
    first = comparison.first_divergence()
    module = first.module if first else None
    words = first.reason if first else ""
    if first is None and comparison.exit_status() != 0:
        module, words = "exit status 1", str(comparison.level_counts())
    return Case(name, dtype, form, module, None, None, (), words)


def fault_cases(
    folder: Path, faults: tuple[Planted, ...], dtypes: tuple[str, ...] = ("f32", "bf16"),
    seed: int = 0,
) -> Iterator[tuple[Case, Comparison]]:  # fmt: skip
    for fault in faults:
        for dtype in (each for each in dtypes if each in fault.dtypes):
            reference = build_reference(fault.family, fault.layers, DTYPES[dtype], seed)
            candidate = other_build(reference, DTYPES[dtype])
            fault.plant(candidate)
            sides = _captures(folder, reference, candidate, seed)
            for form, side in zip(FORMS, sides[1:], strict=True):
                comparison = compared(sides[0], side)
                yield _found(fault, dtype, form, comparison), comparison


def _found(fault: Planted, dtype: str, form: str, comparison: Comparison) -> Case:
    first = comparison.first_divergence()
    wanted, symptoms = fault.module, fault.symptoms
    if form == "max":
        wanted = fault.in_max or wanted
        symptoms = symptoms if fault.max_symptoms is None else fault.max_symptoms
    symptom = first.symptoms[0].name if first is not None and first.symptoms else None
    return Case(
        fault.name, dtype, form, first.module if first else None, wanted, symptom, symptoms,
        first.reason if first else "",
    )  # fmt: skip


def _captures(
    folder: Path, reference: torch.nn.Module, candidate: torch.nn.Module, seed: int
) -> tuple[Path, Path, Path]:  # fmt: skip
    ids = token_ids(seed)
    left = capture_torch(reference, folder / "reference", ids)
    right = capture_torch(candidate, folder / "candidate", ids)
    return left, right, write_max_like(right, folder / "max")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["clean", "faults"], default=None)
    parser.add_argument("--fault", default=None, help="one fault by its name")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--layers", default="4,12,32", help="depths of the clean models")
    parser.add_argument("--families", default=",".join(FAMILIES), help="of the clean models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clean: list[Case] = []
    found: list[Case] = []
    chosen = tuple(f for f in FAULTS if options.fault in (None, f.name))
    with tempfile.TemporaryDirectory() as name:
        if options.only != "faults" and options.fault is None:
            depths = [int(text) for text in options.layers.split(",")]
            families = tuple(options.families.split(","))
            for case, _ in clean_cases(Path(name), depths, options.seeds, families):
                clean.append(case)
                print(line(case), flush=True)
        if options.only != "clean":
            for seed in range(options.seeds):
                for case, _ in fault_cases(Path(name), chosen, seed=seed):
                    found.append(case)
                    print(line(case), flush=True)
    print()
    print("\n".join(summary(clean, found)))


def line(case: Case) -> str:
    """One case: what was named, whether that is right, why."""
    mark = "ok  " if case.named else "MISS"
    symptom = ""
    if case.symptoms:
        right = {True: "ok", False: "WRONG", None: "-"}[case.right_symptom]
        symptom = f" symptom {case.symptom} {right}"
    elif case.symptom is not None:
        symptom = f" symptom {case.symptom}"
    wanted = "" if case.named else f" (wanted {case.wanted})"
    return (
        f"{mark} {case.name:26} {case.dtype:9} {case.form:7} {case.module or 'none'}{wanted}"
        f"{symptom} | {case.words[:110]}"
    )


def summary(clean: list[Case], found: list[Case]) -> list[str]:
    """The shares."""
    lines = []
    if clean:
        fine = sum(case.named for case in clean)
        lines.append(f"clean pairs without a divergence: {fine} of {len(clean)}")
    if found:
        named = sum(case.named for case in found)
        judged = [case for case in found if case.right_symptom is not None]
        right = sum(bool(case.right_symptom) for case in judged)
        lines.append(f"culprit named: {named} of {len(found)} ({named / len(found):.1%})")
        if judged:
            lines.append(
                f"symptom right: {right} of {len(judged)} ({right / len(judged):.1%}) where one "
                "applies and the culprit was named"
            )
    return lines


if __name__ == "__main__":
    main()
