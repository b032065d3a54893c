"""Captures of whole models equal what plain hooks see, and change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from layertui.capture import open_capture, record
from layertui.capture.load import load
from support.tiny_models import FAMILIES, assert_holds, by_key, ids, make, plain_hooks, raw_bytes


def flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [t for part in value for t in flat(part)] if isinstance(value, (tuple, list)) else []


@pytest.mark.parametrize("family", FAMILIES)
def test_every_record_is_what_a_plain_hook_sees(family: str, tmp_path: Path) -> None:
    model, inputs = make(family)
    with torch.no_grad():
        bare = model(**inputs)
        with plain_hooks(model) as seen:
            model(**inputs)
        with record(model, tmp_path / "c") as recorder:
            recorded = model(**inputs)
    assert [raw_bytes(t) for t in flat(bare)] == [raw_bytes(t) for t in flat(recorded)]
    assert flat(bare)
    records = by_key(tmp_path / "c")
    assert len(seen) > 10
    for key, tensor in seen.items():
        assert_holds(records[key], tensor)
    extra = [key for key in records if key not in seen]
    assert all("past_key_values" in key[3] for key in extra), extra
    capture = open_capture(tmp_path / "c")
    assert capture.complete is True
    assert capture.order_source == "manifest"
    assert {r.module_class for r in capture.records} >= {type(model).__name__, "Linear"}
    silent = set(recorder.never_fired)
    called = {key[1] for key in seen}
    containers = (nn.ModuleList, nn.ModuleDict)
    assert silent == {
        name for name, m in model.named_modules() if name not in called
        and type(m) not in containers
    }  # fmt: skip
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_outputs_are_in_the_order_of_return(tmp_path: Path) -> None:
    model, inputs = make("llama")
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda m, a, o, name=name: order.append(name))
        for name, module in model.named_modules()
    ]
    with record(model, tmp_path / "c"):
        model(**inputs)
    for handle in handles:
        handle.remove()
    outputs = [r.module for r in open_capture(tmp_path / "c").records if r.slot.startswith("out")]
    assert list(dict.fromkeys(outputs)) == order


def test_generation_has_a_step_for_each_token(tmp_path: Path) -> None:
    model, _ = make("llama")
    plain = model.generate(ids(), max_new_tokens=5, do_sample=False)
    with plain_hooks(model) as seen:
        model.generate(ids(), max_new_tokens=5, do_sample=False)
    with record(model, tmp_path / "c"):
        tokens = model.generate(ids(), max_new_tokens=5, do_sample=False)
    assert torch.equal(plain, tokens)
    records = by_key(tmp_path / "c")
    assert {key[0] for key in records} == {0, 1, 2, 3, 4}
    for key, tensor in seen.items():
        assert_holds(records[key], tensor)
    capture = open_capture(tmp_path / "c")
    assert capture.input_ids == ids().tolist()
    meta = [json.loads(line) for line in (tmp_path / "c/manifest.jsonl").open() if "tokens" in line]
    fed = meta[-1]["meta"]["tokens"]
    assert fed[0] == ids().tolist()
    assert [step[0][0] for step in fed[1:]] == tokens[0, 6:10].tolist()
    for step in range(1, 5):
        keys = records[step, "model.layers.1.self_attn", 1, "input_past_key_values_keys"]
        assert keys.shape == (1, 2, 5 + step, 4)
        earlier = records[step - 1, "", 1, "output_past_key_values_1_keys"]
        assert keys.locator == earlier.locator  # stored once


def test_the_encoder_of_t5_runs_before_the_first_step(tmp_path: Path) -> None:
    model, _ = make("t5")
    with record(model, tmp_path / "c"):
        model.generate(ids(), max_new_tokens=3, do_sample=False, eos_token_id=None)
    capture = open_capture(tmp_path / "c")
    assert all(r.error is None for r in capture.records)
    assert {r.step for r in capture.records} == {0, 1, 2}
    assert {r.step for r in capture.records if r.module == "encoder"} == {0}
    assert capture.input_ids == ids().tolist()


@pytest.mark.parametrize("context", ["autocast", "inference_mode", "grad", "bfloat16"])
def test_under_other_modes(context: str, tmp_path: Path) -> None:
    model, inputs = make("qwen3")
    around: Any = torch.enable_grad()
    if context == "autocast":
        around = torch.autocast("cpu", dtype=torch.bfloat16)
    elif context == "inference_mode":
        around = torch.inference_mode()
    elif context == "bfloat16":
        model = model.to(torch.bfloat16)
    with around:
        bare = model(**inputs).logits
        with plain_hooks(model) as seen:
            model(**inputs)
        with record(model, tmp_path / "c"):
            recorded = model(**inputs).logits
    assert raw_bytes(bare) == raw_bytes(recorded)
    assert recorded.requires_grad == (context not in ("inference_mode",))
    records = by_key(tmp_path / "c")
    for key, tensor in seen.items():
        assert_holds(records[key], tensor)
    if context != "inference_mode" and context != "grad":
        assert "bfloat16" in {r.dtype for r in records.values()}


def test_identical_tensors_are_stored_once(tmp_path: Path) -> None:
    model, inputs = make("llama")
    with torch.no_grad(), record(model, tmp_path / "c"):
        model(**inputs)
    records = open_capture(tmp_path / "c").records
    contents: dict[Any, set[Any]] = {}
    for found in records:
        assert found.locator is not None
        content = (found.dtype, load(found.locator).tobytes())
        contents.setdefault(content, set()).add((found.path, found.locator.offset))
    assert all(len(places) == 1 for places in contents.values())
    assert len(contents) < len(records) * 0.7


def test_structure_of_arguments_runs_a_layer_again(tmp_path: Path) -> None:
    from layertui.capture.formats.manifest import read_manifest
    from layertui.capture.recorder.tree import rebuild
    from support.tiny_models import value

    model, inputs = make("llama")
    with torch.no_grad(), record(model, tmp_path / "c"):
        model(**inputs, use_cache=False)
    manifest = read_manifest(str(tmp_path / "c/manifest.jsonl"))
    by_seq = {}
    records = by_key(tmp_path / "c")
    for line in manifest.records:
        key = (line["step"], line["module"], line["call"], line["slot"])
        by_seq[line["seq"]] = value(records[key])
    checked = 0
    for call in manifest.calls:
        if call["module"] in ("", "model"):
            continue
        args = rebuild(call["args"], by_seq.__getitem__)
        kwargs = {name: rebuild(part, by_seq.__getitem__) for name, part in call["kwargs"].items()}
        with torch.no_grad():
            again = model.get_submodule(call["module"])(*args, **kwargs)
        for got, kept in zip(flat(again), flat(rebuild(call["output"], by_seq.__getitem__)),
                             strict=True):  # fmt: skip
            assert torch.equal(got, kept)
            checked += 1
    assert checked > 20
