"""Which runner belongs to a capture: what the capture says, what was asked once and remembered."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ...capture.demo import CANDIDATE_FACTORY
from ...capture.engines.registry import engine_of
from ...capture.records import Capture
from ...capture.runners.layers import RerunError
from ...capture.runners.protocol import PROTOCOL, Hello, decode, encode, read_hello
from ...capture.runners.spec import Kind, RunnerSpec, spec_from
from ...capture.user.paths import cache_dir
from ..matching.names.canonical import NameRules, canonical_name, layer_number
from ..running.remembered import Remembered
from ..weights.remembered_models import loadable, remembered_model

_RUNNERS = Remembered("runners.json", "layertui.runners/1")
_MOST_HELLOS = 50
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_DTYPES = ("float32", "bfloat16", "float16")


def proposed(capture: Capture) -> RunnerSpec:
    """What a capture says of how its model can be had again, with the model that the user named
    for it before.

    A factory that the capture names is only proposed, see `trusted`: it is code.
    """
    run = capture.run or {}
    kind: Kind = "external"
    engine = engine_of(capture.framework)
    if engine is not None:
        kind = engine.name
    spec = spec_from({**_texts(run), "kind": kind}) or RunnerSpec(kind)
    dtype = spec.dtype if spec.dtype in _DTYPES else capture.main_dtype()
    said = remembered_model(capture)
    chosen = None if said is None else loadable(kind, said)
    named = chosen or spec.model or capture.model
    there = named is not None and (os.path.isdir(named) or loadable(kind, named) is not None)
    model = named if there or spec.factory is not None else None  # a factory's is any text
    # Other names of attention are repositories of code, which transformers would fetch and run.
    attention = spec.attention if spec.attention in _ATTENTION else None
    return replace(
        spec, model=model, dtype=dtype if dtype in _DTYPES else None, command=None, timeout=None,
        device="auto", attention=attention or (_attention(capture) if not run else None),
        layers=spec.layers if run else _layers(capture),
    )  # fmt: skip


def trusted(spec: RunnerSpec) -> bool:
    """True when a spec that only the capture told may be started unasked: no code is named but
    the demo's, which is this program's.
    """
    return spec.factory in (None, CANDIDATE_FACTORY) and spec.missing() is None


def recall(capture: Capture) -> RunnerSpec | None:
    """The runner that the user chose for this capture before."""
    return spec_from(_RUNNERS.of(capture.path))


def remember(capture: Capture, spec: RunnerSpec) -> None:
    """Keep the user's choice; a state directory that cannot be written is no error."""
    kept = replace(spec.absolute(), timeout=None)
    _RUNNERS.put(capture.path, kept.remembered())


def use_model(path: str, model: str) -> None:
    """Let the runner that was chosen for the capture at `path` load another model, where it is one
    of this program's own that loads a directory.
    """
    spec = spec_from(_RUNNERS.of(path))
    if spec is None or spec.kind == "external" or spec.factory is not None:
        return
    folder = loadable(spec.kind, model)
    if folder is not None and folder != spec.model:
        _RUNNERS.put(path, replace(spec, model=folder).remembered())


def remember_hello(known: str | None, hello: Hello) -> None:
    """Keep what a runner said of itself, so that its results are found without starting it."""
    if known is None:
        return
    place = cache_dir() / "runners" / f"{known}.json"
    partial = place.with_name(f".{known}-{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(encode(hello_message(hello)))
        partial.replace(place)
        older = sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in older[:-_MOST_HELLOS]:
            path.unlink(missing_ok=True)
    except (OSError, ValueError):
        partial.unlink(missing_ok=True)


def hello_message(hello: Hello) -> dict[str, Any]:
    """The message that `read_hello` makes this of."""
    return {
        "type": "hello", "protocol": PROTOCOL, "framework": hello.framework,
        "framework_version": hello.framework_version, "model": hello.model,
        "ragged": hello.ragged, "past": hello.past, "calls": hello.calls,
        "notes": list(hello.notes),
        "layers": [{"name": layer.name, "class": layer.module_class, "inputs": list(layer.inputs),
                    "reruns": layer.reruns, "why": layer.why} for layer in hello.layers],
    }  # fmt: skip


def recall_hello(known: str) -> Hello | None:
    """What the runner of this identity said when it was last started."""
    try:
        return read_hello(decode((cache_dir() / "runners" / f"{known}.json").read_bytes()))
    except (OSError, RerunError):
        return None


def _texts(run: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "factory", "dtype", "attention", "module_api", "layers", "seed",
             "allow_unsupported")  # fmt: skip
    return {name: run[name] for name in names if name in run}


def _attention(capture: Capture) -> str | None:
    """`eager` where attention gave its probabilities, which other implementations do not."""
    for record in capture.records:
        four = record.shape is not None and len(record.shape) == 4
        if record.slot == "output_1" and four and record.module.endswith(("attn", "attention")):
            return "eager"
    return None


def _layers(capture: Capture) -> int | None:
    """How many layers the captured model had, as far as its records tell."""
    rules = NameRules()
    modules = dict.fromkeys(record.module for record in capture.records)
    numbers = (layer_number(canonical_name(m, capture.root, rules).module) for m in modules)
    return max((number + 1 for number in numbers if number is not None), default=None)
