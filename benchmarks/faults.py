"""Noise or bug: clean pairs that must not be blamed, planted faults that must be found.

    python benchmarks/faults.py [--only clean|faults] [--fault NAME] [--seeds 1] [--checkpoint]
                                [--massive] [--layers 4,12,32] [--families llama,gpt2]

Clean pairs: seven families, float32 against float32, bfloat16 against bfloat16, float32 against
bfloat16 and float32 against products in TF32, the candidate summing in another order; all records,
and outputs, layers or logits only (not of mixtures of experts: without the routers' records nobody
can tell their flips). Faults: each in float32 and bfloat16, the candidate's dump in torch's form
and in MAX's. `--checkpoint` gives the reference's weights to the comparison. `--massive` plants in
every reference what trained models have: one channel of the first token that is a thousand times
the others. Prints every case, misses included, and the shares: culprit named exactly, right symptom
first (where one applies), right cause first (where one has a name), clean pairs without a
divergence.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
import transformers
from opening import cause_names, compared

from layertui.compare.comparison import Comparison
from layertui.compare.judging.policy import NoisePolicy
from small_models.fault_list import FAULTS, Planted
from small_models.fault_models import (
    FAMILIES,
    PARTS,
    CoarseLinear,
    SummedLinear,
    build_reference,
    capture_torch,
    other_build,
    saved,
    thinned_out,
    token_ids,
    write_max_like,
)

FORMS = ("torch", "max")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Case:
    """What came out: the module that was named, the first symptom and the causes (None where none
    were tried), and what was wanted.
    """

    name: str
    dtype: str
    form: str
    module: str | None
    wanted: str | None
    symptom: str | None
    symptoms: tuple[str, ...]
    words: str
    causes: tuple[str, ...] | None = None
    causes_wanted: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return self.module == self.wanted

    @property
    def right_symptom(self) -> bool | None:
        """None where no symptom applies or the module was missed."""
        if not self.symptoms or not self.named:
            return None
        return self.symptom in self.symptoms

    @property
    def cause(self) -> str | None:
        return self.causes[0] if self.causes else None

    @property
    def right_cause(self) -> bool | None:
        """None where no cause has a name, or where nothing is wrong."""
        if not self.causes_wanted:
            return None
        return self.named and self.cause in self.causes_wanted


@dataclass(frozen=True, slots=True)
class Sides:
    """Captures of the reference and of the candidate, as torch and as MAX write them, and the
    reference's checkpoint where one is given.
    """

    reference: Path
    torch: Path
    max: Path
    model: Path | None

    def forms(self) -> Iterator[tuple[str, Comparison]]:
        """The candidate's forms, compared."""
        for form, side in zip(FORMS, (self.torch, self.max), strict=True):
            yield form, self.compared(self.reference, side)

    def compared(self, left: Path, right: Path) -> Comparison:
        return compared(left, right, self.model, NoisePolicy())


@dataclass(frozen=True, slots=True)
class Setting:
    """Where captures go, and what both models and the comparison are given."""

    folder: Path
    checkpoint: bool = False
    massive: bool = False

    def reference(
        self, family: str, layers: int, dtype: torch.dtype, seed: int
    ) -> torch.nn.Module:  # fmt: skip
        return build_reference(family, layers, dtype, seed, self.massive)

    def sides(self, reference: torch.nn.Module, candidate: torch.nn.Module, seed: int) -> Sides:
        ids = token_ids(seed)
        model = self.folder / "model" if self.checkpoint else None
        if model is not None:
            shutil.rmtree(model, ignore_errors=True)
            saved(reference, model)
        left = capture_torch(reference, self.folder / "reference", ids)
        right = capture_torch(candidate, self.folder / "candidate", ids)
        return Sides(left, right, write_max_like(right, self.folder / "max"), model)


