"""`layertui capture torch` on models that hear, with gradients, and with parts that never run."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from layertui.capture import CaptureError, open_capture
from layertui.capture.engines.torch_capture import checked_device
from layertui.capture.load import load
from layertui.capture.models.sound import read_wave
from layertui.cli.main import status_of
from support.tiny_checkpoints import IDS_TEXT, llama_config, write_config, write_llava


def capture(model: object, out: Path, *args: object) -> int:
    return status_of(["capture", "torch", str(model), "-o", str(out), *map(str, args)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    err = capsys.readouterr().err
    assert err.startswith("layertui: ") and err.count("\n") == 1, err
    return err


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    config = transformers.WhisperConfig(
        vocab_size=64, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80,
        max_source_positions=1500, max_target_positions=32, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    config.architectures = ["WhisperForConditionalGeneration"]
    folder = write_config(tmp_path / "whisper", config)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Path:
    config = transformers.Wav2Vec2Config(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8),
        num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    config.architectures = ["Wav2Vec2ForCTC"]
    folder = write_config(tmp_path / "wav2vec2", config)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def write_wave(path: Path, rate: int = 16_000, width: int = 2, channels: int = 1) -> np.ndarray:
    """A tone of a quarter second; returns its samples."""
    tone = np.sin(np.arange(rate // 4) / rate * 2 * np.pi * 440) * 0.5
    if width == 1:
        data = (np.round(tone * 127) + 128).astype(np.uint8)[:, None]
    else:
        whole = np.round(tone * (2 ** (8 * width - 1) - 1)).astype("<i8")
        data = whole[:, None].view(np.uint8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.tile(data, (1, channels)).tobytes())
    return tone


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2"])
def test_models_that_hear(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    model = request.getfixturevalue(kind)
    for out in ("one", "two"):
        assert capture(model, tmp_path / out, "--seed", 3) == 0
    capsys.readouterr()
    assert status_of(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    write_wave(tmp_path / "tone.wav")
    assert capture(model, tmp_path / "heard", "--audio", tmp_path / "tone.wav") == 0
    capsys.readouterr()
    modules = {r.module for r in open_capture(tmp_path / "heard").records}
    layer = {"whisper": "model.decoder.layers.1.fc2",
             "wav2vec2": "wav2vec2.encoder.layers.1.feed_forward.output_dense"}[kind]  # fmt: skip
    assert layer in modules
    assert status_of(["compare", str(tmp_path / "one"), str(tmp_path / "heard")]) == 1


def test_sound_is_what_the_processor_makes_of_it(whisper: Path, tmp_path: Path) -> None:
    samples = write_wave(tmp_path / "tone.wav")
    assert capture(whisper, tmp_path / "o", "--audio", tmp_path / "tone.wav") == 0
    (given,) = [
        r for r in open_capture(tmp_path / "o").records if r.name == "-input_input_features"
    ]
    assert given.locator is not None
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper)
    expected = extractor(samples.astype(np.float32), sampling_rate=16_000, return_tensors="np")
    assert np.allclose(load(given.locator), expected["input_features"], atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_waves_of_every_width(width: int, channels: int, tmp_path: Path) -> None:
    expected = write_wave(tmp_path / "a.wav", 8000, width, channels)
    samples, rate = read_wave(str(tmp_path / "a.wav"))
    assert rate == 8000 and samples.dtype == np.float32
    assert np.abs(samples - expected).max() < (0.01 if width == 1 else 1e-4)


def test_sound_that_cannot_be_run(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    with pytest.raises(CaptureError, match=r"no \.wav file"):
        read_wave(str(bad))
    assert capture(whisper, tmp_path / "o", "--audio", bad) == 2
    assert "no .wav file of plain samples" in said(capsys)
    write_wave(tmp_path / "high.wav", 44_100)
    assert capture(whisper, tmp_path / "o", "--audio", tmp_path / "high.wav") == 2
    assert "44100 Hz, the model hears 16000 Hz" in said(capsys)
    write_wave(tmp_path / "tone.wav")
    llama = write_config(tmp_path / "llama", llama_config())
    assert capture(llama, tmp_path / "o", "--audio", tmp_path / "tone.wav") == 2
    assert "takes no sound" in said(capsys)
    (whisper / "preprocessor_config.json").unlink()
    assert capture(whisper, tmp_path / "o", "--audio", tmp_path / "tone.wav") == 2
    assert "no feature extractor for sound" in said(capsys)


def test_modules_that_never_ran_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that sees, given text alone, runs without its vision tower."""
    model = write_llava(tmp_path / "llava")
    assert capture(model, tmp_path / "o", "--input-ids", IDS_TEXT) == 0
    out = "".join(capsys.readouterr())
    (line,) = [line for line in out.splitlines() if "never ran" in line]
    assert "vision_tower" in line and "vision_tower." not in line  # not each module in it
    assert "projector" in line
    notes = open_capture(tmp_path / "o").notes
    assert any("never ran" in note and "vision_tower" in note for note in notes)
    llama = write_config(tmp_path / "llama", llama_config())
    assert capture(llama, tmp_path / "p", "--input-ids", IDS_TEXT) == 0
    assert "never ran" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("arguments", [[], ["--input-ids", "3,4,5;6,7,8"]])
