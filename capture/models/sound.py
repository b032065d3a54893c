"""Inputs of models that hear: from a `.wav` file by the model's own processor, or by chance."""

from __future__ import annotations

import os
import wave
from typing import TYPE_CHECKING, Any

from ..cases import Case
from ..errors import CaptureError
from .run_plan import Plan

if TYPE_CHECKING:
    import torch

SOUND = ("input_features", "input_values")  # spectrograms, or the wave itself
_SAMPLES = 16_000  # a second, where nothing says how many
_FRAMES = 300  # three seconds of spectrogram, where the model does not say how many
_MOST_BYTES = 256 << 20
# Whisper and its kin take spectrograms of a fixed length: twice the positions of the encoder.
_POSITIONS = "max_source_positions"


def sound_inputs(name: str, model: Any, case: Case, plan: Plan) -> dict[str, torch.Tensor]:
    """The argument `name` of `SOUND`, for `case`. Raises `CaptureError`."""
    if plan.audio is not None:
        return _processed(name, plan, case)
    import torch

    generator = torch.Generator().manual_seed(plan.seed)
    batch, config = case.batch or 1, model.config
    if name == "input_values":
        return {name: torch.randn(batch, case.length or _SAMPLES, generator=generator)}
    positions = getattr(config, _POSITIONS, None)
    bins = getattr(config, "num_mel_bins", None) or getattr(config, "input_feat_per_channel", None)
    if not isinstance(bins, int):
        raise CaptureError(
            f"{type(model).__name__}: its config does not say how many mel bins {name} has; "
            "--audio FILE.wav is run by the model's own processor"
        )
    if isinstance(positions, int) and getattr(config, "model_type", "") == "whisper":
        return {name: torch.randn(batch, bins, 2 * positions, generator=generator)}
    return {name: torch.randn(batch, case.length or _FRAMES, bins, generator=generator)}


def read_wave(path: str) -> tuple[Any, int]:
    """Samples from -1 to 1 as float32, all channels averaged, and their rate in Hz.

    Of PCM with 8, 16, 24 or 32 bits. Raises `CaptureError`.
    """
    import numpy as np

    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise CaptureError(f"{path}: more than {_MOST_BYTES >> 20} MiB of sound")
        with wave.open(path, "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        words = getattr(error, "strerror", None) or str(error) or "the file ends early"
        raise CaptureError(f"{path}: no .wav file of plain samples: {words}") from error
    usable = len(raw) - len(raw) % (width * channels)
    data = np.frombuffer(raw[:usable], np.uint8).reshape(-1, width)
    if not len(data):
        raise CaptureError(f"{path}: no samples in it")
    if width == 1:
        samples = (data[:, 0].astype(np.float32) - 128) / 128
    else:  # signed, in the upper bytes of 32 bits
        wide = np.zeros((len(data), 4), np.uint8)
        wide[:, 4 - width :] = data
        samples = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return samples.reshape(-1, channels).mean(1, dtype=np.float32), rate


def _processed(name: str, plan: Plan, case: Case) -> dict[str, torch.Tensor]:
    from transformers import AutoFeatureExtractor

    assert plan.audio is not None
    samples, rate = read_wave(plan.audio)
    try:
        extractor: Any = AutoFeatureExtractor.from_pretrained(plan.model)
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise CaptureError(f"{plan.model}: no feature extractor for sound: {said}") from error
    wanted = getattr(extractor, "sampling_rate", rate)
    if wanted != rate:
        raise CaptureError(f"{plan.audio}: {rate} Hz, the model hears {wanted} Hz: resample it")
    try:
        made = extractor([samples] * (case.batch or 1), sampling_rate=rate, return_tensors="pt")
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise CaptureError(f"{plan.audio}: {type(error).__name__}: {said}") from error
    if name not in made:
        raise CaptureError(f"{plan.model}: its feature extractor makes no {name}")
    return {key: value for key, value in made.items() if key in (name, "attention_mask")}
