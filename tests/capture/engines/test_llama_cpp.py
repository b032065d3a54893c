"""llama.cpp runs GGUF files of tiny models; PyTorch runs the checkpoints that they are made of."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from layertui.capture.engines.llamacpp import ggml
from layertui.capture.errors import CaptureError
from layertui.capture.load import load
from layertui.capture.models.run_details import run_header
from layertui.capture.open import open_capture
from layertui.capture.records import Capture
from layertui.cli.main import status_of
from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.model import Measurement
from support.gguf_files.models import Change, write_gguf
from support.tiny_checkpoints import IDS, IDS_TEXT, llama_config, write_causal

pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")
pytestmark = [pytest.mark.llamacpp, pytest.mark.xdist_group("llamacpp")]

PROMPT = "!FGHPZdefx"  # which has the tokens IDS
KINDS = ("llama", "qwen2", "qwen3")
# What llama.cpp names of each layer, or we by its weight, as transformers calls it.
OF_LAYERS = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
             "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
             "mlp.down_proj")  # fmt: skip
OF_MODELS = ("embed_tokens", "norm", "lm_head", "layers.0", "layers.1",
             *(f"layers.{n}.{name}" for n in (0, 1) for name in OF_LAYERS))  # fmt: skip


def config_of(kind: str) -> Any:
    llama = llama_config()
    if kind == "llama":
        return llama
    made = {"qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}[kind]
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "dtype",
            "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")  # fmt: skip
    more = {"head_dim": 16} if kind == "qwen3" else {}
    return made(**{name: getattr(llama, name) for name in same}, **more)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By kind a checkpoint, whose biases are not 0, and its run in PyTorch (`<kind>_dump`)."""
    place = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        folder = write_causal(place / kind, config_of(kind))
        model = loaded(folder)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith(".bias"):
                    weight.add_(0.3 * torch.randn_like(weight))
        model.save_pretrained(folder)
        captured("torch", folder, place / f"{kind}_dump", "--input-ids", IDS_TEXT)
    return place