def test_gradients_from_the_shell(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_config(tmp_path / "model", llama_config())
    for out in ("one", "two"):
        assert capture(model, tmp_path / out, "--gradients", *arguments) == 0
    records = open_capture(tmp_path / "one").records
    grads = {r.module for r in records if r.slot.startswith("grad_output")}
    assert {"model.layers.0.mlp", "model.layers.1.self_attn.q_proj", "lm_head"} <= grads
    assert all(r.error is None for r in records)
    capsys.readouterr()
    assert status_of(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    capture(model, tmp_path / "plain", *arguments)
    plain = open_capture(tmp_path / "plain").records
    assert not [r for r in plain if r.slot.startswith("grad")]


def test_gradients_are_those_of_the_loss(tmp_path: Path) -> None:
    model = write_config(tmp_path / "model", llama_config())
    assert capture(model, tmp_path / "o", "--gradients", "--input-ids", "3,4,5,6") == 0
    config = transformers.AutoConfig.from_pretrained(model)
    torch.manual_seed(0)
    made = transformers.LlamaForCausalLM._from_config(config, dtype=torch.float32).eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    seen: dict[str, torch.Tensor] = {}
    logits = made.lm_head
    logits.register_full_backward_hook(lambda m, given, out: seen.update(grad=out[0]))
    made(input_ids=ids, labels=ids).loss.backward()
    (record,) = [r for r in open_capture(tmp_path / "o").records
                 if (r.module, r.slot) == ("lm_head", "grad_output")]  # fmt: skip
    assert record.locator is not None
    assert np.allclose(load(record.locator), seen["grad"].numpy(), atol=1e-7)


def test_gradients_and_generation_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_config(tmp_path / "model", llama_config())
    assert capture(model, tmp_path / "o", "--gradients", "--mode", "generate") == 2
    assert "--gradients: there are none" in said(capsys)


@pytest.mark.parametrize("kept", ["none", "small", "all"])
def test_parameters_from_the_shell(kept: str, tmp_path: Path) -> None:
    model = write_config(tmp_path / "model", llama_config())
    assert capture(model, tmp_path / "o", "--parameters", kept) == 0
    index = tmp_path / "o" / ".layertui-parameters.json"
    assert index.exists() == (kept != "none")
    if index.exists():
        assert json.loads(index.read_text())["kept"] == kept


class Cuda:
    """What torch says of GPUs."""

    def __init__(self, count: int) -> None:
        self.count = count

    def is_available(self) -> bool:
        return self.count > 0

    def device_count(self) -> int:
        return self.count


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "auto", "cuda"), (2, "cuda", "cuda"),
     (2, "cuda:1", "cuda:1"), (0, "cuda", "no CUDA device"), (0, "cuda:1", "no CUDA device"),
     (2, "cuda:2", "sees 2 CUDA devices, the last is cuda:1")],
)  # fmt: skip
def test_one_gpu_of_several(
    count: int, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda: Any = Cuda(count)
    monkeypatch.setattr(torch.cuda, "is_available", cuda.is_available)
    monkeypatch.setattr(torch.cuda, "device_count", cuda.device_count)
    if " " not in expected:
        assert checked_device(name) == expected
        return
    with pytest.raises(CaptureError, match=expected):
        checked_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda:1", "gpu:0"])
def test_a_gpu_that_is_not_there_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_config(tmp_path / "model", llama_config())
    assert capture(model, tmp_path / "o", "--device", name) == 2
    assert f"--device cuda:{name[-1]}: torch sees no CUDA device" in said(capsys)
    assert capture(model, tmp_path / "o", "--device", "cuda:x") == 2
