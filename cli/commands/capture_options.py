"""Options of `layertui capture`, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...capture.cases import Case, Rows, expand_cases, parse_ids
from ...capture.engines.registry import EXPORTERS
from ...capture.errors import CaptureError
from ...capture.models.run_plan import Plan
from ...capture.token_places import TokenPart
from ...capture.weights.recorded import KINDS
from ..errors import UserError
from ..options import LayersType, Range, device_option

Command = TypeVar("Command", bound=Callable[..., Any])

DTYPES = ("float32", "bfloat16", "float16")
_NEW_TOKENS = 8
_MOST_PROMPTS = 10_000


class Counts(click.ParamType):
    """`1,2,4`: positive whole numbers."""

    name = "N[,N...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() and 0 < int(part) < 1 << 31 for part in parts):
            self.fail(f"{value!r} is not a positive number, nor a list such as 1,2", param, ctx)
        return tuple(int(part) for part in parts)


class TokenIds(click.ParamType):
    """`1,2,3`, rows of a batch separated by `;`."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rows:
        if isinstance(value, tuple):
            return value
        try:
            return parse_ids(str(value))
        except CaptureError as error:
            self.fail(str(error), param, ctx)


class Layers(click.ParamType):
    """A number of layers, or `all`, which is None."""

    name = "N|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value is None or isinstance(value, int):
            return value
        if value == "all":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a positive number nor all", param, ctx)
        return int(value)


class Mode(click.ParamType):
    """`forward` (also called `model-forward`) or `generate`."""

    name = "forward|generate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = {"model-forward": "forward"}.get(str(value), str(value))
        if word not in ("forward", "generate"):
            self.fail(f"{value!r} is not forward or generate", param, ctx)
        return word


SEEDS = click.IntRange(min=0, max=(1 << 63) - 1)
MODULE_APIS = ("v2", "v3")


def dtype_option(default: str) -> Callable[[Command], Command]:
    """`--dtype`; `default` says what it is when it is not given."""
    return click.option(
        "--dtype", "--encoding", type=click.Choice(DTYPES), default=None,
        help=f"Dtype of the weights.  [default: {default}]",
    )  # fmt: skip


_PROMPT = click.option(
    "--prompt", "--test-input", "prompt", default=None, metavar="TEXT", help="Text to run."
)
_IDS = click.option(
    "--input-ids", "ids", type=TokenIds(), default=None,
    help="Token ids to run instead; rows of a batch are separated by ';'.",
)  # fmt: skip
# How the model of a run is made and what it does.
_RUN = (
    click.option(
        "--num-hidden-layers", "layers", type=Layers(), default="all", show_default=True,
        help="Keep only the first N layers; 1 is enough to begin with.",
    ),
    click.option(
        "--mode", type=Mode(), default="forward", show_default=True,
        help="One forward pass (also called model-forward), or greedy generation, one step "
        "per pass.",
    ),
    click.option(
        "--seed", type=SEEDS, default=0, show_default=True,
        help="Seed of weights where the directory has none, and of ids where none are given.",
    ),
)  # fmt: skip


def _new_tokens(kind: click.ParamType, more: str = "") -> Callable[[Command], Command]:
    return click.option(
        "--max-new-tokens", "new_tokens", type=kind, default=None,
        help=f"Number of passes with --mode generate{more}.  [default: {_NEW_TOKENS}]",
    )  # fmt: skip


ALLOW_UNSUPPORTED = click.option(
    "--allow-unsupported", is_flag=True,
    help="Patch MAX where it refuses to run on a CPU or is known to crash there.",
)  # fmt: skip
_MAX = (
    click.option(
        "--module-api", type=click.Choice(MODULE_APIS), default="v2", show_default=True,
        help="Which of MAX's module interfaces to build the model with.",
    ),
    ALLOW_UNSUPPORTED,
)  # fmt: skip

_PROVIDER = click.option(
    "--provider", metavar="cpu|cuda|...", default=None,
    help="Which provider of ONNX Runtime.  [default: cuda where there is one, else cpu]",
)  # fmt: skip
_EXPORTER = click.option(
    "--exporter", type=click.Choice(EXPORTERS), default=None,
    help="Which of torch's exporters makes an ONNX file.  "
    "[default: dynamo where onnxscript is installed]",
)  # fmt: skip
_OUTPUT = click.option(
    "-o", "--output", required=True, metavar="DIR", type=click.Path(file_okay=False),
    help="Where the capture goes.",
)  # fmt: skip
_WHICH = (
    click.option(
        "--include", multiple=True, metavar="GLOB", help="Record only these modules; repeatable."
    ),
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Do not record these modules; repeatable."
    ),
    click.option("--outputs-only", is_flag=True, help="Leave the modules' inputs out."),
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace a capture that is there.")

