"""Renamed, thinned out and shuffled captures: fewer pairs, and never a wrong one."""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertui.capture.open import open_capture
from layertui.capture.records import Capture, Record
from layertui.compare.matching.align import align

SAMPLES = ["llama-f32", "olmo2-f32", "qwen3-f32"]
EXAMPLES = 350  # each of the three captures: more than a thousand together


@lru_cache
def opened(path: str) -> Capture:
    return open_capture(path)


def plain(record: Record) -> str:
    return record.module.removeprefix("model.")


STYLES = (
    lambda name, rng: name,
    lambda name, rng: f"LlamaForCausalLM.{name}",
    lambda name, rng: name.replace(".", "/"),
    lambda name, rng: name.replace(".", "__"),
    lambda name, rng: name.replace(".", "_"),
    lambda name, rng: re.sub(r"layers\.(\d+)", r"layer_\1", name),
    lambda name, rng: re.sub(r"layers\.(\d+)", r"blocks.\1", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"my_{m[0]}", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"{m[0]}_{rng.choice('abc')}", name),
    lambda name, rng: re.sub(r"[^.]+$", lambda m: f"{word_for(name)}", name),
    lambda name, rng: f"t{rng.randrange(10**6)}",
)


def word_for(name: str) -> str:
    """A word for a module's last component, the same on both sides and no other's."""
    number = zlib.crc32(name.encode())
    return f"{WORDS[number % len(WORDS)]}_{number}"


ENDINGS = ("-output", "", ".output", "_output", "/0", ".0", "_outputs", "/__call__", ".out")
# None is the name of a module that there is: a name that lies is beyond any table.
WORDS = ("mixer", "alpha", "linear_1", "x", "some_norm", "thing", "beta_gate", "special_attn", "p2")


def mangled(capture: Capture, rng: random.Random, drop: float, shuffle: bool) -> Capture:
    """The outputs of `capture` under other names, some of them only; `path` keeps who is who."""
    whole = rng.choice(STYLES) if rng.random() < 0.7 else None
    ending = rng.choice(ENDINGS)
    found: dict[str, Record] = {}
    for record in capture.records:
        if record.slot not in ("output", "output_0") or rng.random() < drop:
            continue
        style = whole or rng.choice(STYLES)
        name = style(plain(record) or "model", rng) + ending
        module, slot = (name[:-7], "output") if ending == "-output" else (name, "value")
        found.setdefault(
            name, replace(record, name=name, module=module, slot=slot, key=record.name)
        )
    records = list(found.values())
    if shuffle:
        rng.shuffle(records)
    known = not shuffle and rng.random() < 0.5
    return replace(capture, records=records, root="", order_known=known)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_pair_is_one_record(real: Path, name: str) -> None:
    capture = opened(str(real / name / "torch_dump"))
    same = _one_quantity(capture)

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
    def check(rng: random.Random, drop: float, shuffle: bool) -> None:
        left = mangled(capture, rng, drop, shuffle) if rng.random() < 0.5 else capture
        right = mangled(capture, rng, drop, shuffle)
        for row in align(left, right).rows:
            if row.reference is None or row.candidate is None:
                continue
            ours = row.reference.key or row.reference.name
            theirs = row.candidate.key or row.candidate.name
            assert same.get(ours, ours) == same.get(theirs, theirs), (
                row.reference.name, row.candidate.name, row.how
            )  # fmt: skip

    check()


def _one_quantity(capture: Capture) -> dict[str, str]:
    """Records with the same values by what the modules are: a branch's last projection is its
    output, and the model's is that of the norm.
    """
    found: dict[str, str] = {}
    for record in capture.records:
        name = record.name
        ends = re.match(r"(.*layers\.\d+\.)(self_attn\.o_proj|mlp\.down_proj)-output", name)
        if ends:
            found[name] = ends[1] + ends[2].partition(".")[0]
        ends = re.match(r"(.*layers\.\d+\.(?:self_attn|mlp))-output(_0)?$", name)
        if ends:
            found[name] = ends[1]
    return found
