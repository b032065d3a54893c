"""A tensor that a layer is fed, in the form that the candidate has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...capture.dtypes import DTYPES
from ...capture.errors import RecordError
from ...capture.records import Record
from ...capture.runners.layers import RerunError
from ..measuring.pair_reader import SideTask
from ..recipes.errors import RecipeError
from ..recipes.parse import parse_recipe

if TYPE_CHECKING:
    from ...capture.values import Array


@dataclass(frozen=True, slots=True)
class Fed:
    """One tensor to be handed over under `slot`: a record and what is done to it.

    `row` is the pair that it comes from. `undo` is the candidate's recipe, to be undone to
    `shape`. `own` marks a record of the candidate itself. `heads_last`: `[batch, heads, tokens,
    size]` becomes `[batch * tokens, heads, size]`.
    """

    slot: str
    task: SideTask
    row: int | None = None
    undo: str = ""
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    own: bool = False
    heads_last: bool = False
    ragged: bool = False


def is_float(record: Record | None) -> bool:
    known = DTYPES.get(record.dtype or "") if record is not None else None
    return known is not None and known.kind == "float"


def plain(slot: str, record: Record) -> Fed:
    if record.locator is None:
        raise RerunError(f"`{slot}` of the reference: {record.error or 'has no values'}")
    return Fed(slot, side_task_of(record))


def side_task_of(record: Record) -> SideTask:
    if record.locator is None or record.dtype is None:
        raise RerunError(f"`{record.slot}`: {record.error or 'has no values'}")
    return SideTask(record.locator, record.dtype)


def tensor_of(fed: Fed) -> tuple[str, tuple[int, ...], bytes]:
    """Dtype, shape and plain bytes of what is handed over. Raises `RerunError`."""
    try:
        raw, dtype = _in_candidate_form(fed)
        if fed.dtype is not None:
            raw, dtype = _as_dtype(raw, dtype, fed.dtype)
    except RecipeError as error:
        raise RerunError(f"`{fed.slot}`: {error}") from error
    except (RecordError, OSError) as error:
        raise RerunError(f"`{fed.slot}` of the reference: {error}") from error
    except MemoryError as error:
        raise RerunError(f"`{fed.slot}`: not enough memory") from error
    return dtype, tuple(raw.shape), raw.tobytes()


def _in_candidate_form(fed: Fed) -> tuple[Array, str]:
    """Raw elements in the candidate's layout, and their dtype."""
    from ..measuring.pair_reader import PairReader

    if fed.task.partial:
        raise RecordError("holds only some of the elements")
    with PairReader(fed.task, None) as reader:
        side = reader.sides["reference"]
        raw = side.read(side.view).copy()
        dtype = side.dtype
        if side.recipe.casts:
            raw, dtype = _rounded(side.numbers(side.view).copy(), side.recipe.casts[-1])
    if fed.heads_last:
        raw = raw.transpose(0, 2, 1, 3).reshape(-1, raw.shape[1], raw.shape[3])
    if fed.ragged and raw.ndim > 1:
        raw = raw.reshape(-1, raw.shape[-1]) if raw.ndim > 2 else raw.reshape(-1)
    if fed.shape is not None:
        recipe = parse_recipe(fed.undo).layout
        undo = recipe.inverse(fed.shape)
        if tuple(raw.shape) != recipe.shape(fed.shape):
            raise RecipeError(f"the recipes give {list(raw.shape)}, not {list(fed.shape)}")
        raw = undo.apply(raw)
    return raw, dtype


def _as_dtype(raw: Array, dtype: str, wanted: str) -> tuple[Array, str]:
    """The same numbers in the candidate's dtype; kinds (float, whole number) are not mixed."""
    from ...capture.values import upcast

    if dtype == wanted or dtype not in DTYPES or wanted not in DTYPES:
        return raw, dtype
    have, want = DTYPES[dtype], DTYPES[wanted]
    if have.kind == want.kind == "float":
        return _rounded(upcast(raw, dtype), wanted)
    if have.kind == want.kind == "int":
        return raw.astype(want.storage), wanted
    return raw, dtype


def _rounded(values: Array, dtype: str) -> tuple[Array, str]:
    """Numbers as raw elements of a floating-point dtype."""
    import numpy as np

    from ..recipes.cast import cast

    if dtype in ("float32", "float64", "float16"):
        with np.errstate(all="ignore"):
            return values.astype(DTYPES[dtype].storage), dtype
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(cast(values, dtype)).view(np.uint32) >> np.uint32(16)
        return bits.astype(np.uint16), dtype
    raise RecipeError(f"{dtype} cannot be handed to a runner")
