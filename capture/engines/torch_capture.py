"""Captures of PyTorch runs: a Hugging Face model, or what a factory makes, run on each case."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..cases import Case, Rows, write_index
from ..errors import CaptureError
from ..extras import require_torch
from ..models.checkpoint import load_config, load_factory, load_model, model_class
from ..models.model_inputs import known_tokens, make_rows, model_inputs, takes_text
from ..models.run_directory import check_space, prepare_directory, refuse_in_use
from ..models.run_plan import Plan, Watcher
from ..sizes import byte_text, size_of
from ..weights.recorded import link_parameters

if TYPE_CHECKING:
    import torch

_PROBE = 8  # tokens of the short run that sizes are taken from
INPUTS = 1.5  # with inputs against outputs alone; most inputs are some output and stored once


def capture_torch(plan: Plan, path: str, watcher: Watcher) -> list[str]:
    """Run every case and write its capture to `path`, or below it where there are several.

    Returns what went wrong, a line a case; other cases go on. Raises `CaptureError` when nothing
    can run at all. Ctrl-C passes through; the captures hold what was done.
    """
    require_torch("capturing in PyTorch", transformers=plan.factory is None)
    import torch

    device = checked_device(plan.device)
    refuse_in_use(path, plan.overwrite)
    with torch.set_grad_enabled(plan.gradients):
        model, inputs_of = _model_and_inputs(plan, watcher)
        prepare_directory(path, plan.overwrite)
        model.to(device).eval()
        return _run_cases(plan, path, model, inputs_of, watcher)


Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def _model_and_inputs(
    plan: Plan, watcher: Watcher
) -> tuple[torch.nn.Module, Callable[[Any, Case], Inputs]]:
    if plan.factory is not None:
        return _from_factory(plan, watcher)
    config = load_config(plan)
    text = takes_text(model_class(config)) and plan.image is None and plan.audio is None
    rows: dict[str, Rows | None] = {
        case.name: make_rows(case, plan, config) if text else None for case in plan.cases
    }
    model = load_model(plan, config, watcher)

    def inputs_of(model: Any, case: Case) -> Inputs:
        return (), model_inputs(model, case, plan, rows[case.name])

    return model, inputs_of


def _from_factory(
    plan: Plan, watcher: Watcher
) -> tuple[torch.nn.Module, Callable[[Any, Case], Inputs]]:
    """A factory gets the model's path, and returns a module, or a module and its inputs."""
    import torch

    torch.manual_seed(plan.seed)
    made = load_factory(plan.factory or "")(plan.model)
    model, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, torch.nn.Module):
        raise CaptureError(
            f"--factory {plan.factory}: returned a {type(model).__name__}, not a module"
        )
    kind = type(model)
    watcher.say(f"model      {kind.__name__}  {_source(kind)}")

    def inputs_of(model: Any, case: Case) -> Inputs:
        found = given if given is not None else _rows_of(case, plan, model)
        if isinstance(found, dict):
            args, kwargs = (), found
        else:
            args, kwargs = (found if isinstance(found, tuple) else (found,)), {}
        return _moved(args, model), _moved(kwargs, model)

    return model, inputs_of


def _rows_of(case: Case, plan: Plan, model: Any) -> dict[str, Any]:
    import torch

    config = getattr(model, "config", None)
    if case.ids is not None:
        return {"input_ids": torch.tensor(case.ids, dtype=torch.int64)}
    if config is None or not hasattr(config, "get_text_config"):
        raise CaptureError(
            f"--factory {plan.factory}: returned no inputs; return (module, inputs) or give "
            "--input-ids"
        )
    return {"input_ids": torch.tensor(make_rows(case, plan, config), dtype=torch.int64)}


def _moved(value: Any, model: Any) -> Any:
    import torch

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(inner, model) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(inner, model) for inner in value)
    return value


def _source(kind: type) -> str:
    try:
        return inspect.getsourcefile(kind) or "no source file"
    except TypeError:
        return "no source file"


# --- running


def _run_cases(
    plan: Plan, path: str, model: Any, inputs_of: Callable[[Any, Case], Inputs], watcher: Watcher
) -> list[str]:
    failed: list[str] = []
    several = len(plan.cases) > 1
    entries: list[dict[str, Any]] = []
    rates: list[float] = []
    done = ""  # a folder with the parameters
    for case in plan.cases:
        folder = os.path.join(path, case.name) if several else path
        entry: dict[str, Any] = {"name": case.name, "status": "running", "prompt": case.prompt}
        if several:
            entries.append(entry)
            write_index(path, "torch", entries)
        try:
            args, kwargs = inputs_of(model, case)
            one = plan.alone(case)
            work = _tokens(args, kwargs) + one.steps - 1
            if rates:
                check_space(path, max(rates) * work)
            _run_case(one, case, folder, model, (args, kwargs), watcher, done)
            done = done or folder
            entry["status"] = "done"
            rates.append(size_of(folder) / work)
        except CaptureError as error:
            failed.append(f"{case.name}: {error}" if several else str(error))
            entry["status"] = f"failed: {error}"
        except BaseException as error:
            entry["status"] = f"stopped: {type(error).__name__}"
            raise
        finally:
            if several:
                write_index(path, "torch", entries)
    return failed


