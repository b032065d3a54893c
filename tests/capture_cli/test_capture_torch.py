"""`layertui capture torch` on tiny models of several kinds: what is recorded, and what is not."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from layertui.capture import Capture, open_capture
from layertui.capture.extras import has_extra
from layertui.capture.load import load
from layertui.cli.main import status_of
from support.tiny_checkpoints import (
    IDS,
    IDS_TEXT,
    index_of,
    llama_config,
    with_wrong_weight,
    write_config,
    write_llava,
)


def capture(model: object, out: Path, *args: object) -> int:
    return status_of(["capture", "torch", str(model), "-o", str(out), *map(str, args)])


def compare(*args: object) -> int:
    return status_of(["compare", *map(str, args)])


def values(capture: Capture) -> dict[tuple[int, str, str], np.ndarray[Any, Any]]:
    return {
        (record.step, record.module, record.slot): np.asarray(load(record.locator))
        for record in capture.records
        if record.locator is not None
    }


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    err = capsys.readouterr().err
    assert err.startswith("layertui: ") and err.count("\n") == 1, err
    return err


# --- what is recorded


def test_records_are_what_the_model_computes(llama: Path, tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(llama).eval()
    seen: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith(("_proj", "mlp", "norm", "lm_head")):
            module.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        model(torch.tensor([IDS]))

    assert capture(llama, tmp_path / "out", "--input-ids", IDS_TEXT) == 0

    opened = open_capture(tmp_path / "out")
    found = values(opened)
    assert len(seen) == 2 * 10 + 2
    for name, output in seen.items():
        assert np.array_equal(found[0, name, "output"], output.numpy()), name
    assert opened.input_ids == [IDS]
    assert opened.complete is True
    assert opened.model == str(llama)


def test_class_and_source_are_printed(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(llama, tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "LlamaForCausalLM" in out
    assert str(Path("models", "llama", "modeling_llama.py")) in out


def test_a_prompt_is_tokenized(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "out", "--prompt", "hello") == 0
    opened = open_capture(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    assert opened.prompt == "hello"
    assert opened.input_ids == [tokenizer("hello")["input_ids"]]
    assert opened.input_ids is not None and len(opened.input_ids[0]) == 5


@pytest.mark.parametrize(("length", "expected"), [(3, IDS[:3]), (12, [*IDS, 3, 40])])
def test_ids_are_cut_or_repeated_to_a_length(
    llama: Path, tmp_path: Path, length: int, expected: list[int]
) -> None:
    assert capture(llama, tmp_path / "o", "--input-ids", IDS_TEXT, "--seq-len", length) == 0
    assert open_capture(tmp_path / "o").input_ids == [expected]


def test_random_ids_differ_by_row_and_seed_and_are_not_special(llama: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        options = ("--batch-size", 2, "--seq-len", 40, "--seed", seed)
        assert capture(llama, tmp_path / name, *options) == 0
    a, b, c = (open_capture(tmp_path / name).input_ids for name in "abc")
    assert a == b
    assert a != c
    assert a is not None and a[0] != a[1]
    assert not {0, 1, 2} & {number for row in a for number in row}


def test_generation_is_greedy_and_a_step_a_pass(llama: Path, tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(llama).eval()
    ids = torch.tensor([IDS])
    with torch.no_grad():
        for _ in range(3):
            known = model(ids).logits[:, -1:, :259]  # what the tokenizer has
            ids = torch.cat([ids, known.argmax(-1)], dim=1)

    options = ("--mode", "generate", "--max-new-tokens", 4)
    assert capture(llama, tmp_path / "o", "--input-ids", IDS_TEXT, *options) == 0

    found = values(open_capture(tmp_path / "o"))
    assert {step for step, _, _ in found} == {0, 1, 2, 3}
    fed = [found[step, "model.embed_tokens", "input_0"].tolist() for step in (1, 2, 3)]
    assert fed == [[[token]] for token in ids[0, len(IDS) :].tolist()]


def test_generation_goes_on_behind_the_end_of_the_text(llama: Path, tmp_path: Path) -> None:
    changed = tmp_path / "model"
    shutil.copytree(llama, changed)
    model = transformers.LlamaForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        following = int(model(torch.tensor([IDS])).logits[0, -1, :259].argmax())
    settings = json.loads((changed / "generation_config.json").read_text())
    settings["eos_token_id"] = following
    (changed / "generation_config.json").write_text(json.dumps(settings))
    options = ("--input-ids", IDS_TEXT, "--mode", "generate", "--max-new-tokens", 3)
    assert capture(changed, tmp_path / "o", *options) == 0
    assert {record.step for record in open_capture(tmp_path / "o").records} == {0, 1, 2}


def test_dtype(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--dtype", "bfloat16") == 0
    assert open_capture(tmp_path / "o").main_dtype() == "bfloat16"


# --- which model


def test_a_config_alone_gets_weights_by_the_seed(tmp_path: Path) -> None:
    model = write_config(tmp_path / "model", llama_config())
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        options = ("--input-ids", IDS_TEXT, "--seed", seed)
        assert capture(model, tmp_path / name, *options) == 0
    assert compare(tmp_path / "a", tmp_path / "b") == 0
    assert compare(tmp_path / "a", tmp_path / "c") == 1


def test_a_cut_model_has_the_first_layers_unchanged(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "full", "--input-ids", IDS_TEXT) == 0
    options = ("--input-ids", IDS_TEXT, "--num-hidden-layers", 1)
    assert capture(llama, tmp_path / "cut", *options) == 0
    full, cut = (values(open_capture(tmp_path / name)) for name in ("full", "cut"))
    key = (0, "model.layers.0.mlp", "output")
    assert np.array_equal(full[key], cut[key])
    assert not any(module.startswith("model.layers.1") for _, module, _ in cut)
    assert any(module == "lm_head" for _, module, _ in cut)


def test_missing_weights_are_said(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import safetensors.torch

    broken = tmp_path / "model"
    shutil.copytree(llama, broken)
    weights = safetensors.torch.load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    safetensors.torch.save_file(weights, broken / "model.safetensors", {"format": "pt"})
    assert capture(broken, tmp_path / "o") == 0
    out = capsys.readouterr().out
    assert "1 weight is not in the checkpoint" in out
    assert "layers.1.mlp.down_proj.weight" in out


def _t5() -> Any:
    return transformers.T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=2,
        num_heads=2, decoder_start_token_id=0, architectures=["T5ForConditionalGeneration"],
    )  # fmt: skip


def _vit() -> Any:
    return transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        image_size=16, patch_size=8, architectures=["ViTForImageClassification"],
    )  # fmt: skip


def _bert() -> Any:
    return transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32,
    )  # fmt: skip


def _clip() -> Any:
    sizes: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }  # fmt: skip
    text = {**sizes, "vocab_size": 60, "max_position_embeddings": 20, "eos_token_id": 2}
    return transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8},
        projection_dim=8, architectures=["CLIPModel"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "kind", "module"),
    [
        (_t5(), "T5ForConditionalGeneration", "decoder.block.1.layer.2"),
        (_vit(), "ViTForImageClassification", "classifier"),
        (_bert(), "BertForMaskedLM", "bert.encoder.layer.1.output"),
        (_clip(), "CLIPModel", "visual_projection"),
    ],
    ids=["seq2seq", "vision", "encoder", "two-encoders"],
)
def test_other_kinds_of_models(
    config: Any, kind: str, module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_config(tmp_path / "model", config)
    assert capture(model, tmp_path / "o") == 0, capsys.readouterr().err
    assert kind in capsys.readouterr().out
    recorded = {record.module for record in open_capture(tmp_path / "o").records}
    assert module in recorded
    assert capture(model, tmp_path / "cut", "--num-hidden-layers", 1) == 0
    fewer = {record.module for record in open_capture(tmp_path / "cut").records}
    assert fewer < recorded


def test_seq2seq_generates(tmp_path: Path) -> None:
    model = write_config(tmp_path / "model", _t5())
    assert capture(model, tmp_path / "o", "--mode", "generate", "--max-new-tokens", 3) == 0
    found = open_capture(tmp_path / "o").records
    assert {record.step for record in found} == {0, 1, 2}


def test_an_image_by_the_models_own_processor(tmp_path: Path) -> None:
    from PIL import Image

    model = write_config(tmp_path / "model", _vit())
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessor(size=size).save_pretrained(model)
    Image.new("RGB", (20, 30), (255, 0, 0)).save(tmp_path / "red.png")
    assert capture(model, tmp_path / "o", "--image", tmp_path / "red.png") == 0
    found = values(open_capture(tmp_path / "o"))
    pixels = found[0, "", "input_pixel_values"]
    assert pixels.shape == (1, 3, 16, 16)
    assert np.all(pixels[0, 0] == 1) and np.all(pixels[0, 1:] == -1)


def test_image_and_prompt_of_a_multimodal_model(tmp_path: Path) -> None:
    from PIL import Image

    model = write_llava(tmp_path / "model")
    Image.new("RGB", (30, 20), (0, 255, 0)).save(tmp_path / "green.png")
    options = ("--image", tmp_path / "green.png", "--prompt", "<image>?")
    assert capture(model, tmp_path / "o", *options) == 0
    found = values(open_capture(tmp_path / "o"))
    assert found[0, "", "input_pixel_values"].shape == (1, 3, 16, 16)
    assert found[0, "model.language_model.layers.1", "output"].shape == (1, 4 + 1, 16)
    assert any("vision_tower" in module for _, module, _ in found)


FACTORY = """
import time, torch
class Stack(torch.nn.Module):
    def __init__(self, wait):
        super().__init__()
        self.first, self.second, self.wait = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2), wait
    def forward(self, x):
        y = self.first(x)
        if self.wait:
            open("waiting", "w").close()
            time.sleep(60)
        return self.second(y)
