"""What MAX says when it does not run a model, in words that tell what to try instead."""

from __future__ import annotations

import re

from ..models.run_plan import Plan

_NO_ARCHITECTURE = re.compile(r"No architecture found for (\w+)")
_NO_ENCODING = re.compile(r"quantization_encoding of '(\w+)' not supported")
_NO_END = re.compile(r"stop_token_ids cannot be empty")
_NO_CPU = re.compile(r"'(\w+)' is not compatible with the selected device type")


def explained(error: str, plan: Plan) -> str | None:
    """What to do about an error of MAX 26.7, as one line; None where that is not known."""
    if found := _NO_ARCHITECTURE.search(error):
        return (
            f"MAX has no architecture {found[1]}; --factory package.module:function can run a MAX "
            "model of your own, capture torch runs this one in PyTorch"
        )
    if found := _NO_ENCODING.search(error):
        others = [name for name in ("float32", "bfloat16") if name != found[1]]
        also = "" if plan.allow_unsupported else " (on a CPU with --allow-unsupported)"
        return f"MAX does not run this model in {found[1]}; try --dtype {' or '.join(others)}{also}"
    if (found := _NO_CPU.search(error)) and not plan.allow_unsupported:
        return (
            f"MAX does not run {found[1]} on a CPU; --allow-unsupported runs it nevertheless, "
            "--dtype float32 avoids it"
        )
    if _NO_END.search(error):
        return (
            "MAX needs to know which token ends a text; name one as eos_token_id in the model's "
            "config.json (any id will do for a capture)"
        )
    return None


def crashed(signal: str, log: str, plan: Plan) -> str:
    """One line for a process of MAX that ended by a signal."""
    hint = (
        "--module-api v3, --dtype or another device may help"
        if plan.allow_unsupported
        else "--allow-unsupported patches what MAX is known to crash on with a CPU"
    )
    return f"MAX crashed ({signal}; see {log}); {hint}"