_COMMON = (
    _OUTPUT,
    click.option(
        "--prompt", "--test-input", "prompt", multiple=True, metavar="TEXT",
        help="Text to run; may be repeated.",
    ),
    click.option(
        "--prompt-file", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
        help="Text file with one prompt per line.",
    ),
    _IDS,
    click.option(
        "--batch-size", "batches", type=Counts(), default=(),
        help="Rows per run; several values make a matrix of cases.",
    ),
    click.option(
        "--seq-len", "lengths", type=Counts(), default=(),
        help="Tokens per row: the input is repeated or cut to it; several values make a matrix.",
    ),
    dtype_option("the checkpoint's"),
    device_option("the model runs"),
    *_RUN,
    _new_tokens(Counts(), "; several make a matrix"),
    *_WHICH,
    click.option(
        "--parameters", type=click.Choice(KINDS), default="small", show_default=True,
        help="Parameters kept with the capture; small: norms, biases, rotary tables, and digests "
             "of all.",
    ),
    _OVERWRITE,
)  # fmt: skip

_TORCH = (
    click.option(
        "--level", type=click.Choice(["module", "op"]), default="module", show_default=True,
        help="op: also the output of every operator.",
    ),
    click.option("--stats-only", is_flag=True, help="Write statistics instead of values."),
    click.option(
        "--tokens", metavar="last:64|0:128|every:16", default=None,
        help="Only these tokens of each step.",
    ),
    click.option(
        "--layers", "only_layers", type=LayersType(), metavar="0:5", default=None,
        help="Only these layers, and what stands outside of all layers; all of them run.",
    ),
    click.option(
        "--dump-on-mismatch", metavar="REF", type=click.Path(exists=True), default=None,
        help="Write values only where they differ from those of the capture REF, else statistics.",
    ),
    click.option(
        "--mismatch", type=Range(0, 1, min_open=True, max_open=True), default=None,
        help="Relative error from which they differ.  [default: 1e-4, or 8 roundings of the dtype]",
    ),
    click.option(
        "--format", type=click.Choice(["native", "pt"]), default="native", show_default=True,
        help="pt: torch files, as MAX's TorchPrintHook writes them.",
    ),
    click.option(
        "--image", metavar="FILE", type=click.Path(exists=True, dir_okay=False), default=None,
        help="Image to run, prepared by the model's own processor.",
    ),
    click.option(
        "--attention", metavar="NAME", default=None,
        help="Implementation of attention, such as eager.  [default: the model's]",
    ),
)  # fmt: skip

_TORCH_ONLY = (
    click.option(
        "--gradients", is_flag=True,
        help="Gradients of outputs too, of the loss on the input itself, or of the mean square of "
        "the first output.",
    ),
    click.option(
        "--audio", metavar="FILE.wav", type=click.Path(exists=True, dir_okay=False), default=None,
        help="Sound to run, by the model's own processor.  [default: random]",
    ),
)  # fmt: skip

_ARRAYS = click.option(
    "--inputs", "inputs_file", metavar="FILE.npz", type=click.Path(dir_okay=False),
    default=None, help="Arrays by the names of the model's inputs.",
)  # fmt: skip
_ONNX = (
    _ARRAYS,
    _PROVIDER,
    click.option(
        "--optimised", "--optimized", "optimised", is_flag=True,
        help="Run the graph as ONNX Runtime optimises it; it is said which values vanished.",
    ),
    click.option(
        "--level", type=click.Choice(["module", "op"]), default="module", show_default=True,
        help="op: the output of every node as well.",
    ),
)  # fmt: skip

_FACTORY = click.option(
    "--factory", metavar="MODULE:FUNCTION", default=None,
    help="Function that makes the model; called with MODEL_DIR.",
)  # fmt: skip


def torch_options(command: Command) -> Command:
    """What `capture torch` takes."""
    return _with((*_COMMON, *_TORCH, *_TORCH_ONLY, _FACTORY), command)


def max_options(command: Command) -> Command:
    """What `capture max` takes."""
    return _with((*_COMMON, _FACTORY, *_MAX), command)


