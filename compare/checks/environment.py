"""What two runs say of themselves: model, config, precision, kernels, versions, devices. What
changes numbers comes first; what is equal is not said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...capture.models.run_details import run_config, run_header
from ...capture.records import Capture
from ..comparison import Comparison
from ..laws.config_names import by_one_name
from ..weights.fused_weights import text_config
from .environment_topics import (
    GENERATION,
    MODEL,
    ONE_SIDED,
    QUANTISATION,
    TOPICS,
    UNIMPORTANT,
    VERSIONS,
    Topic,
    absent_is_off,
    topic_of_config,
    topic_of_setting,
)
from .finding import Finding, SideName, quoted

_SHOWN = {topic.name: 6 for topic in TOPICS} | {UNIMPORTANT.name: 3}
_DEEPEST = 8
_MOST = 2000  # entries of a header
_HASH = re.compile(r"hash|sha256|checksum|digest", re.IGNORECASE)
# What differs between any two runs, or is compared elsewhere.
_ELSEWHERE = re.compile(
    r"^(?:schema|layertui|argv|started|host\.|notes|prompt|input_ids|tokens|complete|options\.|"
    r"framework$|framework_version$|model$|device$|model_source|seed|run\.factory$|run\.model$|"
    r"config$|config\.|aliases\.|rank$|world_size$|ranks\.|training$|environment\.hardware\.cpu$)"
)
# Where a key that one side lacks is a difference: there it means "off".
_OFF_WHEN_MISSING = re.compile(
    r"^(?:environment\.variables\.|autocast\.|generation\.|environment\.versions\.(?:flash\w+|xformers|"
    r"sgl_kernel|deep_gemm|transformer_engine|apex|kernels|bitsandbytes|torchao|liger_kernel|"
    r"causal_conv1d|mamba_ssm|fla)$)"
)
_DTYPES = ("dtype", "run.dtype")  # of weights
_PLACES = ("_name_or_path", "name_or_path", "_commit_hash")  # of a model, which is said by itself
_USUAL = {"rope_theta": 10_000}  # what every model takes where its config does not say
_NOTHING: tuple[Any, ...] = (None, False, "", 0, "default", "None", "auto", "none")


@dataclass(frozen=True, slots=True)
class _Apart:
    """A setting that differs; None on a side that does not have it."""

    key: str
    reference: Any
    candidate: Any
    topic: Topic


def check_environment(comparison: Comparison) -> Iterator[Finding]:
    """Models, configs, settings, versions and devices of two runs, where both say them."""
    ref, cand = comparison.reference, comparison.candidate
    headers = run_header(ref.path), run_header(cand.path)
    yield from _models(ref, cand)
    yield from _training(headers)
    configs = run_config(ref, headers[0]), run_config(cand, headers[1])
    generates = any(record.step for record in (*ref.records, *cand.records))
    apart = [*_configs(*configs), *_settings(*headers, generates)]
    if ref.main_dtype() != cand.main_dtype():  # which is said of the records themselves
        apart = [one for one in apart if one.key not in _DTYPES]
    for topic in TOPICS:
        if topic is VERSIONS:
            yield from _versions(ref, cand)
        yield from _finding(topic, [one for one in apart if one.topic is topic])


def _models(ref: Capture, cand: Capture) -> Iterator[Finding]:
    if ref.model and cand.model and _model(ref.model) != _model(cand.model):
        yield Finding("warning", "config", f"the reference ran {quoted(ref.model)}, the candidate "
                      f"{quoted(cand.model)}", "compare two runs of one model")  # fmt: skip


def _training(headers: tuple[dict[str, Any], dict[str, Any]]) -> Iterator[Finding]:
    sides: tuple[SideName, SideName] = ("reference", "candidate")
    for side, header in zip(sides, headers, strict=True):
        if str(header.get("training")) == "True":
            yield Finding("warning", "config", "the model ran in training mode",
                          "call model.eval(): dropout makes any two runs differ", side)  # fmt: skip


def _versions(ref: Capture, cand: Capture) -> Iterator[Finding]:
    same = ref.framework is not None and ref.framework == cand.framework
    versions = ref.framework_version, cand.framework_version
    if same and all(versions) and versions[0] != versions[1]:
        words = (
            f"the reference ran on {ref.framework} {versions[0]}, the candidate on {versions[1]}"
        )
        yield Finding("note", "versions", words, "kernels may differ")
    if ref.device and cand.device and ref.device != cand.device:
        yield Finding("note", "versions", f"the reference ran on {quoted(ref.device)}, the "
                      f"candidate on {quoted(cand.device)}", "kernels differ")  # fmt: skip


# -- configs


def _configs(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> Iterator[_Apart]:
    if not reference or not candidate:
        return
    left, right = _of_config(reference), _of_config(candidate)
    for key in dict.fromkeys((*left, *right)):
        topic = topic_of_config(key)
        if key in left and key in right:
            (spelling, one), (other_spelling, other) = left[key], right[key]
            if not _equal(one, other):
                name = "config." + (spelling if spelling == other_spelling else key)
                yield _Apart(name, one, other, topic)
        elif topic in (MODEL, QUANTISATION):
            spelling, value = left.get(key) or right[key]
            if not _off(value) and value != _USUAL.get(key):
                sides = (value, None) if key in left else (None, value)
                known = topic is QUANTISATION or absent_is_off(key)
                yield _Apart(f"config.{spelling}", *sides, topic if known else ONE_SIDED)


def _of_config(config: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Spelling and value by one name for all spellings. The language model's part is taken out of
    its section; what follows from other entries is filled in, and a window that is not used left
    out.
    """
    text = text_config(config)
    found = by_one_name(text)
    if text is not config:
        others = {key: value for key, value in config.items() if value is not text}
        for key, entry in by_one_name({**others, "text_config": None}).items():
            found.setdefault(key, entry)
    for key in ("quantization_config", "quantization", *_PLACES):
        found.pop(key, None)
    heads, width = _number(found, "num_attention_heads"), _number(found, "hidden_size")
    if heads:
        found.setdefault("num_key_value_heads", ("num_key_value_heads", heads))
        if width and width % heads == 0:
            found.setdefault("head_dim", ("head_dim", width // heads))
    if found.get("use_sliding_window", ("", None))[1] is False:
        for key in ("sliding_window", "max_window_layers", "use_sliding_window"):
            found.pop(key, None)
    return found


def _number(found: Mapping[str, tuple[str, Any]], key: str) -> int | None:
    value = found.get(key, ("", None))[1]
    return value if type(value) is int and value > 0 else None


# -- headers


def _settings(
    reference: dict[str, Any], candidate: dict[str, Any], generates: bool
) -> Iterator[_Apart]:
    left, right = _flat(reference), _flat(candidate)
    same = reference.get("framework") == candidate.get("framework")
    both = {key.partition(".")[0] for key in left} & {key.partition(".")[0] for key in right}
    sections = {"autocast"} if "autocast" in reference and "autocast" in candidate else set()
    for key in dict.fromkeys((*left, *right)):
        if _ELSEWHERE.search(key) or _HASH.search(key):
            continue
        one, other = left.get(key), right.get(key)
        if key not in left or key not in right:
            section = key.partition(".")[0]
            off = same and section in both | sections and _OFF_WHEN_MISSING.search(key)
            off = off or topic_of_setting(key) is QUANTISATION
            if not off or _off(one if key in left else other):
                continue
        elif _equal(one, other):
            continue
        topic = topic_of_setting(key)
        if topic is GENERATION and not generates:
            topic = UNIMPORTANT
        if key == f"environment.versions.{reference.get('framework')}":
            continue  # said with the framework
        yield _Apart(key, one, other, topic)


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left: list[tuple[str, Any, int]] = [("", header, 0)]
    while left and len(found) < _MOST:
        prefix, value, depth = left.pop()
        if isinstance(value, dict) and depth < _DEEPEST:
            inner = [(f"{prefix}.{key}" if prefix else str(key), v, depth + 1)
                     for key, v in value.items()]  # fmt: skip
            left += reversed(inner)
        elif value is not None:
            found[prefix] = value
    return found


def _equal(one: Any, other: Any) -> bool:
    """Equal however they are spelled: 1 and 1.0, "torch.float32" and "float32", 2 and [2]."""
    if one == other:
        return True
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, list) and len(one) == 1:
        return _equal(one[0], other)
    if isinstance(other, list) and len(other) == 1:
        return _equal(one, other[0])
    return _spelled(one) == _spelled(other)


def _spelled(value: Any) -> str:
    return str(value).removeprefix("torch.").lower()


def _off(value: Any) -> bool:
    return value in _NOTHING if isinstance(value, (str, int, float, type(None))) else not value


# -- words


def _finding(topic: Topic, apart: list[_Apart]) -> Iterator[Finding]:
    if not apart:
        return
    most = _SHOWN[topic.name]
    words = [_short(one) if topic is UNIMPORTANT else _words(one) for one in apart]
    more = f" and {len(apart) - most} more" if len(apart) > most else ""
    parts = (", " if topic is UNIMPORTANT else "; ").join(words[:most])
    yield Finding(topic.severity, topic.code, f"{topic.words} {parts}{more}", topic.advice)


def _words(one: _Apart) -> str:
    key = _short(one)
    if one.topic is ONE_SIDED:
        side, value = (
            ("reference", one.reference) if one.candidate is None else ("candidate", one.candidate)
        )
        return f"{key} ({quoted(str(value))} in the {side})"
    sides = (
        "not set" if value is None else quoted(str(value))
        for value in (one.reference, one.candidate)
    )
    return f"{key} ({' and '.join(sides)})"


def _short(one: _Apart) -> str:
    """`attention` for `environment.numerics.attention`; everything else as it is written."""
    key = re.sub(r"^environment\.(?:numerics|versions|hardware|variables|engine)\.", "", one.key)
    return key[:80]


def _model(name: str) -> str:
    return os.path.basename(name.rstrip("/")).lower()
