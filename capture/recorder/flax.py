"""`record_flax`: a Flax module run once, with what every module in it returned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import CaptureError
from .tree_of_arrays import add_tree

_KEPT = "intermediates"


def record_flax(
    module: Any, variables: Mapping[str, Any], *inputs: Any, path: str | os.PathLike[str],
    overwrite: bool = False, mutable: Any = (), **named: Any,
) -> Any:  # fmt: skip
    """Run `module.apply(variables, *inputs, **named)` of a `flax.linen.Module` and write a capture
    of it to `path`: what each module returned, in every call, and what was sown.

    Returns what `apply` returns: with `mutable` collections a pair, as there. Not under
    `jax.jit`: arrays have values outside only. Raises `CaptureError`.
    """
    if not callable(getattr(module, "apply", None)):
        raise CaptureError(f"record_flax: {type(module).__name__} has no apply: no Flax module")
    wanted = [mutable] if isinstance(mutable, str) else list(mutable or ())
    output, state = module.apply(
        variables, *inputs, capture_intermediates=True, mutable=[*wanted, _KEPT], **named
    )
    ids = _token_ids(inputs)
    meta: dict[str, Any] = {} if ids is None else {"input_ids": ids}
    add_tree(state[_KEPT], path=path, overwrite=overwrite, model=type(module).__name__, **meta)
    if not wanted:
        return output
    return output, {name: value for name, value in state.items() if name != _KEPT}


def _token_ids(inputs: tuple[Any, ...]) -> list[Any] | None:
    """The first input where it is rows of whole numbers."""
    import numpy as np

    first = np.asarray(inputs[0]) if inputs and hasattr(inputs[0], "shape") else None
    if first is None or first.ndim != 2 or first.dtype.kind not in "iu" or first.size > 1 << 20:
        return None
    return first.tolist()
