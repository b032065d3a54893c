"""Models from Hugging Face directories: the class that the config names, cut to some layers, with
the checkpoint's weights or random ones; and directories that MAX can load the same model from.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CaptureError
from ..extras import require_torch
from ..plurals import IS, counted
from .run_plan import Plan, Watcher

if TYPE_CHECKING:
    import torch

_WEIGHTS = (".safetensors", ".bin", ".index.json", ".pt", ".pth", ".gguf")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_DEPTHS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
_AUTO = (  # for a config without a class; encoders are known as causal models too, thus earlier
    "AutoModelForSeq2SeqLM",
    "AutoModelForImageTextToText",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageClassification",
    "AutoModel",
)


def load_config(plan: Plan) -> Any:
    """The model's config, cut to `plan.layers`. Raises `CaptureError`."""
    if os.path.isdir(plan.model) and not os.path.isfile(os.path.join(plan.model, "config.json")):
        raise CaptureError(f"{plan.model}: no config.json in it; is it a Hugging Face directory?")
    if not os.path.isdir(plan.model) and (os.path.exists(plan.model) or plan.model.count("/") > 1):
        raise CaptureError(f"{plan.model}: no such directory")
    require_torch("loading a model")
    from transformers import AutoConfig  # takes seconds

    _quiet_transformers()
    _check_kind(plan.model)
    with _in_words(f"{plan.model}: the config cannot be loaded"):
        config = AutoConfig.from_pretrained(plan.model, trust_remote_code=False)
    if plan.layers is not None:
        _cut(config, plan.layers, plan.model)
    return config


def _check_kind(model: str) -> None:
    """Raises `CaptureError` where the config in a directory is of a kind that transformers does not
    have; what else is wrong with it, transformers says.
    """
    from transformers import CONFIG_MAPPING, __version__

    try:
        content = json.loads(Path(model, "config.json").read_text(encoding="utf-8"))
        kind = content.get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return
    if isinstance(kind, str) and kind not in CONFIG_MAPPING:
        raise CaptureError(
            f"{model}: transformers {__version__} has no models of the type {kind!r}; a newer "
            "version may, and --factory package.module:function can make the model"
        )


def load_model(plan: Plan, config: Any, watcher: Watcher) -> torch.nn.Module:
    """The model in evaluation mode on the CPU. Raises `CaptureError`."""
    import torch

    kind = model_class(config)
    torch.manual_seed(plan.seed)
    watcher.say(f"model      {kind.__name__}  {inspect.getsourcefile(kind) or 'no source file'}")
    named = [str(name) for name in getattr(config, "architectures", None) or ()]
    if named and kind.__name__ not in named:
        watcher.say(f"note       the config names {', '.join(named)}, which transformers does not "
                    f"have: run as {kind.__name__}")  # fmt: skip
    dtype = getattr(torch, plan.dtype) if plan.dtype else _own_dtype(config)
    if not has_weights(plan.model):
        watcher.say(f"weights    none in {plan.model}: random, seed {plan.seed}")
        with _in_words(f"{kind.__name__} cannot be made"):
            model = _made(kind, config, plan.attention)
        return model.to(dtype).eval()
    return _loaded(kind, plan, config, dtype, watcher)


def _loaded(
    kind: Any, plan: Plan, config: Any, dtype: torch.dtype, watcher: Watcher
) -> torch.nn.Module:
    more = {"attn_implementation": plan.attention} if plan.attention else {}
    watcher.stage(f"loading {plan.model}")
    with _in_words(f"{plan.model}: the weights cannot be loaded"):
        model, info = kind.from_pretrained(
            plan.model, config=config, dtype=dtype, output_loading_info=True,
            trust_remote_code=False, **more,
        )  # fmt: skip
    missing = sorted(info.get("missing_keys", ()))
    if missing:
        watcher.say(f"note       {counted(len(missing), 'weight', IS)} not in the checkpoint and "
                    f"random, seed {plan.seed}: {_some(missing)}")  # fmt: skip
    unused = sorted(info.get("unexpected_keys", ()))
    if unused and plan.layers is None:
        watcher.say(f"note       the model does not use {counted(len(unused), 'weight')} of the "
                    f"checkpoint: {_some(unused)}")  # fmt: skip
    return model.eval()


def _made(kind: Any, config: Any, attention: str | None) -> torch.nn.Module:
    """Random weights, drawn in float32 so that every dtype gets the same up to rounding."""
    import torch

    if attention:
        config._attn_implementation = attention
    return kind._from_config(config, dtype=torch.float32)


def model_class(config: Any) -> Any:
    """The class of transformers that the config names. Raises `CaptureError`."""
    import transformers

    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    for auto in _AUTO:
        mapping = getattr(transformers, auto)._model_mapping
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    named = ", ".join(map(str, getattr(config, "architectures", None) or ())) or "no class"
    raise CaptureError(
        f"the config names {named}, which transformers does not have; --factory "
        "package.module:function can make the model"
    )