class Deep(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(4))
    def forward(self, x):
        for layer in self.layers:
            time.sleep(0.4)
            x = layer(x)
        return x
def deep(model_dir):
    return Deep(), (torch.ones(3, 4),)
def make(model_dir):
    assert model_dir == "nowhere"
    return Stack(False), {"x": torch.ones(3, 4)}
def slow(model_dir):
    return Stack(True), (torch.ones(3, 4),)
def bare(model_dir):
    return Stack(False)
def wrong(model_dir):
    return 3
def broken(model_dir):
    return Stack(False), (torch.ones(3, 5),)
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of some factories, in the working directory."""
    name = f"factory_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_factory_makes_the_model_and_its_inputs(factory: str, tmp_path: Path) -> None:
    assert capture("nowhere", tmp_path / "o", "--factory", f"{factory}:make") == 0
    found = values(open_capture(tmp_path / "o"))
    assert found[0, "first", "input_0"].tolist() == [[1.0] * 4] * 3
    assert found[0, "second", "output"].shape == (3, 2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("bare", "returned no inputs"),
        ("wrong", "returned a int, not a module"),
        ("broken", "the model raised RuntimeError"),
        ("absent", "AttributeError"),
    ],
)
def test_a_factory_that_does_not_fit(
    factory: str, function: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture("nowhere", tmp_path / "o", "--factory", f"{factory}:{function}") == 2
    assert words in said(capsys)


# --- what is chosen


def modules_of(path: Path) -> set[str]:
    return {record.module for record in open_capture(path).records}


def test_include_and_exclude(llama: Path, tmp_path: Path) -> None:
    options = ("--include", "*layers.0*", "--exclude", "*mlp*")
    assert capture(llama, tmp_path / "o", *options) == 0
    chosen = modules_of(tmp_path / "o")
    assert "model.layers.0.self_attn.q_proj" in chosen
    assert all("layers.0" in module and "mlp" not in module for module in chosen)


def test_outputs_only(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--outputs-only") == 0
    slots = {record.slot for record in open_capture(tmp_path / "o").records}
    assert slots and not any(slot.startswith("input") for slot in slots)


def test_statistics_only(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--stats-only") == 0
    records = open_capture(tmp_path / "o").records
    assert records and all(r.stats is not None and r.locator is None for r in records)


def test_some_tokens_of_some_layers(llama: Path, tmp_path: Path) -> None:
    some = ["--seq-len", 20, "--tokens", "last:3", "--layers", "1:"]
    assert capture(llama, tmp_path / "o", *some) == 0
    records = {r.name: r for r in open_capture(tmp_path / "o").records}
    assert records["model.layers.1.mlp-output"].shape == (1, 3, 64)
    assert not any("layers.0." in name for name in records)


def test_values_where_they_differ_from_a_reference(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "a") == 0
    assert capture(llama, tmp_path / "b", "--dump-on-mismatch", tmp_path / "a") == 0
    assert all(r.locator is None for r in open_capture(tmp_path / "b").records)
    other = ["--dump-on-mismatch", tmp_path / "a", "--seed", 5]
    assert capture(llama, tmp_path / "c", *other) == 0
    assert sum(r.locator is not None for r in open_capture(tmp_path / "c").records) > 20


def test_operators(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "a") == 0
    assert capture(llama, tmp_path / "b", "--level", "op") == 0
    few, many = (len(open_capture(tmp_path / name).records) for name in "ab")
    assert many > 2 * few


def test_torch_files(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--format", "pt", "--input-ids", IDS_TEXT) == 0
    saved = torch.load(tmp_path / "o" / "0" / "model.lm_head-output.pt", weights_only=True)
    assert saved.shape == (1, len(IDS), 320)


# --- directories


def test_a_directory_in_use_is_refused_and_replaced_on_request(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    assert capture(llama, out, "--input-ids", IDS_TEXT) == 0
    before = (out / "manifest.jsonl").read_bytes()
    capsys.readouterr()
    assert capture(llama, out) == 2
    assert "--overwrite" in said(capsys)
    assert (out / "manifest.jsonl").read_bytes() == before
    assert capture(llama, out, "--input-ids", "7,8,9", "--overwrite") == 0
    assert open_capture(out).input_ids == [[7, 8, 9]]


def test_overwrite_deletes_nothing_that_no_capture_wrote(llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    (out / "0").mkdir(parents=True)
    (out / "0" / "mine.max").write_text("precious")
    (out / "notes.txt").write_text("precious")
    assert capture(llama, out, "--overwrite") == 2
    assert (out / "0" / "mine.max").read_text() == "precious"
    assert (out / "notes.txt").read_text() == "precious"


def test_a_full_disk_is_foreseen(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = shutil.disk_usage

    def nearly_full(path: Any) -> Any:
        return real(path)._replace(free=50_000)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    assert capture(llama, tmp_path / "o", "--seq-len", 64) == 2
    line = said(capsys)
    assert "needs about" in line and "50.0 kB are free" in line
    assert capture(llama, tmp_path / "stats", "--seq-len", 64, "--stats-only") == 0


def test_the_estimate_is_near_what_is_written(llama: Path, tmp_path: Path) -> None:
    from layertui.capture.engines.torch_capture import INPUTS, bytes_of
    from layertui.capture.sizes import size_of

    model = transformers.LlamaForCausalLM.from_pretrained(llama).eval()
    with torch.no_grad():
        each = bytes_of(model, (), {"input_ids": torch.tensor([IDS[:8]])}) / 8
    assert capture(llama, tmp_path / "o", "--seq-len", 100) == 0
    assert 0.4 < each * 100 * INPUTS / size_of(str(tmp_path / "o")) < 2.5


def test_a_model_that_cannot_be_loaded_costs_no_earlier_capture(
    llama: Path, tmp_path: Path
) -> None:
    assert capture(llama, tmp_path / "o", "--input-ids", IDS_TEXT) == 0
    assert capture(tmp_path / "no-model", tmp_path / "o", "--overwrite") == 2
    assert open_capture(tmp_path / "o").input_ids == [IDS]


def test_overwriting_leaves_other_files_alone(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--input-ids", IDS_TEXT) == 0
    (tmp_path / "o" / "notes.txt").write_text("precious")
    assert capture(llama, tmp_path / "o", "--input-ids", "7,8", "--overwrite") == 0
    assert (tmp_path / "o" / "notes.txt").read_text() == "precious"
    assert open_capture(tmp_path / "o").input_ids == [[7, 8]]


# --- matrices


def test_a_matrix_is_compared_case_by_case(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = with_wrong_weight(llama, tmp_path / "wrong", "model.layers.1.mlp.down_proj.weight")
    options = ("--batch-size", "1,2", "--seq-len", "4,9")
    assert capture(llama, tmp_path / "a", *options) == 0
    assert capture(llama, tmp_path / "b", *options) == 0
    assert capture(wrong, tmp_path / "c", *options) == 0
    names = ["b1-s4", "b1-s9", "b2-s4", "b2-s9"]
    assert [(e["name"], e["status"]) for e in index_of(tmp_path / "a")] == [
        (name, "done") for name in names
    ]
    assert open_capture(tmp_path / "a" / "b2-s9").input_ids is not None
    capsys.readouterr()

    assert compare(tmp_path / "a", tmp_path / "b") == 0
    out = capsys.readouterr().out
    assert [f"case {name}: agrees" in out for name in names] == [True] * 4

    assert compare(tmp_path / "a", tmp_path / "c", "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [case["case"] for case in report["cases"]] == names
    blamed = {case["report"]["first_divergence"]["module"] for case in report["cases"]}
    assert blamed == {"layers.1.mlp.down_proj"}


def test_several_numbers_of_new_tokens(llama: Path, tmp_path: Path) -> None:
    """Each is a case with as many steps; what a shorter one holds is what the longer one begins
    with.
    """
    options = ("--mode", "generate", "--max-new-tokens", "2,4", "--batch-size", "1,2")
    assert capture(llama, tmp_path / "o", *options, "--test-input", "abc") == 0
    names = ["b1-n2", "b1-n4", "b2-n2", "b2-n4"]
    assert [entry["name"] for entry in index_of(tmp_path / "o")] == names
    opened = {name: open_capture(tmp_path / "o" / name) for name in names}
    steps = {name: {record.step for record in found.records} for name, found in opened.items()}
    assert steps == {name: set(range(int(name[-1]))) for name in names}
    assert {found.prompt for found in opened.values()} == {"abc"}
    short, long = values(opened["b1-n2"]), values(opened["b1-n4"])
    assert short.keys() < long.keys()
    assert all(np.array_equal(value, long[key]) for key, value in short.items())


def test_a_case_that_one_side_lacks_fails(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(llama, tmp_path / "a", "--seq-len", "4,5,6") == 0
    assert capture(llama, tmp_path / "b", "--seq-len", "4,5") == 0
    capsys.readouterr()
    assert compare(tmp_path / "a", tmp_path / "b") == 1
    out = capsys.readouterr().out
    assert "case s6: not compared" in out and "the candidate has no such case" in out


def test_a_matrix_against_a_capture_is_refused(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(llama, tmp_path / "a", "--seq-len", "4,5") == 0
    capsys.readouterr()
    assert compare(tmp_path / "a", tmp_path / "a" / "s4") == 2
    assert "give one of them" in said(capsys)
    assert status_of(["--no-tui", str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    assert "case s4" in capsys.readouterr().out


def test_prompts_of_a_file_are_cases(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("one\n\ntwo words\n")
    assert capture(llama, tmp_path / "o", "--prompt-file", tmp_path / "many.txt") == 0
    entries = index_of(tmp_path / "o")
    assert [(e["name"], e["prompt"]) for e in entries] == [("p0", "one"), ("p1", "two words")]
    assert open_capture(tmp_path / "o" / "p1").prompt == "two words"


def test_a_case_that_fails_does_not_end_the_others(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "bert"
    write_config(changed, _bert())  # takes 32 tokens
    assert capture(changed, tmp_path / "o", "--seq-len", "33,8") == 2
    assert "s33: the model raised" in said(capsys)
    statuses = {e["name"]: e["status"].partition(":")[0] for e in index_of(tmp_path / "o")}
    assert statuses == {"s33": "failed", "s8": "done"}


def test_a_matrix_is_overwritten_whole(llama: Path, tmp_path: Path) -> None:
    assert capture(llama, tmp_path / "o", "--seq-len", "4,5,6") == 0
    assert capture(llama, tmp_path / "o", "--seq-len", "4,7", "--overwrite") == 0
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"index.json", "s4", "s7"}


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\n"])
def test_an_index_leads_nowhere_else(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"schema": "layertui.index/1", "cases": [{"name": name, "status": "done"}]}
    for side in "ab":
        (tmp_path / side).mkdir()
        (tmp_path / side / "index.json").write_text(json.dumps(content))
    assert compare(tmp_path / "a", tmp_path / "b") == 2
    assert "without a plain name" in said(capsys)


# --- how it ends badly


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--prompt", "a", "--input-ids", "1"], "either a prompt or input ids"),
        (["--input-ids", "1,x"], "not a list of token ids"),
        (["--input-ids", "1,2;3"], "the same length"),
        (["--input-ids", "1,999"], "the vocabulary has 320"),
        (["--input-ids", "1;2;3", "--batch-size", "2"], "3 rows"),
        (["--batch-size", "0"], "not a positive number"),
        (["--seq-len", "4,4"], "given twice"),
        (["--num-hidden-layers", "9"], "the model has 2 layers"),
        (["--max-new-tokens", "3"], "--mode generate"),
        (["--max-new-tokens", "3,3", "--mode", "generate"], "given twice"),
        (["--max-new-tokens", "3,0", "--mode", "generate"], "not a positive number"),
        (["--max-new-tokens", "3,4", "--mode", "model-forward"], "--mode generate"),
        (["--stats-only", "--format", "pt"], "--stats-only needs"),
        (["--tokens", "last:2", "--format", "pt"], "--tokens needs"),
        (["--tokens", "some"], 'such as "last:64"'),
        (["--mismatch", "0.1"], "--mismatch belongs to --dump-on-mismatch"),
        (["--dump-on-mismatch", "nowhere"], "'nowhere' does not exist"),
        (["--dump-on-mismatch", ".", "--stats-only"], "choose one"),
        (["--layers", "5:9"], "no such layer; it has layers 0 to 1"),
        (["--layers", "x"], "is not the number of a layer"),
        (["--include", "nothing"], "leave no module"),
        (["--device", "tpu"], "is not cpu, cuda, cuda:N or auto"),
        (["--factory", "nocolon"], "not package.module:function"),
    ],
)
def test_bad_options_get_one_line(
    args: list[str], words: str, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture(llama, tmp_path / "o", *args) == 2
    assert words in said(capsys)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no config.json"),
        ("{", "the config cannot be loaded"),
        ('{"model_type": "no-such-model"}', "has no models of the type 'no-such-model'"),
        ('{"model_type": 3}', "the config cannot be loaded"),
        ('{"no": "type"}', "the config cannot be loaded"),
        ("[1]", "the config cannot be loaded"),
    ],
)
def test_bad_models_get_one_line(
    content: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    if content is not None:
        (model / "config.json").write_text(content)
    assert capture(model, tmp_path / "o") == 2
    assert words in said(capsys)


@pytest.mark.parametrize(
    "command", [["capture", "torch"], ["capture", "both"], ["verify", "--candidate", "torch"]]
)
def test_a_prompt_needs_a_tokenizer(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "both" in command and not has_extra("max"):
        pytest.skip("without MAX, that is said")
    model = write_config(tmp_path / "model", llama_config())
    assert status_of([*command, str(model), "--prompt", "a", "-o", str(tmp_path / "o")]) == 2
    assert "no tokenizer in it; give --input-ids instead of a prompt" in said(capsys)
    assert not (tmp_path / "o").exists()


def test_a_class_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = llama_config()
    config.architectures = ["NoSuchForCausalLM"]
    model = write_config(tmp_path / "model", config)
    assert capture(model, tmp_path / "o", "--input-ids", "3,4") == 0
    out = capsys.readouterr().out
    assert "the config names NoSuchForCausalLM, which transformers does not have" in out
    assert "run as LlamaForCausalLM" in out


def test_progress_on_a_terminal(factory: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "layertui.cli.main", "capture", "torch", "nowhere", "-o", "o",
         "--factory", f"{factory}:deep"],
        cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    out, _ = child.communicate(timeout=300)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:
        while part := terminal.read(4096):
            shown += part
    assert child.returncode == 0
    text = shown.decode()
    assert "running the capture  [" in text
    # A busy machine may draw some of the layers and seconds only.
    assert re.search(r"layer [1-4] of 4", text) and re.search(r"  0:0[1-9]", text)
    assert text.endswith("\r\x1b[K")  # the line is gone in the end
    assert b"layer 2 of 4" not in out and b"captured" in out


def test_ctrl_c_leaves_a_valid_capture(factory: str, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "layertui.cli.main", "capture", "torch", "nowhere", "-o", "o",
         "--factory", f"{factory}:slow"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    waited = time.monotonic()
    while not os.path.exists(tmp_path / "waiting"):
        assert child.poll() is None and time.monotonic() - waited < 300
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=300)
    assert child.returncode == 130
    assert err.strip() == "layertui: interrupted"
    opened = open_capture(tmp_path / "o")
    assert opened.complete is False
    assert {record.module for record in opened.records} >= {"first"}
    assert values(opened)[0, "first", "output"].shape == (3, 4)
