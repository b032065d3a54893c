"""Inputs of a model: token ids from ids, a prompt or chance; pixels from a file or chance."""

from __future__ import annotations

import inspect
import os
import random
from typing import TYPE_CHECKING, Any

from ..cases import Case, Rows
from ..errors import CaptureError
from .checkpoint import has_tokenizer
from .run_plan import Plan
from .sound import SOUND, sound_inputs

if TYPE_CHECKING:
    import torch

_LENGTH = 16  # tokens where nothing says how many


def make_rows(case: Case, plan: Plan, config: Any) -> Rows:
    """Token ids of a case, rows of one length: as given, of the prompt, or drawn by the seed.

    Ids that are too few for `case.length` are repeated, too many are cut. Raises `CaptureError`.
    """
    size = getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(size, int):
        raise CaptureError(f"{plan.model}: its config has no vocabulary: it takes no token ids")
    if case.ids is not None:
        rows = case.ids
    elif case.prompt is not None:
        rows = (tokens_of(case.prompt, plan.model),)
    else:
        return _random_rows(case, plan.seed, config, size)
    largest = max(max(row) for row in rows)
    if largest >= size:
        raise CaptureError(f"token id {largest}: the vocabulary has {size} tokens")
    rows = _batched(rows, case.batch)
    return rows if case.length is None else tuple(_stretched(row, case.length) for row in rows)


def tokens_of(prompt: str, model: str) -> tuple[int, ...]:
    """The prompt's token ids with the special tokens of the model. Raises `CaptureError`."""
    from transformers import AutoTokenizer

    if not has_tokenizer(model):
        raise CaptureError(f"{model}: no tokenizer in it; give --input-ids instead of a prompt")
    try:
        ids = AutoTokenizer.from_pretrained(model)(prompt)["input_ids"]
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise CaptureError(f"{model}: the prompt cannot be tokenized: {said}") from error
    if not ids:
        raise CaptureError("the prompt is empty: it has no tokens")
    return tuple(int(number) for number in ids)


def known_tokens(model: str) -> int | None:
    """How many tokens the model's tokenizer has; None where there is none."""
    from transformers import AutoTokenizer

    try:
        return len(AutoTokenizer.from_pretrained(model)) if has_tokenizer(model) else None
    except Exception:  # whatever is wrong with it, ids can be run without
        return None


def takes_text(kind: Any) -> bool:
    """True where the class's forward takes token ids."""
    return "input_ids" in inspect.signature(kind.forward).parameters


def model_inputs(model: Any, case: Case, plan: Plan, rows: Rows | None) -> dict[str, torch.Tensor]:
    """The keyword arguments of `model`, on its device. Raises `CaptureError`."""
    import torch

    made: dict[str, Any]
    names = inspect.signature(model.forward).parameters
    sound = next((name for name in SOUND if name in names), None)
    if sound is not None and (plan.audio is not None or "input_ids" not in names):
        made = sound_inputs(sound, model, case, plan)
    elif plan.audio is not None:
        raise CaptureError(f"--audio: {type(model).__name__} takes no sound")
    elif plan.image is not None:
        made = _processed(plan, case)
    else:
        made = {}
        if rows is not None:
            made["input_ids"] = torch.tensor(rows, dtype=torch.int64)
        if "pixel_values" in names and _needs_pixels(model, rows):
            made["pixel_values"] = _random_pixels(model.config, case, plan.seed)
    _add_decoder_ids(model, made, plan)
    first = next(model.parameters())
    return {
        name: value.to(first.device, first.dtype if value.is_floating_point() else None)
        for name, value in made.items()
        if isinstance(value, torch.Tensor)
    }


def _batched(rows: Rows, batch: int | None) -> Rows:
    if batch is None or len(rows) == batch:
        return rows
    if len(rows) == 1:
        return rows * batch
    raise CaptureError(f"--batch-size {batch}: there are {len(rows)} rows of input ids")


def _stretched(row: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (row * -(-length // len(row)))[:length]


def _random_rows(case: Case, seed: int, config: Any, size: int) -> Rows:
    """Ids other than the special ones, different in every row."""
    text = config.get_text_config()
    special: set[int] = set()
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "image_token_id"):
        value = getattr(text, name, None)
        special.update(value if isinstance(value, list) else [value] if value is not None else [])
    allowed = [number for number in range(size) if number not in special] or list(range(size))
    generator = random.Random(seed)
    length, batch = case.length or _LENGTH, case.batch or 1
    return tuple(tuple(generator.choice(allowed) for _ in range(length)) for _ in range(batch))


def _needs_pixels(model: Any, rows: Rows | None) -> bool:
    """Vision models, and pairs of encoders; a model that generates text does without an image."""
    return rows is None or model.main_input_name == "pixel_values" or not model.can_generate()


def _random_pixels(config: Any, case: Case, seed: int) -> torch.Tensor:
    import torch

    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    channels = getattr(vision, "num_channels", 3)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(case.batch or 1, channels, height, width, generator=generator)


def _processed(plan: Plan, case: Case) -> dict[str, Any]:
    """What the model's own processor makes of the image and the prompt."""
    from transformers import AutoImageProcessor, AutoProcessor

    assert plan.image is not None
    if not os.path.isfile(plan.image):
        raise CaptureError(f"{plan.image}: no such file")
    try:
        from PIL import Image

        with Image.open(plan.image) as opened:
            images = [opened.convert("RGB")] * (case.batch or 1)
        if case.prompt is None:
            return dict(AutoImageProcessor.from_pretrained(plan.model)(images, return_tensors="pt"))
        processor = AutoProcessor.from_pretrained(plan.model)
        texts = [case.prompt] * len(images)
        return dict(processor(images=images, text=texts, return_tensors="pt"))
    except ImportError as error:
        raise CaptureError(f"--image needs another package: {error}") from error
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise CaptureError(f"{plan.image}: {type(error).__name__}: {said}") from error


def _add_decoder_ids(model: Any, made: dict[str, Any], plan: Plan) -> None:
    """A decoder begins with its start token; `generate` sees to that itself."""
    import torch

    names = inspect.signature(model.forward).parameters
    wanted = getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in names
    if not wanted or plan.mode == "generate" or not made:
        return
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(model.config, "bos_token_id", None) or 0
    batch = next(iter(made.values())).shape[0]
    made["decoder_input_ids"] = torch.full((batch, 1), int(start), dtype=torch.int64)
