"""What each limit of `compare.limits` holds up: every one is halved and doubled, and the verdicts
that change are named, for a healthy pair and for pairs with faults.

    python benchmarks/limits_sweep.py [--only NAME] [--table FILE] [REFERENCE CANDIDATE ...]

Without captures those of the demo are taken (a healthy pair, faults of weights, of attention, and a
row of NaN), the healthy pair with small faults planted, and a real pair in bfloat16 (`tests/data`).
Each is judged with the laws of its layers and without. Pairs are measured once and judged anew for
each value; where a limit is used in measuring, they are measured anew. A limit that changes nothing
is not needed for these captures.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from layertui.capture.demo.shipped import SHIPPED, unpack
from layertui.compare import limits
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.gathering import gather_and_judge
from layertui.compare.symptoms.thumb import rules_of_thumb

How = Literal["judged", "gathered", "measured"]
_PLANTED = tuple(f"0/model.layers.layers.1.{part}-output.pt" for part in ("mlp.down_proj", "mlp"))
DATA = Path(__file__).resolve().parents[1] / "tests/data"


@dataclass(frozen=True)
class Judged:
    """Levels by row, the module that is named as the first divergence, and its symptoms where these
    were looked for.
    """

    levels: tuple[str, ...]
    named: str
    symptoms: tuple[str, ...]


class Captures:
    """A pair of captures: measured once, with the laws of its layers tried. `lawless`: judged as if
    no law had applied.
    """

    def __init__(self, name: str, reference: str, candidate: str) -> None:
        self.name, self._paths = name, (reference, candidate)
        self._measured, self.lawless = self._measure(), False

    def without_laws(self) -> Captures:
        """The same, judged without its laws; it need not be measured again."""
        other = copy(self)
        other.name, other.lawless = f"{self.name}, no laws", True
        return other

    def _measure(self) -> Comparison:
        comparison = open_comparison(*self._paths)
        comparison.measure(use_cache=False, threads=1)
        return comparison

    def judged(self, how: How) -> Judged:
        """The verdicts by the limits as they are now."""
        found = self._measure() if how == "measured" else self._measured
        given = found.aligned, found.results, found.evidence
        if self.lawless:
            given = *given[:2], replace(given[2], laws=None)
        if how == "judged":
            judgement = found.policy.judge_all(*given, found.demands)
        else:
            evidence = replace(given[2], symptoms={}, from_records=False)
            judgement = gather_and_judge(*given[:2], found.policy, evidence, found.demands)[1]
        first = judgement.first
        looks: tuple[str, ...] = ()
        if first is not None and how != "judged":
            names = (symptom.name for symptom in first.symptoms or ())
            rules = rules_of_thumb(found.measurements[first.index])
            looks = (*names, *(rule.partition(":")[0] for rule in rules))
        return Judged(
            tuple(verdict.level for verdict in judgement.verdicts),
            "none" if first is None else first.module, looks,
        )  # fmt: skip


def planted(work: Path, reference: str, candidate: str) -> Iterator[Captures]:
    """The healthy pair of the demo with one record of the candidate changed a little: small faults,
    near the limits. Needs torch.
    """
    import torch

    def part(x: torch.Tensor, axis: int) -> torch.Tensor:
        noisy = x.clone()
        noisy.select(axis, 3).mul_(1 + 2e-5)
        return noisy

    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "factor": lambda x: x * (1 + 3e-5),
        "offset": lambda x: x + 2e-4 * x.std(),
        "row": lambda x: part(x, -2),
        "channel": lambda x: part(x, -1),
        "clamp": lambda x: x.clamp(-2.5 * float(x.std()), 2.5 * float(x.std())),
        "cast": lambda x: x.to(torch.float16).float(),
        "noise": lambda x: x + 3e-6 * x.std() * torch.sin(1e4 * x),
    }
    for name, change in changes.items():
        folder = shutil.copytree(candidate, work / name)
        for record in _PLANTED:
            torch.save(change(torch.load(folder / record)), folder / record)
        yield Captures(f"planted {name}", reference, str(folder))


def scaled(value: Any, factor: float) -> Any:
    """A limit, or all numbers of a group of limits, times `factor`; whole numbers stay whole."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return max(1, round(value * factor))
    if isinstance(value, float):
        return value * factor
    if isinstance(value, dict):
        return {key: scaled(each, factor) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(scaled(each, factor) for each in value)
    assert is_dataclass(value) and not isinstance(value, type)
    return replace(value, **{f.name: scaled(getattr(value, f.name), factor) for f in fields(value)})


def holders(name: str) -> list[Any]:
    """The modules that have taken the limit by name."""
    value = getattr(limits, name)
    return [
        module for key, module in list(sys.modules.items())
        if key.startswith("layertui.compare") and getattr(module, name, None) is value
    ]  # fmt: skip


@contextmanager
def moved(name: str, value: Any) -> Iterator[None]:
    """The limit `name` has another value, also where modules have taken it by name. Tables are
    changed in place: default arguments hold the same one. Raises ValueError where a default
    argument holds a limit that is no table.
    """
    kept = getattr(limits, name)
    if isinstance(kept, dict):
        before = dict(kept)
        kept.update(value)
        try:
            yield
        finally:
            kept.update(before)
        return
    modules = holders(name)
    for module in modules:
        if (frozen := defaults_with(module, kept)) and not isinstance(kept, int):
            raise ValueError(f"{name} is a default argument of {frozen}: it cannot be moved")
    for module in modules:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module in modules:
            setattr(module, name, kept)


def defaults_with(module: Any, value: Any) -> str:
    """A function of the module that has the very value as a default; empty where none has."""
    for name, found in vars(module).items():
        if isinstance(found, FunctionType) and found.__module__ == module.__name__:
            given = (*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values())
            if any(each is value for each in given):
                return f"{module.__name__}.{name}"
    return ""


def differences(name: str, before: Judged, after: Judged) -> list[str]:
    """What changed, in words: `transposed-o-proj: 3 noise -> diverged; names none, not lm_head`."""
    steps = Counter(
        f"{a} -> {b}" for a, b in zip(before.levels, after.levels, strict=True) if a != b
    )
    words = [f"{count} {step}" for step, count in steps.most_common(3)]
    if before.named != after.named:
        words.append(f"names {after.named}, not {before.named}")
    elif before.symptoms != after.symptoms:
        now, then = ", ".join(after.symptoms) or "none", ", ".join(before.symptoms) or "none"
        words.append(f"looks like {now}, not {then}")
    return [f"{name}: {', '.join(words)}"] if words else []


def needed(name: str) -> How:
    """What must be done again where a limit moves."""
    rooms = " ".join(module.__name__ for module in holders(name))
    if ".measuring." in rooms:
        return "measured"
    gathered = (
        ".symptoms.", ".expert_routing", ".noise_floor", ".dropout", ".sameness", ".logits_effect",
    )  # fmt: skip
    return "gathered" if any(room in rooms for room in gathered) else "judged"


def swept(captures: Sequence[Captures], names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Limit, `half` or `double`, and what changes."""
    known: dict[How, list[Judged]] = {}
    for how in ("judged", "gathered"):
        known[how] = [each.judged(how) for each in captures]
    known["measured"] = known["gathered"]
    for name in names:
        how = needed(name)
        before = known[how]
        for word, factor in (("half", 0.5), ("double", 2.0)):
            with moved(name, scaled(getattr(limits, name), factor)):
                after = [each.judged(how) for each in captures]
            found = [
                line for each, a, b in zip(captures, before, after, strict=True)
                for line in differences(each.name, a, b)
            ]  # fmt: skip
            yield name, word, "; ".join(found) or "nothing"


_ASSIGNED = re.compile(r"([A-Z][A-Z_0-9, ]*?)(?:: [^=]*)? = ([^#]*)(?:#(.*))?$")


def meanings() -> dict[str, tuple[str, str]]:
    """By limit: its value as `limits.py` has it, `table` where that is one, and its comment."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in Path(limits.__file__).read_text().splitlines():
        match = _ASSIGNED.match(line)
        if match is None:
            above = [*above, line[1:].strip()] if line.startswith("#") else []
            continue
        names = [name.strip() for name in match[1].split(",")]
        values = [value.strip() for value in match[2].split(", ", len(names) - 1)]
        words = (match[3] or " ".join(above)).strip()
        for name, value in zip(names, values, strict=True):
            plain = isinstance(getattr(limits, name), (int, float))
            found[name] = (value if plain else "table", words)
    return found


def table(found: Mapping[str, Mapping[str, str]]) -> str:
    """The table of `docs/judging.md`."""
    lines = [
        "| limit | value | meaning, and what set it | halved | doubled |",
        "|---|---|---|---|---|",
    ]
    for name, (value, words) in meanings().items():
        changes = found.get(name, {})
        cells = (f"`{name}`", value, words, changes.get("half", ""), changes.get("double", ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("captures", nargs="*", metavar="REFERENCE CANDIDATE")
    parser.add_argument("--only", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--table", metavar="FILE", help="write the table of the documentation")
    given = parser.parse_args()
    if len(given.captures) % 2:
        parser.error("captures come in pairs: REFERENCE CANDIDATE")
    pairs = list(zip(given.captures[::2], given.captures[1::2], strict=True))
    names = given.only or [name for name in vars(limits) if name.isupper()]
    names.sort(key=lambda name: needed(name) == "measured")  # these take long
    with tempfile.TemporaryDirectory() as work:
        captures = [Captures(Path(second).name, first, second) for first, second in pairs]
        for fault in SHIPPED if not pairs else ():
            captures.append(Captures(fault, *unpack(str(Path(work, fault)), fault)))
        if not pairs:
            healthy = (str(Path(work, "none", side)) for side in ("reference", "candidate"))
            captures += planted(Path(work), *healthy)
            with tarfile.open(DATA / "llama-bf16.tar.xz") as tar:
                tar.extractall(work, filter="data")
            real = Path(work, "llama-bf16")
            captures.append(Captures(real.name, str(real / "torch_dump"), str(real / "max_dump")))
        captures += [each.without_laws() for each in captures]
        found: dict[str, dict[str, str]] = {}
        for name, word, what in swept(captures, names):
            found.setdefault(name, {})[word] = what
            print(f"{name:20} {word:6} {what}", flush=True)
            if given.table:
                Path(given.table).write_text(table(found) + "\n")


if __name__ == "__main__":
    main()