def load_factory(name: str) -> Callable[..., Any]:
    """The function `package.module:function`, looked for in the working directory too.

    Raises `CaptureError`.
    """
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise CaptureError(f"--factory {name}: not package.module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with _in_words(f"--factory {name}"):
        made = getattr(importlib.import_module(module), function)
    if not callable(made):
        raise CaptureError(f"--factory {name}: not a function")
    return made


def has_weights(model: str) -> bool:
    """False for a directory with a config only; a hub id is taken to have weights."""
    if not os.path.isdir(model):
        return True
    return any(name.endswith(_WEIGHTS) for name in os.listdir(model))


def has_tokenizer(model: str) -> bool:
    """True where the files of a tokenizer lie in the directory; a hub id is taken to have them."""
    return not os.path.isdir(model) or any(
        os.path.isfile(os.path.join(model, name)) for name in _TOKENIZERS
    )


def own_dtype_name(config: Any) -> str:
    """`float32`, `bfloat16` or `float16`: what the config says, float32 where it says nothing."""
    return str(_own_dtype(config)).removeprefix("torch.")


def stage_for_max(plan: Plan, config: Any, into: str, watcher: Watcher) -> str:
    """A directory that MAX can load: `plan.model` itself, or a copy below `into` where the model
    is cut, has random weights or another dtype, or where the directory has no tokenizer.

    MAX wants tokenizer files though it is given token ids. Raises `CaptureError`.
    """
    own = own_dtype_name(config)
    same = has_weights(plan.model) and plan.layers is None and plan.dtype in (None, own)
    if same and has_tokenizer(plan.model):
        return plan.model
    if same:
        _link_files(plan.model, into)
    else:
        watcher.stage("writing a checkpoint for MAX")
        model: Any = load_model(plan, config, _Silent(watcher))
        model.config.dtype = model.dtype
        with _in_words("a checkpoint for MAX cannot be written"):
            model.save_pretrained(into)
    _add_tokenizer(plan.model, into, config.get_text_config().vocab_size)
    return into


def _link_files(model: str, into: str) -> None:
    for name in os.listdir(model):
        Path(into, name).symlink_to(Path(model, name).resolve())


def _add_tokenizer(model: str, into: str, size: int) -> None:
    from transformers import AutoTokenizer

    if has_tokenizer(model):
        with _in_words(f"{model}: the tokenizer cannot be loaded"):
            AutoTokenizer.from_pretrained(model).save_pretrained(into)
        return
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # As many tokens as the model has: MAX never generates one that its tokenizer lacks.
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens += [f"<token {i}>" for i in range(len(tokens), size)]
    vocabulary = {token: i for i, token in enumerate(tokens[:size])}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    plain.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    PreTrainedTokenizerFast(tokenizer_object=plain).save_pretrained(into)


class _Silent:
    """Progress goes on, sentences were said before."""

    def __init__(self, watcher: Watcher) -> None:
        self.stage, self.layers = watcher.stage, watcher.layers

    def say(self, line: str) -> None:
        if line.startswith(("note", "weights")):
            return


def _own_dtype(config: Any) -> torch.dtype:
    import torch

    text = config.get_text_config()
    for part in (config, text):
        said = getattr(part, "dtype", None)
        named = getattr(torch, said, None) if isinstance(said, str) else said
        if isinstance(named, torch.dtype):
            return named
    return torch.float32


def _cut(config: Any, layers: int, model: str) -> None:
    """Leave the first `layers` layers of every stack that is deeper."""
    parts = {id(part): part for part in (config, config.get_text_config())}
    depths = [
        (part, name, depth)
        for part in parts.values()
        for name in _DEPTHS
        if type(depth := getattr(part, name, None)) is int
    ]
    if not depths:
        raise CaptureError(f"{model}: its config does not say how many layers it has")
    deepest = max(depth for _, _, depth in depths)
    if layers > deepest:
        raise CaptureError(f"--num-hidden-layers {layers}: the model has {deepest} layers")
    for part, name, depth in depths:
        if depth <= layers:
            continue
        for key, value in list(vars(part).items()):
            if "layer" in key and isinstance(value, list) and len(value) == depth:
                setattr(part, key, value[:layers])
        setattr(part, name, layers)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _quiet_transformers() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """Whatever goes wrong inside is one line that begins with `what`."""
    try:
        yield
    except CaptureError:
        raise
    except json.JSONDecodeError as error:
        raise CaptureError(f"{what}: damaged JSON: {error}") from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        said = lines[0][:300] if lines else ""
        raise CaptureError(f"{what}: {type(error).__name__}: {said}") from error