def onnx_options(command: Command) -> Command:
    """What `capture onnx` takes."""
    return _with((_OUTPUT, _PROMPT, _IDS, *_ONNX, *_WHICH, _EXPORTER, _OVERWRITE), command)


def openvino_options(command: Command) -> Command:
    """What `capture openvino` takes."""
    device = click.option(
        "--device", metavar="CPU|GPU|...", default="CPU", show_default=True,
        help="Which device of OpenVINO.",
    )  # fmt: skip
    return _with((_OUTPUT, _PROMPT, _IDS, _ARRAYS, device, *_WHICH, _OVERWRITE), command)


def llama_cpp_options(command: Command) -> Command:
    """What `capture llamacpp` takes."""
    level = click.option(
        "--level", type=click.Choice(["module", "op"]), default="module", show_default=True,
        help="op: also values without a name, views, and the cache.",
    )  # fmt: skip
    layers = click.option(
        "--gpu-layers", type=click.IntRange(min=0), default=0, show_default=True,
        help="How many layers run on a GPU.",
    )  # fmt: skip
    which = _WHICH[:2]
    return _with((_OUTPUT, _PROMPT, _IDS, layers, level, *which, _OVERWRITE), command)


def verify_options(command: Command) -> Command:
    """What `verify` takes of them: one case."""
    run = (_PROMPT, _IDS, dtype_option("the checkpoint's"), device_option("the models run"), *_RUN)
    return _with((*run, _new_tokens(click.IntRange(min=1)), *_MAX, _PROVIDER, _EXPORTER), command)


def both_options(command: Command) -> Command:
    """What `capture both` takes."""
    return _with((*_COMMON, *_TORCH, *_MAX, _PROVIDER, _EXPORTER), command)


def _with(options: tuple[Callable[[Any], Any], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def make_plan(
    model: str, *, prompt: tuple[str, ...], prompt_file: str | None, ids: Rows | None,
    batches: tuple[int, ...], lengths: tuple[int, ...], outputs_only: bool, mode: str,
    new_tokens: int | tuple[int, ...] | None, **rest: Any,
) -> Plan:  # fmt: skip
    """The plan that the options describe. Raises `UserError` where they contradict."""
    if new_tokens is not None and mode != "generate":
        raise UserError("--max-new-tokens belongs to --mode generate")
    if rest.get("gradients") and mode == "generate":
        raise UserError("--gradients: there are none of --mode generate")
    _check_native(rest)
    counts = (new_tokens,) if isinstance(new_tokens, int) else new_tokens or (_NEW_TOKENS,)
    prompts = [*prompt, *(_prompts_in(prompt_file) if prompt_file else ())]
    try:
        if rest.get("tokens") is not None:
            TokenPart.parse(rest["tokens"])
        cases = expand_cases(prompts, ids, batches, lengths, counts)
    except CaptureError as error:
        raise UserError(str(error)) from error
    return Plan(
        model, cases, inputs=not outputs_only, mode=mode, new_tokens=counts[0], **rest,
    )  # fmt: skip


def _check_native(rest: dict[str, Any]) -> None:
    """Raises `UserError` for options that do not go together."""
    for name in ("stats_only", "tokens", "dump_on_mismatch"):
        if rest.get("format") == "pt" and rest.get(name):
            option = name.replace("_", "-")
            raise UserError(f"--{option} needs --format native: a .pt file holds one tensor")
    if rest.get("stats_only") and rest.get("dump_on_mismatch"):
        raise UserError("--dump-on-mismatch and --stats-only: choose one")
    if rest.get("mismatch") is not None and not rest.get("dump_on_mismatch"):
        raise UserError("--mismatch belongs to --dump-on-mismatch")


def make_single_plan(
    model: str, *, prompt: str | None, ids: Rows | None, outputs_only: bool = False, **rest: Any
) -> Plan:
    """The plan of engines that run one case. Raises `UserError` for contradictions."""
    if prompt is not None and ids is not None:
        raise UserError("give either a prompt or input ids, not both")
    return Plan(model, (Case(prompt=prompt, ids=ids),), inputs=not outputs_only, **rest)


def _prompts_in(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            prompts = [line.rstrip("\n") for line in file if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    if not prompts or len(prompts) > _MOST_PROMPTS:
        raise UserError(f"{path}: holds {len(prompts)} prompts; 1 to {_MOST_PROMPTS} are allowed")
    return prompts
