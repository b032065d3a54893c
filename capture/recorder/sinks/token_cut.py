"""Cutting tensors to the tokens that are recorded.

How many tokens a step has is known from its token ids, `[batch, tokens]`. A tensor is cut where one
axis must be that of the tokens; everything else is kept whole, so that nothing is cut by mistake.
"""

from __future__ import annotations

import torch

from ...token_places import TokenPart, TokenPlaces


class TokenCut:
    """Cuts the tensors of steps whose numbers of tokens it has been told."""

    def __init__(self, part: TokenPart) -> None:
        self._part = part
        self._ids: dict[int, tuple[int, int]] = {}  # step -> batch, tokens

    def begin(self, step: int, ids: tuple[int, ...]) -> None:
        """The shape of a step's token ids, `[batch, tokens]` or `[tokens]`."""
        self._ids[step] = (ids[0], ids[1]) if len(ids) == 2 else (1, ids[0])

    def cut(self, value: torch.Tensor, step: int) -> tuple[torch.Tensor, TokenPlaces | None]:
        """The part that is recorded and which it is; the tensor itself and None where it is kept
        whole. A part in which there is no token is empty.
        """
        known = self._ids.get(step)
        axis = None if known is None else token_axis(value, *known)
        if known is None or axis is None:
            return value, None
        places = self._part.of(known[1])
        if len(places) == known[1]:
            return value, None
        index = [slice(None)] * value.dim()
        index[axis] = slice(places.start, places.stop, places.step)
        part = TokenPlaces(axis, places.start, places.stop, places.step, known[1])
        return value[tuple(index)], part


def token_axis(value: torch.Tensor, batch: int, tokens: int) -> int | None:
    """The axis of a tensor that counts tokens; None where none does or more than one may.

    `[tokens, ...]` of a single sequence, `[batch, tokens, channels]`, `[batch, heads, tokens, ...]`
    and `[batch, tokens, heads, ...]`; `[batch, tokens]` of whole numbers only, since numbers of a
    batch may be as many by chance.
    """
    shape = tuple(value.shape)
    of_batch = len(shape) > 1 and shape[0] in (1, batch)
    if len(shape) == 2 and of_batch and shape[1] == tokens and shape[0] != tokens:
        return None if value.is_floating_point() else 1
    if len(shape) == 3 and of_batch and shape[1] == tokens:
        return 1
    if len(shape) == 4 and of_batch and (shape[1] == tokens) != (shape[2] == tokens):
        return 1 if shape[1] == tokens else 2
    first = value.dim() < 4 and shape[:1] == (tokens,)
    return 0 if batch == 1 and first and not of_batch else None