def clean_cases(
    folder: Path, layers: list[int], seeds: int, families: tuple[str, ...] = FAMILIES, *,
    checkpoint: bool = False, massive: bool = False,
) -> Iterator[tuple[Case, Comparison]]:  # fmt: skip
    setting = Setting(folder, checkpoint, massive)
    pairs = (("f32", "f32"), ("bf16", "bf16"), ("f32", "bf16"), ("f32", "tf32"))
    for seed, depth, family, (left, right) in product(range(seeds), layers, families, pairs):
        reference = setting.reference(family, depth, DTYPES[left], seed)
        linear = CoarseLinear if right == "tf32" else SummedLinear
        candidate = other_build(reference, DTYPES.get(right, torch.float32), linear)
        sides = setting.sides(reference, candidate, seed)
        name, dtype = f"clean {family} {depth} layers", f"{left}-{right}"
        for form, comparison in sides.forms():
            yield _clean(name, dtype, form, comparison), comparison
        for part in PARTS if family != "mixtral" else ():
            thin = [
                thinned_out(side, folder / f"{side.name}-{part}", part)
                for side in (sides.reference, sides.torch)
            ]
            comparison = sides.compared(*thin)
            yield _clean(name, dtype, part, comparison), comparison


def _clean(name: str, dtype: str, form: str, comparison: Comparison) -> Case:
    first = comparison.first_divergence()
    module = first.module if first else None
    words = first.reason if first else ""
    if first is None and comparison.exit_status() != 0:
        module, words = "exit status 1", str(comparison.level_counts())
    return Case(name, dtype, form, module, None, None, (), words, cause_names(first))


def fault_cases(
    folder: Path, faults: tuple[Planted, ...], dtypes: tuple[str, ...] = ("f32", "bf16"),
    seed: int = 0, *, checkpoint: bool = False, massive: bool = False,
) -> Iterator[tuple[Case, Comparison]]:  # fmt: skip
    setting = Setting(folder, checkpoint, massive)
    for fault in faults:
        for dtype in (each for each in dtypes if each in fault.dtypes):
            reference = setting.reference(fault.family, fault.layers, DTYPES[dtype], seed)
            candidate = other_build(reference, DTYPES[dtype])
            fault.plant(candidate)
            for form, comparison in setting.sides(reference, candidate, seed).forms():
                yield _found(fault, dtype, form, comparison, checkpoint), comparison


def _found(fault: Planted, dtype: str, form: str, comparison: Comparison, checkpoint: bool) -> Case:
    first = comparison.first_divergence()
    wanted, symptoms = fault.module, fault.symptoms
    if form == "max":
        wanted = fault.in_max or wanted
        symptoms = symptoms if fault.max_symptoms is None else fault.max_symptoms
    symptom = first.symptoms[0].name if first is not None and first.symptoms else None
    return Case(
        fault.name, dtype, form, first.module if first else None, wanted, symptom, symptoms,
        first.reason if first else "", cause_names(first),
        fault.causes if checkpoint or form not in fault.by_weights else (),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["clean", "faults"], default=None)
    parser.add_argument("--fault", default=None, help="one fault by its name")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--checkpoint", action="store_true", help="give the reference's weights")
    parser.add_argument("--massive", action="store_true", help="plant massive activations")
    parser.add_argument("--layers", default="4,12,32", help="depths of the clean models")
    parser.add_argument("--families", default=",".join(FAMILIES), help="of the clean models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    clean: list[Case] = []
    found: list[Case] = []
    chosen = tuple(f for f in FAULTS if options.fault in (None, f.name))
    given = {"checkpoint": options.checkpoint, "massive": options.massive}
    with tempfile.TemporaryDirectory() as name:
        if options.only != "faults" and options.fault is None:
            depths = [int(text) for text in options.layers.split(",")]
            families = tuple(options.families.split(","))
            for case, _ in clean_cases(Path(name), depths, options.seeds, families, **given):
                clean.append(case)
                print(line(case), flush=True)
        if options.only != "clean":
            for seed in range(options.seeds):
                for case, _ in fault_cases(Path(name), chosen, seed=seed, **given):
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
    if case.causes_wanted:
        right = "ok" if case.right_cause else f"WRONG (wanted {' or '.join(case.causes_wanted)})"
        symptom += f" cause {case.cause or ('none' if case.causes == () else 'not tried')} {right}"
    elif case.cause is not None:
        symptom += f" cause {case.cause}"
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
        asked = [case for case in found if case.right_cause is not None]
        if asked:
            right = sum(bool(case.right_cause) for case in asked)
            lines.append(
                f"cause named: {right} of {len(asked)} ({right / len(asked):.1%}) that can be told"
            )
    return lines


if __name__ == "__main__":
    main()