def _run_case(
    plan: Plan, case: Case, folder: str, model: Any, inputs: Inputs, watcher: Watcher,
    earlier: str,
) -> None:  # fmt: skip
    """One recorded run; its parameters are those of an `earlier` one where there is any.

    Raises `CaptureError`, also for what the model raises.
    """
    from ..recorder.api import record

    args, kwargs = inputs
    ids = kwargs.get("input_ids")
    watcher.say(f"input      {_described(inputs)}{_about(case, plan)}")
    _check_estimate(plan, folder, model, inputs, watcher)
    meta: dict[str, Any] = {"model": plan.model, "run": _settings(plan, model)}
    if ids is not None and ids.dim() == 2:
        meta["input_ids"] = ids.tolist()
    started = time.monotonic()
    watcher.stage(f"running {case.title}", folder)
    undo = _count_layers(model, plan.steps, watcher)
    recorder = record(
        model, folder, include=plan.include or None, exclude=plan.exclude or None,
        inputs=plan.inputs, level=plan.level, stats_only=plan.stats_only, format=plan.format,
        tokens=plan.tokens, layers=plan.only_layers, dump_on_mismatch=plan.dump_on_mismatch,
        mismatch=plan.mismatch,
        overwrite=plan.overwrite, prompt=case.prompt, meta=meta, gradients=plan.gradients,
        parameters="none" if earlier else plan.parameters,
    )  # fmt: skip
    try:
        with recorder:
            if earlier:
                link_parameters(earlier, recorder.path)
            _forward(plan, model, args, kwargs, watcher)
    except CaptureError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError,
            NotImplementedError, RuntimeError, TypeError, ValueError) as error:  # fmt: skip
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise CaptureError(f"the model raised {type(error).__name__}: {said}") from error
    finally:
        undo()
    took = time.monotonic() - started
    silent = outermost(recorder.never_fired)
    if silent:
        more = f" and {len(silent) - 5} more" if len(silent) > 5 else ""
        watcher.say(f"note       never ran, so not recorded: {', '.join(silent[:5])}{more}")
    watcher.say(f"captured   {folder}  {byte_text(size_of(folder))}  {took:.1f} s")


def _settings(plan: Plan, model: Any) -> dict[str, Any]:
    used = getattr(getattr(model, "config", None), "_attn_implementation", None)
    return {**plan.settings(), "attention": used if isinstance(used, str) else plan.attention}


def _forward(
    plan: Plan, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], watcher: Watcher
) -> None:
    if plan.mode == "generate":
        _generate(plan, model, args, kwargs, watcher)
        return
    if "use_cache" in inspect.signature(model.forward).parameters:
        kwargs = {**kwargs, "use_cache": False}  # nothing is decoded behind it
    if not plan.gradients:
        model(*args, **kwargs)
        return
    ids = kwargs.get("input_ids")
    if ids is not None and "labels" in inspect.signature(model.forward).parameters:
        kwargs = {**kwargs, "labels": kwargs.get("decoder_input_ids", ids)}
    loss_of(model(*args, **kwargs)).backward()


def loss_of(output: Any) -> torch.Tensor:
    """What a model calls its loss, else the mean square of the first output that has a gradient.

    Raises `CaptureError` where no output has one.
    """
    import torch

    loss = getattr(output, "loss", None)
    if isinstance(loss, torch.Tensor) and loss.requires_grad and not loss.dim():
        return loss
    left = [output]
    while left:
        part = left.pop(0)
        if isinstance(part, torch.Tensor) and part.requires_grad:
            return part.float().pow(2).mean()
        if isinstance(part, dict):
            left[:0] = list(part.values())
        elif isinstance(part, (tuple, list)):
            left[:0] = list(part)
    raise CaptureError("--gradients: no output of the model has a gradient")


def outermost(names: list[str]) -> list[str]:
    """Names without those that lie inside others of them."""
    known = set(names)
    return [
        name for name in names
        if not any(name[:at] in known for at, letter in enumerate(name) if letter == ".")
    ]  # fmt: skip