def loaded(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def captured(engine: str, model: Path, out: Path, *words: str) -> Capture:
    assert status_of(["capture", engine, str(model), "-o", str(out), *words]) == 0
    return open_capture(str(out))


def run(
    models: Path, kind: str, out: Path, quantisation: str = "F32", change: Change | None = None
) -> tuple[Path, Path]:
    """A file, and its capture."""
    file = out / "model.gguf"
    write_gguf(file, loaded(models / kind), quantisation, change)
    captured("llamacpp", file, out / "dump", "--input-ids", IDS_TEXT)
    return file, out / "dump"


def compared(reference: Path, candidate: Path) -> Comparison:
    found = open_comparison(str(reference), str(candidate))
    found.measure(use_cache=False)
    return found


def judged(models: Path, kind: str, file: Path, dump: Path, report: Path) -> dict[str, Any]:
    """The report of a comparison with both checkpoints."""
    status = status_of(
        ["compare", str(models / f"{kind}_dump"), str(dump), "--reference-model",
         str(models / kind), "--candidate-model", str(file), "--format", "json", "-o", str(report)]
    )  # fmt: skip
    return {**json.loads(report.read_text()), "exit": status}


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_that_llama_cpp_names_agrees_with_pytorch(
    kind: str, models: Path, tmp_path: Path
) -> None:
    """Rows of queries and keys, which the converter turns for a llama, among them."""
    _, dump = run(models, kind, tmp_path)
    comparison = compared(models / f"{kind}_dump", dump)
    pairs = {
        row.canonical for row in comparison.rows if row.kind == "pair" and row.slot == "output"
    }
    assert pairs >= set(OF_MODELS)
    assert comparison.exit_status() == 0
    measured = [m for m in comparison.measurements if isinstance(m, Measurement)]
    assert max(m.relative_l2 for m in measured if m.relative_l2 is not None) < 1e-5


def test_values_are_whole_and_those_of_the_graph(models: Path, tmp_path: Path) -> None:
    _, dump = run(models, "llama", tmp_path)
    found = {record.name: record for record in open_capture(str(dump)).records}
    assert all(r.locator is not None and r.partial is None for r in found.values())
    names = [record.module for record in open_capture(str(dump)).records]
    assert names.index("attn_norm-0") < names.index("ffn_out-0") < names.index("result_output")
    value = {name: load(record.locator) for name, record in found.items()}
    table = loaded(models / "llama").model.embed_tokens.weight.detach().numpy()
    np.testing.assert_array_equal(value["inp_tokens-value"], IDS)
    np.testing.assert_array_equal(value["embd-value"], table[IDS])
    residual = value["attn_out-0-value"] + value["embd-value"]
    np.testing.assert_array_equal(value["ffn_inp-0-value"], residual)
    assert value["result_output-value"].shape == (10, 320)


def test_a_run_says_what_it_is(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(file, loaded(models / "llama"), "Q8_0", tokenizer=models / "llama")
    capture = captured("llamacpp", file, tmp_path / "dump", "--prompt", PROMPT)
    header = run_header(str(tmp_path / "dump"))
    assert (capture.framework, capture.device, capture.prompt) == ("llama.cpp", "cpu", PROMPT)
    assert capture.input_ids == [IDS] and capture.complete is True
    environment = header["environment"]
    assert environment["numerics"]["quantization"].startswith("Q8_0 (16 of 21")
    assert {"llama_cpp", "ggml"} <= environment["versions"].keys()
    assert header["run"]["model"] == str(file)
    assert header["config"]["rms_norm_eps"] == 1e-5 and header["config"]["head_dim"] == 16


def test_two_rows_are_one_batch(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(file, loaded(models / "llama"))
    ids = ["--input-ids", "3,40,41;42,50,60"]
    captured("torch", models / "llama", tmp_path / "torch", *ids)
    captured("llamacpp", file, tmp_path / "dump", *ids)
    assert compared(tmp_path / "torch", tmp_path / "dump").exit_status() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", ["self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"])
def test_a_wrong_weight_is_found_and_named(
    kind: str, module: str, models: Path, tmp_path: Path
) -> None:
    wrong = f"model.layers.1.{module}.weight"
    file, dump = run(models, kind, tmp_path, change=lambda n, v: 1.25 * v if n == wrong else v)
    found = judged(models, kind, file, dump, tmp_path / "report.json")
    first = found["first_divergence"]
    assert found["exit"] == 1 and first["module"] == f"layers.1.{module}"
    assert first["causes"][0]["name"] == "scale"


def test_one_wrong_number_is_named_by_the_checkpoints(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(name: str, values: np.ndarray) -> np.ndarray:
        values = values.copy()
        if name == "model.layers.1.mlp.down_proj.weight":
            values[3, 5] += 0.5
        return values

    file, dump = run(models, "llama", tmp_path, change=change)
    sides = ["explain", str(models / "llama_dump"), str(dump), "layers.1.mlp.down_proj"]
    own = ["--reference-model", str(models / "llama"), "--candidate-model", str(file)]
    assert status_of([*sides, *own]) == 0
    said = capsys.readouterr().out
    assert "a different model.layers.1.mlp.down_proj.weight (1 of 8192 elements" in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantisation", ["F16", "BF16"])
def test_narrow_weights_are_no_fault(
    quantisation: str, kind: str, models: Path, tmp_path: Path
) -> None:
    found = judged(models, kind, *run(models, kind, tmp_path, quantisation), tmp_path / "r.json")
    assert found["exit"] == 0 and found["first_divergence"] is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_0"])
def test_quantised_weights_are_called_so(
    quantisation: str, kind: str, models: Path, tmp_path: Path
) -> None:
    """And nothing else is found; a fault beside them is."""
    clean = run(models, kind, tmp_path, quantisation)
    found = judged(models, kind, *clean, tmp_path / "report.json")
    assert found["first_divergence"]["module"] == "embed_tokens"
    assert {finding["causes"][0]["name"] for finding in found["findings"]} == {"quantised"}
    bad = tmp_path / "bad"
    bad.mkdir()
    wrong = "model.layers.1.mlp.gate_proj.weight"
    file, dump = run(models, kind, bad, quantisation, lambda n, v: 1.25 * v if n == wrong else v)
    found = judged(models, kind, file, dump, bad / "report.json")
    named = {f["module"]: f["causes"][0]["name"] for f in found["findings"] if f["causes"]}
    assert named.get("layers.1.mlp.gate_proj") == "scale"


def test_what_is_recorded_can_be_chosen(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(file, loaded(models / "llama"))
    ids = ["--input-ids", IDS_TEXT]
    some = captured("llamacpp", file, tmp_path / "some", *ids, "--include", "ffn_*", "--exclude",
                    "*-1")  # fmt: skip
    assert {r.module for r in some.records} == {
        "inp_tokens", "ffn_inp-0", "ffn_norm-0", "ffn_gate-0", "ffn_up-0", "ffn_swiglu-0",
        "ffn_out-0",
    }  # fmt: skip
    every = captured("llamacpp", file, tmp_path / "every", *ids, "--level", "op")
    found = {record.name: record for record in every.records}
    view = found["Qcur-0 (view) (permuted)-value"]  # whose elements do not stand one by one
    plain = load(found["Qcur-0(3)-value"].locator)
    np.testing.assert_array_equal(load(view.locator), plain.transpose(1, 0, 2))
    assert compared(models / "llama_dump", tmp_path / "every").exit_status() == 0


def test_bad_input_is_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(file, loaded(models / "llama"))
    odd = tmp_path / "odd.gguf"
    write_gguf(odd, loaded(models / "llama"), change=lambda n, v: v[1:] if "lm_head" in n else v)
    for words, what in (
        ([str(file), "--input-ids", "999"], "token id 999: the vocabulary has 320 tokens"),
        ([str(file), "--prompt", "Hello"], "no tokenizer in it; give --input-ids"),
        ([str(file), "--input-ids", "1", "--include", "tea"], "no value is recorded"),
        ([str(odd), "--input-ids", "1"], "cannot be loaded: llama.cpp says"),
    ):
        capsys.readouterr()
        assert status_of(["capture", "llamacpp", *words, "-o", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("layertui: ") and what in line


def test_a_capture_that_is_there_outlives_a_run_that_fails(models: Path, tmp_path: Path) -> None:
    file, dump = run(models, "llama", tmp_path)
    again = ["capture", "llamacpp", str(file), "-o", str(dump), "--overwrite", "--input-ids", "999"]
    assert status_of(again) == 2
    assert open_capture(str(dump)).complete is True
    assert status_of([*again[:-1], "5"]) == 0
    assert open_capture(str(dump)).input_ids == [[5]]


def struct_of(*names: str) -> type[ctypes.Structure]:
    """The fields of a tensor in another order."""
    kinds: dict[str, Any] = dict(ggml.TensorStruct._fields_)  # pyright: ignore

    class Other(ctypes.Structure):
        _fields_ = [(name, kinds[name]) for name in names]

    return Other


FIELDS = [name for name, *_ in ggml.TensorStruct._fields_]  # pyright: ignore


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS[:-1],
        [*FIELDS, "padding"][1:],
        ["type", "buffer", "nb", "ne", *FIELDS[4:]],
        [*FIELDS[:10], "name", "data", *FIELDS[12:]],
    ],
    ids=["smaller", "without a type", "strides first", "name elsewhere"],
)
def test_a_library_whose_tensors_look_otherwise_is_refused(
    fields: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether by its size or by what the library says of a tensor."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    address = made_tensor(folder)
    assert ggml.Ggml(folder).tensor(address).shape == (2, 3, 4)
    monkeypatch.setattr(ggml, "TensorStruct", struct_of(*dict.fromkeys(fields)))
    with pytest.raises(CaptureError, match="keeps tensors in another way than is known here"):
        ggml.Ggml(folder).tensor(address)


def made_tensor(folder: Path) -> int:
    """A tensor of float32 that the library made, 4 x 3 x 2 in its order of axes."""

    class Parameters(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p),
                    ("no_alloc", ctypes.c_bool)]  # fmt: skip

    lib = ctypes.CDLL(str(folder / "libggml-base.so"))
    lib.ggml_init.restype, lib.ggml_init.argtypes = ctypes.c_void_p, [Parameters]
    lib.ggml_new_tensor_3d.restype = ctypes.c_void_p
    lib.ggml_new_tensor_3d.argtypes = [ctypes.c_void_p, ctypes.c_int, *[ctypes.c_int64] * 3]
    lib.ggml_set_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.ggml_set_name.restype = ctypes.c_void_p
    tensor = lib.ggml_new_tensor_3d(lib.ggml_init(Parameters(1 << 16, None, False)), 0, 4, 3, 2)
    lib.ggml_set_name(tensor, b"tea")
    return tensor