def _generate(
    plan: Plan, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], watcher: Watcher
) -> None:
    """Greedy, and through the end of the text, so that every framework makes the same steps.

    Ids that the tokenizer does not have are never chosen, which is what MAX does.
    """
    import torch

    if not hasattr(model, "generate"):
        raise CaptureError(f"{type(model).__name__} does not generate; use --mode forward")
    if "input_ids" in kwargs and "attention_mask" not in kwargs:
        kwargs = {**kwargs, "attention_mask": torch.ones_like(kwargs["input_ids"])}
    size = getattr(model.config.get_text_config(), "vocab_size", 0)
    known = (known_tokens(plan.model) if plan.factory is None else None) or size
    if known < size:
        kwargs["suppress_tokens"] = list(range(known, size))
        watcher.say(f"note       ids from {known} on are not in the tokenizer: never generated")
    config = model.generation_config
    config.eos_token_id, config.pad_token_id = None, config.pad_token_id or 0
    config.temperature = config.top_p = config.top_k = None
    model.generate(
        *args, **kwargs, do_sample=False, num_beams=1, max_new_tokens=plan.new_tokens,
        min_new_tokens=0,
    )  # fmt: skip


# --- sizes and progress


def _check_estimate(plan: Plan, folder: str, model: Any, inputs: Inputs, watcher: Watcher) -> None:
    """Run a few tokens first, and refuse when all of them would not fit on the disk."""
    args, kwargs = inputs
    ids = kwargs.get("input_ids")
    small = plan.stats_only or plan.tokens or plan.only_layers or plan.dump_on_mismatch
    if small or ids is None or ids.dim() != 2 or ids.numel() <= _PROBE:
        return
    watcher.stage("estimating the size")
    few = min(_PROBE, ids.shape[1])
    short = {**kwargs, "input_ids": ids[:1, :few]}
    if set(kwargs) - {"input_ids", "decoder_input_ids"}:
        return
    if "decoder_input_ids" in short:
        short["decoder_input_ids"] = short["decoder_input_ids"][:1]
    try:
        size = bytes_of(model, args, short) / few
    except (RuntimeError, ValueError, LookupError, TypeError):
        return  # the run itself will say it
    tokens = ids.numel() + ids.shape[0] * (plan.steps - 1)
    need = size * tokens * (INPUTS if plan.inputs else 1)
    check_space(folder if os.path.isdir(folder) else os.path.dirname(folder) or ".", need)


def bytes_of(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Bytes of all outputs of all modules in one run."""
    import torch

    total = 0

    def count(module: Any, given: Any, output: Any) -> None:
        nonlocal total
        parts = output if isinstance(output, tuple | list) else (output,)
        total += sum(p.numel() * p.element_size() for p in parts if isinstance(p, torch.Tensor))

    handles = [module.register_forward_hook(count) for module in model.modules()]
    try:
        model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _count_layers(model: Any, steps: int, watcher: Watcher) -> Callable[[], None]:
    """Tell `watcher` when a layer of the deepest stack has run; call the result to stop."""
    import torch

    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    deepest = max(lists, key=len, default=None)
    total, done = (0 if deepest is None else len(deepest) * steps), 0

    def advance(*_: Any) -> None:
        nonlocal done
        done += 1
        watcher.layers(min(done, total), total)

    handles = [layer.register_forward_hook(advance) for layer in deepest or ()]

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


def _tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Tokens, or numbers, of the first input: what a capture's size grows with."""
    first = kwargs.get("input_ids", next(iter((*args, *kwargs.values())), None))
    return max(1, int(first.numel())) if first is not None and hasattr(first, "numel") else 1


def _described(inputs: Inputs) -> str:
    args, kwargs = inputs
    named = [*((f"input {i}", value) for i, value in enumerate(args)), *kwargs.items()]
    return ", ".join(
        f"{name} {'x'.join(map(str, value.shape))}" if hasattr(value, "shape") else name
        for name, value in named
    )


def _about(case: Case, plan: Plan) -> str:
    if case.prompt is not None:
        text = case.prompt if len(case.prompt) <= 40 else case.prompt[:39] + "…"
        return f"  {text!r}"
    given = any(one is not None for one in (case.ids, plan.image, plan.audio, plan.factory))
    return "" if given else "  random"


def checked_device(name: str) -> str:
    """`cpu`, `cuda` or `cuda:N`. Raises `CaptureError` for a GPU that is not there."""
    import torch

    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise CaptureError(f"--device {name}: torch sees no CUDA device")
    count = torch.cuda.device_count()
    if name.startswith("cuda:") and int(name[5:]) >= count:
        raise CaptureError(f"--device {name}: torch sees {count} CUDA devices, the last is "
                           f"cuda:{count - 1}")  # fmt: skip
    return name
